"""Numbers as text."""

import json
import math

from mm_fairseq.tables import Table, number, span, to_csv, to_json

NAN = math.nan


def test_text():
    assert (number(0.12345), number(NAN)) == ("0.123", "-")
    assert (span(0.1, 0.25), span(NAN, NAN)) == ("0.100 to 0.250", "-")


def test_markdown():
    table = Table("Mine", ("name", "wa"), [("a|b", "0.1")])
    assert table.markdown() == "| name | wa |\n| --- | ---: |\n| a\\|b | 0.1 |"


def test_csv_and_json_without_nan():
    assert to_csv(("a", "b", "c"), [("x, y", 1, 0.5), ("z", 2, NAN)]) == 'a,b,c\n"x, y",1,0.500000\nz,2,\n'
    value = {"a": {1: NAN, "b": (0.5, NAN)}, "list": [{"x": NAN}], "text": "ü"}
    expected = {"a": {"1": None, "b": [0.5, None]}, "list": [{"x": None}], "text": "ü"}
    assert json.loads(to_json(value)) == expected
    assert "ü" in to_json(value)

"""Cutting a split into parts."""

import pytest

from mm_fairseq.report import predictions, slices
from mm_fairseq.report.summary import summarise


@pytest.fixture
def summary(write_lines, random_lines):
    return summarise(predictions.read(write_lines(random_lines()))[0])


def test_every_property_cuts_the_split(summary):
    found, same = slices.cut(summary.items)
    assert [piece.name for piece in found] == ["transcript", "length", "style", "session", "speaker"]
    for piece in found:
        assert sorted(n for part in piece.parts.values() for n in part) == list(range(60))
    assert same == [("modalities present", "audio + text")]
    by_name = {piece.name: piece.parts for piece in found}
    assert {name: len(part) for name, part in by_name["transcript"].items()} == {"in train too": 15, "new": 45}
    assert by_name["style"]["scripted"] == list(range(1, 60, 2))
    assert list(by_name["speaker"])[:2] == ["s00", "s01"]


def test_lengths_are_thirds_in_their_order(summary):
    parts = next(piece.parts for piece in slices.cut(summary.items)[0] if piece.name == "length")
    assert {name: len(part) for name, part in parts.items()} == {
        "short (up to 2.5 s)": 20,
        "middle (up to 4.4 s)": 20,
        "long (over 4.4 s)": 20,
    }


def test_unknown_values_are_a_part_of_their_own_and_numbers_go_by_size(write_lines, line):
    ages = ["10", "9", "", None]
    items = [line(n, attributes={"age": age}, seconds=2.0, session="") for n, age in enumerate(ages)]
    found, same = slices.cut(summarise(predictions.read(write_lines(items))[0]).items)
    assert [(piece.name, piece.parts) for piece in found] == [("age", {"9": [1], "10": [0], "not known": [2, 3]})]
    assert [name for name, _ in same] == ["modalities present", "length", "speaker"]


def test_rows_measure_each_part(summary):
    piece = next(piece for piece in slices.cut(summary.items)[0] if piece.name == "session")
    for value, scores, n in piece.rows(summary):
        right = [item.right for item in summary.items if item.session == value]
        assert (n, scores["wa"]) == (20, pytest.approx(sum(right) / 20))

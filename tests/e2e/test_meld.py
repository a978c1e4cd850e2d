"""The recipe of MELD: on a made-up corpus of texts for a few updates, and on the real texts until it has learnt."""

import re

import numpy as np
import pytest
from commands import predictions, recipe

from mm_fairseq.toy import meld as toy

SHORT = ["--", "--max-update", "4", "--warmup-updates", "1", "--max-epoch", "1"]
LAST_LINE = re.compile(r"^test wa=(\S+) ua=(\S+) wf1=(\S+) mf1=(\S+)$")
MAJORITY = 0.313  # weighted F1 of always saying neutral


def last_line(output):
    match = LAST_LINE.match(output.rstrip().splitlines()[-1])
    assert match, output[-500:]
    return dict(zip(("wa", "ua", "wf1", "mf1"), map(float, match.groups()), strict=True))


def test_from_tables_alone_to_test_line(tmp_path, monkeypatch):
    few = [np.zeros((32, 32, 3), np.uint8)]
    monkeypatch.setattr(toy.acted, "perform", lambda *_: (np.zeros(1600, np.int16), few))
    toy.write(tmp_path / "all", toy.MINIMUM, seed=1)
    (tmp_path / "raw").mkdir()
    for table in (tmp_path / "all").glob("*.csv"):
        table.rename(tmp_path / "raw" / table.name)
    options = ["--accept-counts", "--target", "sentiment", "--context", "2"]
    last_line(recipe("meld", tmp_path / "raw", tmp_path / "out", *options, *SHORT))
    rows = predictions(tmp_path / "out/text-sentiment/test")
    assert {row["name"] for row in rows} == {"sentiment"}
    assert {tuple(row["modalities"]) for row in rows} == {("text",)}
    assert any(" | " in row["text"] for row in rows)


@pytest.mark.slow
@pytest.mark.real
def test_the_words_of_the_release_beat_the_majority_by_ten_points(real_data, tmp_path):
    output = recipe("meld", real_data / "meld", tmp_path / "out", "--modalities", "text", timeout=1500)
    assert last_line(output)["wf1"] >= MAJORITY + 0.1

"""Fluent Speech Commands' form to a data-bin: words of train, unknown ones, and a recording without samples."""

import csv
import json
import wave

import numpy as np
import pytest
from fairseq.data import Dictionary

from mm_fairseq.cli import main
from mm_fairseq.databin import DataBin, StreamReader
from mm_fairseq.toy import fluent_speech_commands as toy


@pytest.fixture
def prepared(tmp_path):
    """A word that train lacks stands in test, and one recording is emptied after `prepare`."""
    raw = tmp_path / "raw"
    toy.write(raw, toy.MINIMUM, seed=1)
    file = raw / "data" / "test_data.csv"
    with open(file, encoding="utf-8", newline="") as table:
        rows = list(csv.reader(table))
    rows[1][3] = f"{rows[1][3]} immediately"
    with open(file, "w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows(rows)
    assert main(["prepare", "fluent_speech_commands", str(raw), str(tmp_path / "prepared"), "--accept-counts"]) == 0
    with wave.open(str(raw / rows[2][1]), "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
    return tmp_path / "prepared", rows[1], rows[2]


def test_words_of_train_make_the_dictionary(prepared, tmp_path, capsys):
    folder, strange, silent = prepared
    data_bin = tmp_path / "data-bin"
    capsys.readouterr()
    assert main(["binarize", str(folder), str(data_bin), "--tokenizer", "words", "--workers", "1"]) == 0
    lines = (data_bin / "dict.txt").read_text().splitlines()
    symbols = [line.split()[0] for line in lines]
    counts = [int(line.split()[1]) for line in lines]
    assert lines[0].startswith("the ")
    assert [(-count, symbol) for symbol, count in zip(symbols, counts, strict=True)] == sorted(
        (-count, symbol) for symbol, count in zip(symbols, counts, strict=True)
    )
    assert symbols == [symbol.lower() for symbol in symbols]
    assert "immediately" not in symbols
    ids = [row.id for row in DataBin(data_bin).manifest.utterances]
    tokens = StreamReader(data_bin / "text", len(ids))[ids.index(f"{strange[2]}_{strange[1][-40:-4]}")]
    words = strange[3].lower().split()
    assert tokens[-1] == 3
    assert np.array_equal(tokens[:-1], [4 + symbols.index(word) for word in words[:-1]])
    assert json.loads((data_bin / "meta.json").read_text())["tokenizer"] == {"name": "words", "files": [], "sha256": []}
    assert not list(data_bin.glob("text.*"))

    problem = json.loads((data_bin / "quarantine.jsonl").read_text())
    assert problem["id"] == f"{silent[2]}_{silent[1][-40:-4]}"
    assert problem["stage"] == "audio"
    assert silent[1] in problem["error"]
    assert problem["path"] == silent[1]
    assert "1 repaired" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["fastbpe", "chars"])
def test_codes_of_train_and_characters(prepared, tmp_path, name):
    """Every transcript can be read again from its tokens; what train lacks is unknown."""
    folder, out = prepared[0], tmp_path / "data-bin"
    options = ["--tokenizer", name, "--vocab-size", "60", "--modalities", "text", "--workers", "1"]
    assert main(["binarize", str(folder), str(out), *options]) == 0
    theirs = Dictionary.load(str(out / "dict.txt"))
    assert (out / "text.codes").is_file() == (name == "fastbpe")
    data_bin = DataBin(out)
    rows = list(data_bin.manifest.utterances)
    unknown = 0
    for row, ids in zip(rows, StreamReader(out / "text", len(rows)), strict=True):
        symbols = [theirs[number] for number in ids]
        text = " ".join(symbols).replace("@@ ", "") if name == "fastbpe" else "".join(symbols).replace("|", " ")
        unknown += theirs.unk() in ids
        assert text == row.text or theirs.unk() in ids
    assert unknown <= 1

import csv
import hashlib

import pytest
import soundfile

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import table

COLUMNS = "audio=file,text=words,speaker=speaker,split=part"


def test_the_parser_reads_it(tmp_path):
    from mm_fairseq.cli import main

    table.write(tmp_path / "raw", 40, seed=3)
    out = tmp_path / "out"
    options = ["--columns", COLUMNS, "--target", "emotion=feeling", "--target", "pleasant=pleasantness:regression"]
    assert main(["prepare", "table", str(tmp_path / "raw/table.csv"), str(out), *options]) == 0
    rows = [line.split("\t") for line in (out / "manifest.tsv").read_text().splitlines()[2:]]
    assert len(rows) == 40
    speakers = {split: {row[2] for row in rows if row[1] == split} for split in ("train", "valid", "test")}
    assert {split: len(names) for split, names in speakers.items()} == {"train": 3, "valid": 1, "test": 1}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    found = {}
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        table.write(tmp_path / name, table.MINIMUM, seed)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        found[name] = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert found["a"] == found["b"]
    assert not set(found["a"]) & set(found["c"])


def test_rows_name_files_and_every_class_is_in_every_part(tmp_path):
    table.write(tmp_path, table.MINIMUM, seed=1)
    with open(tmp_path / "table.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert 0.9 < soundfile.info(tmp_path / row["file"]).duration < 1.7
        assert row["words"]
        assert (float(row["pleasantness"]) >= 0) == (row["feeling"] in ("calm", "glad"))
    for part in ("train", "dev", "test"):
        assert {row["feeling"] for row in rows if row["part"] == part} == set(table.FEELINGS.values())


def test_too_few_and_a_taken_folder_are_refused(tmp_path):
    with pytest.raises(MMFairseqError, match="at least 20"):
        table.write(tmp_path / "a", 19, seed=1)
    (tmp_path / "x").write_text("")
    with pytest.raises(MMFairseqError, match="holds other files"):
        table.write(tmp_path, 20, seed=1)

"""Recordings that only decoding can find fault with: each is in the quarantine by name, and the rest is kept."""

import csv
import json
import re

import pytest

from mm_fairseq.cli import main
from mm_fairseq.toy import lists, table

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 82026\n"
SMALL = ["--workers", "1", "--vocab-size", "80", "--frame-size", "16", "--fps", "4", "--faces", "center"]


def quarantine(folder):
    return [json.loads(line) for line in (folder / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()]


def half(data):
    return data[: len(data) // 2]


def test_a_table_with_every_fault(tmp_path):
    table.write(tmp_path / "raw", table.MINIMUM, seed=1)
    faults = {
        "0000": None,
        "0001": b"",
        "0002": POINTER,
        "0003": half,
        "0004": b"no sound at all, but some text",
    }
    for name, content in faults.items():
        file = tmp_path / f"raw/wav/{name}.wav"
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content(file.read_bytes()) if callable(content) else content)
    with open(tmp_path / "raw/table.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {"from": "", "to": ""}
    rows[5] |= {"from": "0.2", "to": "90"}
    rows[6] |= {"from": "60", "to": "61"}
    rows[0]["words"] = rows[6]["words"] = ""
    with open(tmp_path / "raw/table.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    columns = ["--columns", "audio=file,text=words,speaker=speaker,split=part,start=from,end=to"]
    prepared, data_bin = tmp_path / "prepared", tmp_path / "data-bin"
    options = [*columns, "--target", "emotion=feeling"]
    assert main(["prepare", "table", str(tmp_path / "raw/table.csv"), str(prepared), *options]) == 0
    assert main(["binarize", str(prepared), str(data_bin), *SMALL]) == 0
    told = {row["id"]: row for row in quarantine(data_bin) if row["stage"] == "audio"}
    assert sorted(told) == [*sorted(faults), "0005", "0006"]
    assert {name: row["verdict"] for name, row in told.items()} == {
        name: "quarantined" if name in ("0000", "0006") else "repaired" for name in told
    }
    for name, row in told.items():
        assert row["path"] == f"wav/{name}.wav"
        assert f"{name}.wav" in row["error"]
    assert re.search("git-lfs", told["0002"]["error"])
    kept = json.loads((data_bin / "meta.json").read_text())
    account = json.loads((prepared / "account.json").read_text())
    assert account["utterances"] == table.MINIMUM
    assert verdicts(kept) == {"ok": table.MINIMUM - 7, "repaired": 5, "quarantined": 2}


def verdicts(meta):
    """What the data-bin says became of all rows."""
    return next(value for value in meta.values() if isinstance(value, dict) and "quarantined" in value)


@pytest.mark.parametrize("content", [b"", POINTER, half])
def test_a_broken_clip_of_lists(tmp_path, content):
    lists.write(tmp_path / "raw", lists.MINIMUM, seed=1)
    clip = tmp_path / "raw/video/train0002.mp4"
    clip.write_bytes(content(clip.read_bytes()) if callable(content) else content)
    prepared, data_bin = tmp_path / "prepared", tmp_path / "data-bin"
    assert main(["prepare", "lists", str(tmp_path / "raw"), str(prepared), "--classes", "iemocap"]) == 0
    assert main(["binarize", str(prepared), str(data_bin), *SMALL]) == 0
    (row,) = [row for row in quarantine(data_bin) if row["code"] != "no_face"]
    assert (row["id"], row["stage"], row["verdict"]) == ("train0002", "video", "repaired")
    assert row["path"].endswith("video/train0002.mp4")

"""Recordings with every fault: what is not there is told first, what only decoding finds is in the quarantine."""

import csv
import json

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
    words = ["prepare", "table", str(tmp_path / "raw/table.csv"), str(prepared), *options]
    assert main(words) == 2
    assert main([*words, "--accept-missing"]) == 0
    assert main(["binarize", str(prepared), str(data_bin), *SMALL]) == 0
    told = {row["id"]: row for row in quarantine(data_bin) if row["stage"] == "audio"}
    assert {name: row["verdict"] for name, row in told.items()} == {
        **dict.fromkeys(("0001", "0002", "0003", "0004", "0005"), "repaired"),
        "0006": "quarantined",
    }
    assert [told[name]["code"] for name in ("0001", "0002")] == ["empty_audio", "empty_audio"]
    for name, row in sorted(told.items())[2:]:
        assert row["path"] == f"wav/{name}.wav"
        assert f"{name}.wav" in row["error"]
    kept = json.loads((data_bin / "meta.json").read_text())
    account = json.loads((prepared / "account.json").read_text())
    assert (account["utterances"], account["modalities"]["audio"]) == (table.MINIMUM - 1, table.MINIMUM - 3)
    assert account["excluded"] == {"no recording": 1}
    assert verdicts(kept) == {"ok": table.MINIMUM - 7, "repaired": 5, "quarantined": 1}


def verdicts(meta):
    """What the data-bin says became of all rows."""
    return next(value for value in meta.values() if isinstance(value, dict) and "quarantined" in value)


@pytest.mark.parametrize("content", [b"no picture at all", half])
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

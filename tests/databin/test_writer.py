"""Shards appear whole or not at all."""

import hashlib
import json
import multiprocessing

import numpy as np
import pytest

from mm_fairseq.databin import (
    HeldError,
    ShardWriter,
    locked,
    remove_leftovers,
    remove_shard,
    write_atomic,
    write_shard,
    writer,
)
from mm_fairseq.errors import MMFairseqError

FORMS = (("", ""), (".", ".tmp"))  # a file under its name, and while it is written


def test_receipt_holds_the_sums(tmp_path):
    write_shard(tmp_path, 3, [np.array([1, 2], np.int16), np.array([3], np.int16)], "int16", notes={"a": 1})
    receipt = json.loads((tmp_path / "shard-00003.json").read_text())
    files = {name: (tmp_path / f"shard-00003.{name}").read_bytes() for name in ("bin", "idx")}
    assert files["bin"] == b"\x01\0\x02\0\x03\0"
    assert receipt["sha256"] == {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    assert {key: receipt[key] for key in ("count", "dtype", "dim", "bytes", "notes")} == {
        "count": 2,
        "dtype": "int16",
        "dim": 0,
        "bytes": 6,
        "notes": {"a": 1},
    }


def test_an_error_leaves_nothing(tmp_path):
    def items():
        yield np.zeros(5, np.int16)
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        write_shard(tmp_path / "s", 0, items(), "int16")
    assert list((tmp_path / "s").iterdir()) == []


@pytest.mark.parametrize(
    ("item", "dtype", "dim", "length", "reason"),
    [
        (np.zeros(3, np.int64), "int16", 0, None, "int64"),
        (np.zeros((3, 2), np.int16), "int16", 0, None, r"\(3, 2\)"),
        (np.zeros((3, 2), np.float32), "float32", 3, None, r"\(3, 2\)"),
        (np.int16(3), "int16", 0, None, r"int16 \(\)"),
        (np.array([1.0, np.nan], np.float32), "float32", 0, None, "non-finite"),
        (np.array([np.inf], np.float16), "float16", 0, None, "non-finite"),
        (np.zeros(3, np.int16), "int16", 0, 3, "without lengths|with"),
    ],
)
def test_items_that_do_not_belong(tmp_path, item, dtype, dim, length, reason):
    with pytest.raises(MMFairseqError, match=reason), ShardWriter(tmp_path, 0, dtype, dim) as shard:
        shard.add(item, length)
    assert list(tmp_path.iterdir()) == []


def test_unknown_dtype(tmp_path):
    with pytest.raises(MMFairseqError, match=r"float64.*float16"):
        ShardWriter(tmp_path, 0, "float64")


def test_write_atomic_replaces_and_leaves_no_other_file(tmp_path):
    for content in (b"old", b"new"):
        write_atomic(tmp_path / "f", content)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"new")]


def test_remove_leftovers_takes_hidden_files_only(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/.shard-00000.bin.tmp", ".meta.json.tmp", "a/shard-00000.bin", "keep.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "keep.tmp", "shard-00000.bin"]


def _try(folder, answer):
    writer.LOCK_WAIT = 0.1
    try:
        with locked(folder):
            answer.put("held")
    except MMFairseqError as error:
        answer.put(str(error))


def test_a_folder_is_held_by_one(tmp_path):
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    with locked(tmp_path):
        other = context.Process(target=_try, args=(tmp_path, answer))
        other.start()
        assert "another process is writing there" in answer.get()
        other.join()
    _try(tmp_path, answer)
    assert answer.get() == "held"
    assert list(tmp_path.iterdir()) == []


def test_shared_holders_keep_a_writer_out(tmp_path):
    receipt = tmp_path / "shard-00000.json"
    receipt.touch()
    for path in (tmp_path, receipt):
        with locked(path, shared=True), locked(path, shared=True), pytest.raises(HeldError), locked(path, wait=0):
            pass
        with locked(path, wait=0), pytest.raises(HeldError), locked(path, shared=True, wait=0.1):
            pass


def test_remove_shard(tmp_path):
    names = [f"{dot}shard-0000{n}.{kind}{tmp}" for n in "01" for kind in ("bin", "idx", "json") for dot, tmp in FORMS]
    for name in names:
        (tmp_path / name).touch()
    remove_shard(tmp_path, 0, leftovers_only=True)
    assert {path.name for path in tmp_path.iterdir()} == {n for n in names if not n.startswith(".shard-00000")}
    remove_shard(tmp_path, 0)
    remove_shard(tmp_path, 7)
    assert {path.name for path in tmp_path.iterdir()} == {n for n in names if "shard-00001" in n}

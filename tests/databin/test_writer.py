"""Shards appear whole or not at all."""

import hashlib
import json

import numpy as np
import pytest

from mm_fairseq.databin import ShardWriter, remove_shard, write_shard
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


def test_remove_shard(tmp_path):
    names = [f"{dot}shard-0000{n}.{kind}{tmp}" for n in "01" for kind in ("bin", "idx", "json") for dot, tmp in FORMS]
    for name in names:
        (tmp_path / name).touch()
    remove_shard(tmp_path, 0, leftovers_only=True)
    assert {path.name for path in tmp_path.iterdir()} == {n for n in names if not n.startswith(".shard-00000")}
    remove_shard(tmp_path, 0)
    remove_shard(tmp_path, 7)
    assert {path.name for path in tmp_path.iterdir()} == {n for n in names if "shard-00001" in n}

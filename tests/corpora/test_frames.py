"""Columns of Parquet files: numbers, texts, lists of one length and of several, what is missing."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from mm_fairseq.corpora import frames
from mm_fairseq.corpora.frames import missing, numbers, read_frame, shown
from mm_fairseq.errors import MMFairseqError


def saved(tmp_path, **columns):
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_columns(tmp_path):
    nested = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]], None]
    path = saved(
        tmp_path,
        number=[1, 2, 3],
        gap=[1, None, 3],
        text=["a", None, "행복"],
        samples=pa.array([[1, 2], [], None], pa.list_(pa.int16())),
        nested=pa.array(nested, pa.list_(pa.list_(pa.float32()))),
        fixed=pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
        ragged=pa.array([[[1], [2, 3]], [], [[4]]], pa.large_list(pa.list_(pa.int8()))),
        texts=pa.array([["a"], [], None], pa.list_(pa.string())),
    )
    found = read_frame(path)
    assert found["number"].tolist() == [1, 2, 3]
    assert found["gap"] == [1, None, 3]
    assert found["text"] == ["a", None, "행복"]
    assert found["samples"][0].dtype == np.int16
    assert [None if row is None else row.tolist() for row in found["samples"]] == [[1, 2], [], None]
    assert found["nested"][0].shape == (2, 2)
    assert found["nested"][0].dtype == np.float32
    assert found["nested"][2] is None
    assert found["fixed"][1].tolist() == [3, 4]
    assert [row.tolist() for row in found["ragged"][0]] == [[1], [2, 3]]
    assert found["texts"] == [["a"], [], None]


def test_several_row_groups(tmp_path):
    table = pa.table({"x": pa.array([[number] * number for number in range(1, 8)], pa.list_(pa.int64()))})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    assert [row.tolist() for row in read_frame(tmp_path / "a.parquet")["x"]] == [[n] * n for n in range(1, 8)]


def test_damaged_and_missing_files(tmp_path):
    path = saved(tmp_path, x=[1])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(MMFairseqError, match=r"a\.parquet: no Parquet file, or a damaged one"):
        read_frame(path)
    with pytest.raises(MMFairseqError, match="no such file"):
        read_frame(tmp_path / "b.parquet")


def test_pyarrow_is_asked_for_by_name(tmp_path, monkeypatch):
    path = saved(tmp_path, x=[1])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MMFairseqError, match=r"pip install 'mm-fairseq\[pandas\]'"):
        frames.read_parquet(path)


@pytest.mark.parametrize(
    ("value", "expected"), [(None, True), (np.nan, True), (np.float32("nan"), True), ("", False), (0, False)]
)
def test_missing(value, expected):
    assert missing(value) == expected


SHARED = [0, 1]
for _ in range(60):
    SHARED = [SHARED, SHARED]


@pytest.mark.parametrize(
    ("value", "depth", "expected"),
    [
        (3, 0, 3),
        (np.ones(2), 0, [1, 1]),
        ([1, 2.5, np.float32(3)], 1, [1, 2.5, 3]),
        ([np.ones(2), [3, 4]], 2, [[1, 1], [3, 4]]),
        (([1], (2,)), 2, [[1], [2]]),
        ([], 1, []),
    ],
)
def test_numbers(value, depth, expected):
    assert numbers(value, depth).tolist() == expected


@pytest.mark.parametrize(
    ("value", "depth", "reason"),
    [
        ([1], 0, "^list$"),
        ("1", 1, "^str$"),
        (None, 1, "^NoneType$"),
        ([1, "x"], 1, "^list of str$"),
        ([[1], [2]], 1, "^list of list$"),
        ([[1], [2, 3]], 2, "inhomogeneous"),
        (SHARED, 1, "^list of list$"),
        ([[0] * 20_000] * 20_000, 2, "more than 134217728 numbers"),
        ([np.zeros(20_000)] * 20_000, 1, "more than 134217728 numbers"),
    ],
)
def test_what_is_no_numbers(value, depth, reason):
    with pytest.raises(ValueError, match=reason):
        numbers(value, depth)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("x" * 50, "x" * 40), (None, "None"), (np.array([1, 2]), "[1 2]"), (SHARED, "list"), ({1: SHARED}, "dict")],
)
def test_shown(value, expected):
    assert shown(value) == expected


def test_arrays_of_lists_are_shown_by_type():
    value = np.empty(1, object)
    value[0] = SHARED
    assert shown(value) == "ndarray"

"""Arrays in files against the same arrays in memory."""

import os
import pickle

import numpy as np
import pytest

from mm_fairseq.databin.arrays import FEW, FileArray
from mm_fairseq.errors import MMFairseqError


@pytest.mark.parametrize("array", [np.arange(3000) * 3, np.arange(6000, dtype=np.int16).reshape(3000, 2)])
def test_every_way_to_index(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    found = FileArray.npy(tmp_path / "a.npy")
    few, many = np.array([7, 2999, 0, 7]), np.random.default_rng(0).integers(0, 3000, FEW + 1)
    for rows in (few, many, np.array([], int), slice(None), slice(5, 9), slice(9, 5), slice(0, 99, 7), slice(-2, None)):
        assert found[rows].dtype == array.dtype
        assert np.array_equal(found[rows], array[rows])
    assert np.array_equal(found[2999], array[2999])
    assert np.array_equal(np.asarray(found), array)
    assert np.array_equal(pickle.loads(pickle.dumps(found))[few], array[few])
    assert (len(found), found.shape, found.tolist()) == (3000, array.shape, array.tolist())


@pytest.mark.parametrize("rows", [3, -1, np.array([0, 3]), np.array([-1]), np.full(FEW + 1, 3)])
def test_beyond_its_end(tmp_path, rows):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(IndexError):
        FileArray.npy(tmp_path / "a.npy")[rows]


def test_a_cut_file_is_named(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    raw = (tmp_path / "a.npy").read_bytes()
    for size in range(len(raw)):
        (tmp_path / "a.npy").write_bytes(raw[:size])
        with pytest.raises(MMFairseqError, match=r"a\.npy.*binarize again"):
            FileArray.npy(tmp_path / "a.npy")


def replace(path, array):
    np.save(path.with_name("new.npy"), array)
    path.with_name("new.npy").replace(path)


def overwrite(path, array):
    with open(path, "r+b") as file:
        np.save(file, array)
    os.utime(path, ns=(1, 1))  # a clock may be too coarse to tell


@pytest.mark.parametrize("rows", [0, slice(1, 4), np.array([4, 0]), np.full(FEW + 1, 3)], ids=str)
@pytest.mark.parametrize("change", [replace, overwrite])
def test_another_file_of_that_name_is_not_read(tmp_path, change, rows):
    """A worker that opens an array when the data-bin was binarized anew would give others' labels."""
    np.save(tmp_path / "a.npy", np.arange(5))
    found, opened = FileArray.npy(tmp_path / "a.npy"), FileArray.npy(tmp_path / "a.npy")
    assert opened[0] == 0
    sent = pickle.dumps(opened)
    change(tmp_path / "a.npy", np.arange(100, 105))
    for array in (found, pickle.loads(sent)):
        with pytest.raises(MMFairseqError, match=r"a\.npy: changed since it was opened; open the data-bin again"):
            array[rows]
    assert FileArray.npy(tmp_path / "a.npy")[4] == 104
    if change is replace:
        assert np.array_equal(opened[:], np.arange(5))
        (tmp_path / "a.npy").unlink()
        with pytest.raises(MMFairseqError, match=r"a\.npy: gone since it was opened"):
            found[rows]

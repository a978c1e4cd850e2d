"""Computational sequences, written here by h5py as the SDK's own code does."""

import sys

import h5py
import numpy as np
import pytest
from cmu_files import POINTER, write_csd

from mm_fairseq.corpora.csd import read_csd
from mm_fairseq.errors import MMFairseqError

ROWS = ([[1.5, 0.25], [-2.0, 1.0]], [[0.5, 2.0], [2.0, 3.5]])


@pytest.fixture
def file(tmp_path):
    return tmp_path / "labels.csd"


def test_videos_segments_values(file):
    write_csd(file, "All", {"b": ROWS, "a": ([[0, 0]], [[0, 1]])})
    found = read_csd(file, "All", ("sentiment", "happy"))
    assert list(found) == ["a", "b"]
    second = found["b"][1]
    assert second.values == {"sentiment": -2.0, "happy": 1.0}
    assert (second.number, second.start, second.end) == (1, 2.0, 3.5)
    assert second.place == f"{file}: 'b' row 1"


def test_names_in_the_file_say_the_order(file):
    write_csd(file, "All", {"a": ROWS}, names=["happy", "sentiment"])
    assert read_csd(file, "All", ("sentiment", "happy"))["a"][0].values == {"happy": 1.5, "sentiment": 0.25}
    write_csd(file, "All", {"a": ROWS}, names=["x", "y"])
    assert read_csd(file, "All", ("sentiment", "happy"))["a"][0].values == {"sentiment": 1.5, "happy": 0.25}


def test_aligned_files_have_a_group_for_each_segment(file):
    groups = {f"a[{number}]": ([[number, 0]], [[number, number + 1]]) for number in range(12)}
    write_csd(file, "All", groups)
    found = read_csd(file, "All", ("sentiment", "happy"))
    assert list(found) == ["a"]
    assert [segment.number for segment in found["a"]] == list(range(12))
    assert [segment.values["sentiment"] for segment in found["a"]] == list(range(12))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (([[1.0]], [[0, 1]]), r"'features' has the shape \(1, 1\); expected 2 columns \(sentiment, happy\)"),
        (([[1.0, 0]], [[0, 1, 2]]), r"'intervals' has the shape \(1, 3\); expected start and end in seconds"),
        (([[1.0, 0]], [[0, 1], [1, 2]]), "1 rows of 'features', 2 of 'intervals'"),
        (([[1.0, 0]], [[0, np.nan]]), "from 0.0 s to nan s is no interval"),
        (([1.0, 0], [[0, 1]]), "'features' has the shape"),
    ],
)
def test_rows_that_do_not_fit(file, rows, reason):
    write_csd(file, "All", {"ok": ROWS, "vid": rows})
    with pytest.raises(MMFairseqError, match=rf"labels.csd: 'vid'.*{reason}"):
        read_csd(file, "All", ("sentiment", "happy"))


def test_a_sequence_of_another_name_or_without_data(file):
    write_csd(file, "COVAREP", {"a": ROWS})
    with pytest.raises(MMFairseqError, match="no sequence 'All' with 'data' in it; it has 'COVAREP'"):
        read_csd(file, "All", ("sentiment", "happy"))
    with h5py.File(file, "w") as content:
        content["All/data/a"] = np.zeros(3)
    with pytest.raises(MMFairseqError, match="'a': no numbers named 'features'"):
        read_csd(file, "All", ("sentiment", "happy"))
    with h5py.File(file, "w") as content:
        content.create_group("All/data")
    with pytest.raises(MMFairseqError, match="'All' holds no videos"):
        read_csd(file, "All", ("sentiment", "happy"))


def test_what_is_stored_small_and_read_large_is_not_read(file):
    with h5py.File(file, "w") as content:
        content.create_dataset("All/data/a/features", shape=(10**12, 2), chunks=(1024, 2), dtype="f4")
        content["All/data/a/intervals"] = np.zeros((1, 2))
    with pytest.raises(MMFairseqError, match=r"'features' has the shape \(1000000000000, 2\)"):
        read_csd(file, "All", ("sentiment", "happy"))


def test_files_that_are_none(file):
    with pytest.raises(MMFairseqError, match="no such file"):
        read_csd(file, "All", ("sentiment",))
    file.write_text(POINTER)
    with pytest.raises(MMFairseqError, match="a git-lfs pointer"):
        read_csd(file, "All", ("sentiment",))
    file.write_bytes(b"")
    with pytest.raises(MMFairseqError, match="0 bytes in it"):
        read_csd(file, "All", ("sentiment",))
    file.write_text("video,label\n")
    with pytest.raises(MMFairseqError, match="no HDF5 file, or one that was cut off"):
        read_csd(file, "All", ("sentiment",))
    write_csd(file, "All", {f"v{n}": ROWS for n in range(50)})
    file.write_bytes(file.read_bytes()[:4000])
    with pytest.raises(MMFairseqError, match="no HDF5 file, or one that was cut off"):
        read_csd(file, "All", ("sentiment", "happy"))


def test_without_h5py(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MMFairseqError, match=r"pip install 'mm-fairseq\[hdf5\]'"):
        read_csd(file, "All", ("sentiment",))


@pytest.mark.parametrize("trick", ["link", "storage"])
def test_values_of_other_files_are_not_read(file, tmp_path, trick):
    write_csd(tmp_path / "other.csd", "All", {"a": ROWS})
    write_csd(file, "All", {"a": ROWS})
    with h5py.File(file, "a") as content:
        video = content["All/data/a"]
        del video["features"]
        if trick == "link":
            video["features"] = h5py.ExternalLink(str(tmp_path / "other.csd"), "All/data/a/features")
        else:
            place = [(str(tmp_path / "other.csd"), 0, 32)]
            video.create_dataset("features", (2, 2), np.float64, external=place)
    with pytest.raises(MMFairseqError, match=r"labels\.csd: 'a': 'features' stands in another file"):
        read_csd(file, "All", ("sentiment", "happy"))

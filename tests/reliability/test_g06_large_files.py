"""G6: sizes past 2 GiB and past 2^31 elements are right. Files are sparse: they take no room on the disk."""

import json
import pickle

import numpy as np
import pytest

from mm_fairseq.databin import FileArray, ShardWriter, StreamReader
from mm_fairseq.databin.arrays import Seen
from mm_fairseq.databin.format import Index, receipt_bytes, shard_paths
from mm_fairseq.databin.lookup import ManifestRows
from mm_fairseq.databin.streams import check_stream
from mm_fairseq.manifest import COLUMNS

FAR = 2**31 + 10


def sparse_shard(folder, shard, sizes, dtype, dim=0, tail=()):
    """A shard of zeros, but for the elements at its end."""
    bin_path, idx_path, receipt = shard_paths(folder, shard)
    folder.mkdir(exist_ok=True)
    index = Index(np.dtype(dtype), dim, np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))]))
    size, content = index.elements * index.dtype.itemsize, np.array(tail, dtype).tobytes()
    with open(bin_path, "wb") as file:
        file.truncate(size)
        file.seek(size - len(content))
        file.write(content)
    idx_path.write_bytes(index.to_bytes())
    sums = {"bin": "0" * 64, "idx": "0" * 64}
    told = {"count": len(sizes), "dtype": dtype, "dim": dim, "bytes": size, "sha256": sums, "notes": {}}
    receipt.write_bytes(receipt_bytes(told))


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_one_shard_past_2_31_elements(tmp_path, dtype, joined):
    sparse_shard(tmp_path, 0, [FAR, 3], dtype, tail=[5, 6, 7])
    if joined:
        StreamReader(tmp_path, anew=True).index.write(tmp_path)
    reader = StreamReader(tmp_path)
    assert reader.index.stored == joined
    assert reader.lengths.tolist() == [FAR, 3]
    assert reader[1].tolist() == pickle.loads(pickle.dumps(reader))[1].tolist() == [5, 6, 7]
    assert len(reader[0]) == FAR
    assert reader[0][-1] == 0


@pytest.mark.parametrize("joined", [False, True])
def test_many_shards_past_2_32_elements_together(tmp_path, joined):
    for shard in range(5):
        sparse_shard(tmp_path, shard, [2**30, 4], "float16", 2, tail=[shard, 1, 2, 3])
    if joined:
        StreamReader(tmp_path, anew=True).index.write(tmp_path)
    reader = StreamReader(tmp_path, 10)
    assert reader.index.offsets[10] == 5 * (2**30 + 4)
    assert reader.lengths.tolist() == [2**29, 2] * 5
    assert [reader[row].tolist() for row in (1, 9)] == [[[0, 1], [2, 3]], [[4, 1], [2, 3]]]


def test_an_array_past_2_gib(tmp_path):
    path, count = tmp_path / "rows.npy", 2**29
    head = {"descr": "<i8", "fortran_order": False, "shape": (count,)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        start = file.tell()
        file.truncate(start + 8 * count)
        file.seek(start + 8 * (count - 2))
        file.write(np.array([2**40, 2**41], "<i8").tobytes())
    array = FileArray.npy(path)
    assert array[count - 3 :].tolist() == [0, 2**40, 2**41]
    assert array[np.full(600, count - 1)].tolist() == [2**41] * 600  # so many go through a map


def test_a_manifest_past_2_gib(tmp_path):
    path = tmp_path / "manifest.tsv"
    row = "\t".join(["last", *[""] * (len(COLUMNS) - 1)]) + "\n"
    with open(path, "wb") as file:
        file.truncate(FAR)
        file.seek(FAR)
        file.write(row.encode())
    offsets = np.array([100, FAR, FAR + len(row)], np.int64)
    assert ManifestRows(path, list(COLUMNS), offsets, Seen.of(path.stat()))[1].id == "last"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_shard_that_is_written_and_verified(tmp_path):
    """5 GB: 2.5e9 elements."""
    with ShardWriter(tmp_path / "audio", 0, "int16") as writer:
        block = np.arange(2**25, dtype=np.int16)
        for _ in range(75):
            writer.add(block)
        writer.add(block[:5])
    StreamReader(tmp_path / "audio", anew=True).index.write(tmp_path / "audio")
    reader = StreamReader(tmp_path / "audio")
    assert reader.lengths.sum() == 75 * 2**25 + 5 > 2**31
    assert np.array_equal(reader[74], block)
    assert reader[75].tolist() == [0, 1, 2, 3, 4]
    assert json.loads((tmp_path / "audio/shard-00000.json").read_bytes())["bytes"] == 2 * (75 * 2**25 + 5)
    assert check_stream(tmp_path / "audio", {"dtype": "int16"}) == []
    with open(tmp_path / "audio/shard-00000.bin", "r+b") as file:
        file.seek(2**32 + 2**31)  # bytes
        file.write(b"\1")
    (fault,) = check_stream(tmp_path / "audio", {"dtype": "int16"})
    assert fault.path == "shard-00000.bin"

"""The joined index gives what the shards give; where it is damaged or of other shards it is not believed."""

import os
import pickle
import shutil
import struct
import zlib

import numpy as np
import pytest

from mm_fairseq.databin import StreamReader, joined, write_shard
from mm_fairseq.databin.format import shard_paths
from mm_fairseq.errors import MMFairseqError

SIZES = (3, 0, 5, 1, 2, 4, 4)
ENDS = (0, 2, 3, 6, 7)


def write(folder, kind):
    """Four shards: numbers, features [T, 3], or items with lengths of their own."""
    rng = np.random.default_rng(0)
    for shard in range(4):
        sizes = SIZES[ENDS[shard] : ENDS[shard + 1]]
        shape = (3,) if kind == "features" else ()
        items = [rng.integers(0, 100, (size, *shape)).astype("float16" if shape else "int16") for size in sizes]
        lengths = [size // 2 for size in sizes] if kind == "lengths" else None
        notes = {"source": f"{shard:064x}"}
        write_shard(folder, shard, items, items[0].dtype.name, 3 if shape else 0, lengths, notes)
    return folder


@pytest.fixture(params=["plain", "features", "lengths"])
def folder(request, tmp_path):
    return write(tmp_path / "stream", request.param)


@pytest.fixture
def plain(tmp_path):
    """With its joined index."""
    folder = write(tmp_path / "stream", "plain")
    joined.join(folder, 4).write(folder)
    return folder


def test_it_gives_what_the_shards_give(folder):
    apart = StreamReader(folder, 7)
    items = [np.array(item) for item in apart]
    joined.join(folder, 4).write(folder)
    together = StreamReader(folder, 7)
    assert (apart.index.stored, together.index.stored) == (False, True)
    assert (together.dtype, together.dim, together.shards) == (apart.dtype, apart.dim, apart.shards)
    assert all(np.array_equal(a, b) for a, b in zip(together, items, strict=True))
    assert together.lengths.tolist() == apart.lengths.tolist()
    for rows in (np.array([5, 0, 0, 6]), slice(1, 4), np.array([], np.int64)):
        assert together.lengths_of(rows).tolist() == apart.lengths_of(rows).tolist() == apart.lengths[rows].tolist()
    assert np.array_equal(together.index.table[:], apart.index.table)


def test_bytes_are_those_of_the_shards_alone(plain):
    before = (plain / joined.NAME).read_bytes()
    joined.join(plain, 4).write(plain)
    assert (plain / joined.NAME).read_bytes() == before


def test_shards_are_mapped_when_they_are_touched_and_few_at_once(plain):
    reader = StreamReader(plain)
    assert not reader._maps
    reader._most = 2
    for row in (0, 2, 3, 2, 6, 0):
        assert len(reader[row]) == SIZES[row]
    assert list(reader._maps) == [3, 0]  # shards, the last one behind


def test_many_shards_in_few_open_files(tmp_path):
    for shard in range(60):
        write_shard(tmp_path, shard, [np.full(2, shard, np.int16)], "int16")
    joined.join(tmp_path, 60).write(tmp_path)
    reader = StreamReader(tmp_path)
    reader._most = 8
    before = len(os.listdir("/proc/self/fd"))
    assert [int(item[0]) for item in reader] == list(range(60))
    assert len(os.listdir("/proc/self/fd")) <= before + 10


def test_pickled_is_small_and_reads_again(plain):
    reader = StreamReader(plain)
    items = [np.array(item) for item in reader]
    raw = pickle.dumps(reader)
    assert len(raw) < 3000
    assert all(np.array_equal(a, b) for a, b in zip(pickle.loads(raw), items, strict=True))


def test_every_flipped_bit_and_truncation_is_seen(plain):
    path = plain / joined.NAME
    raw = path.read_bytes()
    assert joined.read(plain) is not None
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        assert joined.read(plain) is None
    for size in range(0, len(raw), 7):
        path.write_bytes(raw[:size])
        assert joined.read(plain) is None
    path.write_bytes(raw + b"\0")
    assert joined.read(plain) is None


def forged(raw, **told):
    """With other numbers in the header, the CRC-32 of its own bytes, and so the size that the numbers ask for."""
    names = ("magic", "version", "code", "dim", "count", "shards", "has_lengths", "crc")
    fields = dict(zip(names, joined._HEADER.unpack_from(raw), strict=True)) | told
    head, body = joined._HEADER.pack(*fields.values())[: joined._CRC_AT], raw[joined._HEADER.size :]
    return head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body


ENTRIES = joined.ENTRY.itemsize // 8  # offsets that take the room of an entry of the table


@pytest.mark.parametrize(
    "told",
    [
        {"dim": -1},
        {"count": 7 - ENTRIES, "shards": 4 + 1},
        {"count": 7 + 5 * ENTRIES, "shards": 4 - 5},
        {"code": 0},
        {"code": 6},
        {"code": 2**32 - 1},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_not_believed_though_size_and_sum_are_right(plain, told):
    path = plain / joined.NAME
    raw = path.read_bytes()
    path.write_bytes(forged(raw))
    assert joined.read(plain) is not None
    path.write_bytes(forged(raw, **told))
    assert joined.read(plain) is None
    assert not StreamReader(plain, 7).index.stored


CHANGES = {
    "another size": lambda folder: write_shard(folder, 1, [np.zeros(9, np.int16)], "int16"),
    "one more": lambda folder: write_shard(folder, 4, [np.zeros(9, np.int16)], "int16"),
    "one gone": lambda folder: [path.unlink() for path in shard_paths(folder, 3)],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_of_other_shards_it_is_not_used(plain, change):
    change(plain)
    reader = StreamReader(plain)
    assert not reader.index.stored
    assert reader.lengths.tolist() == [
        *SIZES[:2],
        9 if change is CHANGES["another size"] else SIZES[2],
        *SIZES[3:6],
        *([] if change is CHANGES["one gone"] else SIZES[6:]),
        *([9] if change is CHANGES["one more"] else []),
    ]


@pytest.mark.parametrize("ending", range(3))
def test_a_missing_file_is_named(plain, ending):
    path = shard_paths(plain, 1)[ending]
    path.unlink()
    with pytest.raises(MMFairseqError, match=f"{path.name}: missing"):
        StreamReader(plain)


def test_a_shard_rebuilt_in_the_same_size_is_seen_when_it_is_touched(plain):
    write_shard(plain, 2, [np.zeros(size, np.int16) for size in (2, 1, 4)], "int16")  # they were of 1, 2 and 4
    reader = StreamReader(plain)
    assert len(reader[0]) == 3
    with pytest.raises(MMFairseqError, match=r"shard-00002\.json: .*changed since joined\.idx was.*binarize --resume"):
        reader[4]


def test_streams_and_shards_may_be_links(plain, tmp_path):
    expected = [np.array(item) for item in StreamReader(plain)]
    disk = tmp_path / "other disk"
    disk.mkdir()
    for shard in (1, 3):
        for path in shard_paths(plain, shard):
            shutil.move(path, disk)
            path.symlink_to(disk / path.name)
    (tmp_path / "data-bin").mkdir()
    (tmp_path / "data-bin" / "audio").symlink_to(plain, target_is_directory=True)
    for folder in (plain, tmp_path / "data-bin" / "audio"):
        reader = StreamReader(folder, 7)
        assert reader.index.stored
        assert all(np.array_equal(a, b) for a, b in zip(reader, expected, strict=True))
    (disk / "shard-00003.bin").unlink()
    with pytest.raises(MMFairseqError, match=r"shard-00003\.bin: missing"):
        StreamReader(plain)


def test_a_shard_of_other_bytes_in_the_same_lengths_is_seen(plain):
    write_shard(plain, 2, [np.full(size, -1, np.int16) for size in SIZES[3:6]], "int16")
    with pytest.raises(MMFairseqError, match=r"shard-00002\.json: .*changed since joined\.idx was"):
        StreamReader(plain)[4]


def test_an_index_of_another_stream_is_not_read(plain):
    reader = StreamReader(plain)
    assert len(reader[0]) == 3
    sent = pickle.dumps(reader)
    raw = (plain / joined.NAME).read_bytes()
    (plain / "new").write_bytes(raw)
    (plain / "new").replace(plain / joined.NAME)
    with pytest.raises(MMFairseqError, match=r"joined\.idx: changed since it was opened"):
        pickle.loads(sent)[0]
    assert len(reader[2]) == 5  # opened before

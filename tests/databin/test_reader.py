"""Reading is what was written, without a copy; every damage is named with its file."""

import os
import pickle
import shutil

import numpy as np
import pytest

from mm_fairseq.databin import StreamReader, fingerprint, write_shard
from mm_fairseq.databin.format import receipt_bytes
from mm_fairseq.errors import MMFairseqError

OTHER = {
    "count": 2,
    "dtype": "int16",
    "dim": 0,
    "bytes": 10,
    "sha256": {"bin": "0" * 64, "idx": "0" * 64},
    "notes": {},
}
ITEMS = [np.arange(size, dtype=np.int16) + 10 * size for size in (3, 0, 5, 1, 2)]


@pytest.fixture
def stream(tmp_path):
    write_shard(tmp_path, 0, ITEMS[:2], "int16")
    write_shard(tmp_path, 1, ITEMS[2:3], "int16")
    write_shard(tmp_path, 2, ITEMS[3:], "int16")
    return tmp_path


def same(reader, items=ITEMS):
    return len(reader) == len(items) and all(np.array_equal(a, b) for a, b in zip(reader, items, strict=True))


def test_items_and_lengths(stream):
    reader = StreamReader(stream, 5)
    assert same(reader)
    assert reader.lengths.tolist() == [3, 0, 5, 1, 2]
    assert reader.lengths.dtype == np.int64
    assert reader.shards == [range(2), range(2, 3), range(3, 5)]
    for row in (-1, 5):
        with pytest.raises(IndexError):
            reader[row]


def test_features_and_own_lengths(tmp_path):
    features = [np.ones((2, 3), np.float16), np.ones((0, 3), np.float16)]
    write_shard(tmp_path / "f", 0, features, "float16", dim=3)
    reader = StreamReader(tmp_path / "f")
    assert [item.shape for item in reader] == [(2, 3), (0, 3)]
    assert reader.lengths.tolist() == [2, 0]
    write_shard(tmp_path / "v", 0, [np.zeros(9, np.uint8)], "uint8", lengths=[4])
    assert StreamReader(tmp_path / "v").lengths.tolist() == [4]


def test_views_are_read_only_and_share_the_map(stream):
    reader = StreamReader(stream)
    assert not reader[0].flags.owndata
    assert not reader[0].flags.writeable
    assert np.shares_memory(reader[3], reader._maps[2])


def test_pickled_reader_is_small_and_maps_again(stream):
    reader = StreamReader(stream)
    assert same(reader)
    raw = pickle.dumps(reader)
    assert len(raw) < 5000
    assert same(pickle.loads(raw))


def test_forked_reader(stream):
    reader = StreamReader(stream)
    assert same(reader)
    child = os.fork()
    if not child:
        os._exit(0 if same(reader) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_every_truncation_of_data_is_found(stream):
    path = stream / "shard-00002.bin"
    raw = path.read_bytes()
    for size in range(len(raw)):
        path.write_bytes(raw[:size])
        with pytest.raises(MMFairseqError, match=r"shard-00002\.bin: .* bytes"):
            StreamReader(stream)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("shard-00001.idx", None, "shard-00001.idx: missing"),
        ("shard-00001.bin", None, "shard-00001.bin: missing"),
        ("shard-00001.json", None, "shard-00001.json: missing"),
        ("shard-00002.json", None, "3 items, 5 expected"),
        ("shard-00001.idx", b"other" * 50, "shard-00001.idx: not an index"),
        ("shard-00001.json", b"{", "not a receipt"),
        ("shard-00001.json", b"[]", "not a receipt"),
        ("shard-00001.json", b'{"count": 2, "dtype": "int16", "dim": 0, "bytes": 10}', "expected bytes, count"),
        ("shard-00001.json", receipt_bytes(OTHER), "the receipt says"),
        ("shard-00001.json", receipt_bytes(OTHER).replace(b"10", b"11"), "the checksum is wrong"),
    ],
)
def test_damage_is_named(stream, name, content, reason):
    path = stream / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(MMFairseqError, match=reason):
        StreamReader(stream, 5)


def test_no_stream(tmp_path):
    with pytest.raises(MMFairseqError, match="no shards"):
        StreamReader(tmp_path / "nothing")


def test_shards_of_different_types(stream):
    write_shard(stream, 1, [np.zeros(1, np.int32)], "int32")
    with pytest.raises(MMFairseqError, match=r"shard-00001\.idx: dtype or dim differs"):
        StreamReader(stream)


def test_a_reader_survives_a_rebuild(stream):
    reader = StreamReader(stream)
    assert same(reader)
    for _ in range(20):
        write_shard(stream, 0, [np.full(9, 7, np.int16)] * 2, "int16")
        assert same(reader)
    late = StreamReader(stream)
    write_shard(stream, 2, [np.zeros(1, np.int16)] * 2, "int16")
    with pytest.raises(MMFairseqError, match="changed since"):
        late[3]


# Fingerprint


def without_last_row(folder):
    path = folder / "manifest.tsv"
    path.write_bytes(path.read_bytes().rsplit(b"\n", 2)[0] + b"\n")


def other_label(folder):
    path = folder / "manifest.tsv"
    path.write_text(path.read_text().replace("happy", "sad"))


def other_item(folder):
    write_shard(folder / "text", 0, [np.array([1, 3], np.int32)], "int32")  # of equal length


CHANGES = {
    "row": without_last_row,
    "label": other_label,
    "item": other_item,
    "shard more": lambda folder: write_shard(folder / "text", 1, [np.array([1, 2], np.int32)], "int32"),
    "stream": lambda folder: (folder / "text").rename(folder / "video"),
    "split": lambda folder: np.save(folder / "splits" / "official" / "1" / "test.npy", np.array([0])),
    "split's name": lambda folder: (folder / "splits" / "official").rename(folder / "splits" / "by_actor"),
    "split gone": lambda folder: (folder / "splits" / "official" / "1" / "train.npy").unlink(),
}


@pytest.fixture
def small_data_bin(tmp_path):
    folder = tmp_path / "data-bin"
    write_shard(folder / "text", 0, [np.array([1, 2], np.int32)], "int32")
    (folder / "manifest.tsv").write_text("# root=/data\nid\temotion\na\thappy\nb\tsad\n")
    (folder / "splits" / "official" / "1").mkdir(parents=True)
    for name, rows in {"train": [0], "test": [1]}.items():
        np.save(folder / "splits" / "official" / "1" / f"{name}.npy", np.array(rows))
    return folder


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_fingerprint_knows_every_change_of_content(small_data_bin, change):
    before = fingerprint(small_data_bin)
    assert len(before) == 64
    assert fingerprint(small_data_bin) == before
    change(small_data_bin)
    assert fingerprint(small_data_bin) != before


def test_fingerprint_is_the_same_anywhere(small_data_bin, tmp_path):
    before = fingerprint(small_data_bin)
    path = small_data_bin / "manifest.tsv"
    path.write_text(path.read_text().replace("# root=/data", "# root=../elsewhere"))
    (small_data_bin / "notes.txt").write_text("mine")
    assert fingerprint(shutil.copytree(small_data_bin, tmp_path / "other" / "place")) == before

"""Cached streams: their names, and that only what belongs to the raw data is opened."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from mm_fairseq.atomic import locked
from mm_fairseq.databin import CachedStream, StreamReader, cached_streams, fingerprint, joined
from mm_fairseq.databin.format import open_shard
from mm_fairseq.databin.writer import write_shard
from mm_fairseq.errors import MMFairseqError

STREAM = CachedStream("text", "roberta", {"layer": 2, "vocabulary": 9}, {"file": "ab"}, 512, (0, 2), "float16", 4)
OTHERS = {
    "backbone": "bert",
    "args": {"layer": 1, "vocabulary": 9},
    "sha256": {"file": "ac"},
    "longest": None,
    "symbols": (0, 3),
    "dtype": "float32",
    "dim": 8,
}


def fill(data_bin, stream, source=None):
    """Write features to the lengths of the raw stream."""
    folder = stream.write(data_bin)
    raw, receipt = open_shard(data_bin / stream.modality, 0)
    items = [np.full((length, stream.dim), 0.5, stream.dtype) for length in raw.item_lengths()]
    notes = {"source": source or receipt["sha256"]["bin"]}
    write_shard(folder, 0, items, stream.dtype, stream.dim, notes=notes)
    return folder


@pytest.fixture
def own(data_bin, tmp_path):
    return shutil.copytree(data_bin, tmp_path / "data-bin")


@pytest.mark.parametrize("field", OTHERS)
def test_whatever_differs_gives_another_folder(field):
    other = dataclasses.replace(STREAM, **{field: OTHERS[field]})
    assert other.name != STREAM.name
    assert other.name.startswith(f"text@{other.backbone}-")


def test_is_found_again_and_read(own):
    other = dataclasses.replace(STREAM, args={"layer": 1})
    for stream in (STREAM, other):
        fill(own, stream)
    assert sorted(cached_streams(own, "text"), key=str) == sorted([STREAM, other], key=str)
    assert cached_streams(own, "audio") == []
    reader = STREAM.open(own, 24)
    assert (len(reader), reader.dim, reader.dtype) == (24, 4, np.float16)
    assert (reader[3] == 0.5).all()


def test_once_opened_whole_it_is_opened_without_its_shards(own, monkeypatch):
    folder = fill(own, STREAM)
    expected = [np.array(item) for item in STREAM.open(own, 24)]
    assert (folder / joined.NAME).is_file()
    with monkeypatch.context() as patch:
        patch.delattr("mm_fairseq.databin.features.open_shard")
        patch.delattr("mm_fairseq.databin.joined.open_shard")
        reader = STREAM.open(own, 24)
    assert reader.index.stored
    assert all(np.array_equal(a, b) for a, b in zip(reader, expected, strict=True))


def test_where_nobody_may_write_it_is_opened_all_the_same(own, monkeypatch):
    folder = fill(own, STREAM)

    def refuse(*_):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(joined, "write_atomic", refuse)
    assert len(STREAM.open(own, 24)) == 24
    assert not (folder / joined.NAME).exists()
    with locked(folder):
        assert len(STREAM.open(own, 24)) == 24


def test_its_joined_index_is_not_believed_of_other_raw_data(own):
    folder = fill(own, STREAM)
    STREAM.open(own, 24)
    items = [np.array(item) for item in StreamReader(own / "text")]
    items[0] = items[0] + 1  # of equal size
    write_shard(own / "text", 0, items, "int32")
    StreamReader(own / "text", anew=True).index.write(own / "text")
    with pytest.raises(MMFairseqError, match=r"1 of 1 shards are missing, damaged or of other raw data"):
        STREAM.open(own, 24)
    fill(own, STREAM)
    before = (folder / joined.NAME).read_bytes()
    assert len(STREAM.open(own, 24)) == 24
    assert (folder / joined.NAME).read_bytes() != before


def test_does_not_change_what_the_data_is(own):
    before = fingerprint(own)
    fill(own, STREAM)
    assert fingerprint(own) == before


def test_an_unfinished_one_is_not_opened(own):
    STREAM.write(own)
    assert cached_streams(own, "text") == [STREAM]
    with pytest.raises(MMFairseqError, match=rf"{STREAM.name}/shard-00000: 1 of 1 shards.*mm-fairseq extract --resume"):
        STREAM.open(own, 24)


def test_features_of_other_data_are_not_opened(own):
    fill(own, STREAM, source="of another corpus")
    assert not STREAM.is_done(own, 0)
    with pytest.raises(MMFairseqError, match=r"1 of 1 shards are missing, damaged or of other raw data"):
        STREAM.open(own, 24)


def test_a_cut_shard_is_not_opened(own):
    folder = fill(own, STREAM)
    path = folder / "shard-00000.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(MMFairseqError, match=r"shards are missing, damaged"):
        STREAM.open(own, 24)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"modality": "text"}', "null"])
def test_a_damaged_description_is_named(own, content):
    (STREAM.write(own) / "stream.json").write_text(content)
    with pytest.raises(MMFairseqError, match=r"stream\.json: damaged; .*verify --repair.* extract again$"):
        cached_streams(own, "text")


def test_a_changed_byte_in_a_description_is_damage(own):
    """Whether a parser minds it or not."""
    path = STREAM.write(own) / "stream.json"
    raw = path.read_bytes()
    for place in range(0, len(raw), 7):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 2]) + raw[place + 1 :])
        with pytest.raises(MMFairseqError, match=r"stream\.json: damaged[^:]*; `mm-fairseq verify --repair` mends"):
            cached_streams(own, "text")


def test_a_description_of_another_folder_is_named(own):
    path = STREAM.write(own) / "stream.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps(about | {"sha256": {"file": "forged"}}))
    with pytest.raises(MMFairseqError, match=r"stream\.json: damaged, or does not belong to its folder"):
        cached_streams(own, "text")

"""Index bytes: what is written is read, what is damaged is found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_fairseq.databin.format import DTYPES, Index, pack_frames, unpack_frames
from mm_fairseq.errors import MMFairseqError


def index(sizes, dtype="int16", dim=0, lengths=None):
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Index(np.dtype(dtype), dim, offsets, None if lengths is None else np.array(lengths, np.int64))


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("lengths", [None, [7, 0, 2]])
def test_round_trip(dtype, lengths):
    read = Index.from_bytes(index([4, 0, 6], dtype, 2, lengths).to_bytes(), "x.idx")
    assert (read.dtype.name, read.dim, len(read), read.elements) == (dtype, 2, 3, 10)
    assert read.item_lengths().tolist() == (lengths or [2, 0, 3])


def test_every_truncation_is_found():
    raw = index([3, 1, 4], lengths=[1, 1, 1]).to_bytes()
    for size in range(len(raw)):
        with pytest.raises(MMFairseqError, match=r"^x\.idx"):
            Index.from_bytes(raw[:size], "x.idx")


def test_every_flipped_bit_is_found():
    raw = index([3, 1, 4]).to_bytes()
    for place in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[place // 8] ^= 1 << place % 8
        with pytest.raises(MMFairseqError, match=r"^x\.idx"):
            Index.from_bytes(bytes(damaged), "x.idx")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_result_or_the_error(raw):
    with pytest.raises(MMFairseqError):
        Index.from_bytes(raw, "x.idx")


def test_sizes_that_do_not_fit_the_dim():
    with pytest.raises(MMFairseqError, match="multiples of dim 4"):
        Index.from_bytes(index([4, 3], "float16", 4).to_bytes(), "x.idx")


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_frames_round_trip(frames):
    blob = pack_frames(frames)
    assert blob.dtype == np.uint8
    assert [view.tobytes() for view in unpack_frames(blob)] == frames


def test_frames_are_views():
    blob = pack_frames([b"abc", b"de"])
    assert all(np.shares_memory(view, blob) for view in unpack_frames(blob))


@given(st.binary(min_size=1, max_size=60))
def test_other_bytes_give_their_frames_or_the_error(raw):
    blob = np.frombuffer(raw, np.uint8)
    try:
        found = unpack_frames(blob)
    except MMFairseqError:
        return
    assert pack_frames([view.tobytes() for view in found]).tobytes() == raw

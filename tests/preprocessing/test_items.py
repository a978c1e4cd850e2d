"""What no decoder should raise is a bad item, and what no item is to blame for is an error."""

import errno
import os
import sys
from functools import partial

import numpy as np
import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Utterance
from mm_fairseq.media import MediaError, clip
from mm_fairseq.media.bounds import Limits
from mm_fairseq.media.child import Child
from mm_fairseq.media.dictionary import TokenIds
from mm_fairseq.preprocessing import items
from mm_fairseq.preprocessing.items import Items, Settings

ROW = Utterance("u", audio="a.wav", text="some words")


def test_an_unforeseen_error_of_a_decoder(tmp_path, monkeypatch):
    def fails(*args):
        raise MemoryError("bad atom")

    monkeypatch.setitem(items.READERS, "sound", fails)
    with pytest.raises(MediaError, match=r"a\.wav: the decoder failed: MemoryError: bad atom") as caught:
        Items(tmp_path, Settings()).make("audio", ROW)
    assert caught.value.code == "out_of_memory"


def test_a_lost_tokenizer_is_no_fault_of_an_utterance(tmp_path):
    spec = {"name": "sentencepiece", "files": ["text.model"]}
    with pytest.raises(MMFairseqError, match=r"text\.model: missing file") as caught:
        Items(tmp_path, Settings(), partial(TokenIds.load, spec, tmp_path)).make("text", ROW)
    assert not isinstance(caught.value, MediaError)


def test_no_face_is_the_middle_and_said(tmp_path, monkeypatch):
    """Not lost: what `faces="center"` would have kept comes along with the fault."""
    frames = [np.full((40, 60, 3), 10 * number, np.uint8) for number in range(5)]
    monkeypatch.setattr(clip, "read_frames", lambda *args: frames)
    row = Utterance("u", video="a.mp4")
    with pytest.raises(MediaError, match=r"a\.mp4: no face found in any of the 5 frames") as caught:
        Items(tmp_path, Settings(frame_size=32)).make("video", row)
    expected, length = Items(tmp_path, Settings(frame_size=32, faces="center")).make("video", row)
    assert caught.value.code == "no_face"
    assert caught.value.kept[1] == length == 5
    assert np.array_equal(caught.value.kept[0], expected)


@pytest.mark.parametrize(("rows", "size"), [(1, 8), (256, 8), (1490, 47), (100_000, 256)])
def test_shard_size_by_the_size_of_the_corpus(rows, size):
    assert Settings().for_rows(rows).shard_size == size
    assert Settings(shard_size=3).for_rows(rows).shard_size == 3


class Failing:
    """Stands for `read_audio`; fails some times."""

    def __init__(self, times, code="truncated", error=None):
        self.times, self.error, self.calls = times, error or MediaError(code, code), 0

    def __call__(self, *args):
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return np.ones(500, np.int16)


@pytest.fixture
def sound(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    return Items(tmp_path, Settings())


def test_a_fault_that_passes_is_not_the_files(sound, monkeypatch):
    for fault in (Failing(1), Failing(1, "unreadable"), Failing(1, error=RuntimeError("no"))):
        monkeypatch.setitem(items.READERS, "sound", fault)
        assert sound.make("audio", ROW)[1] == 500
    for fault, calls in ((Failing(9), 2), (Failing(9, "no_audio_track"), 1)):
        monkeypatch.setitem(items.READERS, "sound", fault)
        with pytest.raises(MediaError):
            sound.make("audio", ROW)
        assert fault.calls == calls


def test_a_file_that_the_system_cannot_read_is_not_called_cut_short(sound, monkeypatch):
    """Decoders take an error of the disk for the end of the file."""

    def fails(*args, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setitem(items.READERS, "sound", Failing(9))
    monkeypatch.setattr("builtins.open", fails)
    with pytest.raises(OSError, match="Input/output error"):
        sound.make("audio", ROW)


def test_no_memory_on_the_machine_is_not_the_files(sound, monkeypatch):
    monkeypatch.setitem(items.READERS, "sound", Failing(9, error=MemoryError()))
    with pytest.raises(MediaError, match="MemoryError"):
        sound.make("audio", ROW)
    monkeypatch.setattr(items, "_LARGEST", 1 << 60)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        sound.make("audio", ROW)


def hoard(path, *args, held=[]):  # noqa: B006
    """Keeps what it took, as a decoder that leaks."""
    held.append(np.ones(200 << 20, np.uint8))
    return np.ones(500, np.int16)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to bounds")
def test_what_earlier_recordings_took_is_not_the_next_ones(tmp_path):
    read = Child({"sound": hoard}, Limits(memory=300 << 20))
    made = Items(tmp_path, Settings(), read=read)
    try:
        for name in "abc":
            assert made.make("audio", Utterance(name, audio=f"{name}.wav"))[1] == 500
    finally:
        read.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 1), ({"max_seconds": 1200.0}, 2), ({"fps": 10.0}, 1), ({"fps": 30.0, "frame_size": 512}, 8)],
)
def test_memory_by_what_is_asked_for(settings, expected):
    assert round(Settings(**settings).scale) == expected

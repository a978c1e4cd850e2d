import struct

import numpy as np
import pytest

from mm_fairseq.corpora.recordings import (
    EMPTY,
    FOLDER,
    MISSING,
    POINTER,
    Faults,
    archive_hint,
    fault,
    is_pointer,
    mp4_tracks,
)
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy.clips import write_clip

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 82026\n"
FRAMES = [np.full((32, 32, 3), value, np.uint8) for value in (0, 90, 180)]
SOUND = np.zeros(4800, np.int16)


def test_pointers_and_empty_files(tmp_path):
    file = tmp_path / "a.mp4"
    file.write_text(LFS)
    assert is_pointer(file)
    assert fault(file) == POINTER
    file.write_bytes(b"")
    assert not is_pointer(file)
    assert fault(file) == EMPTY
    assert fault(tmp_path) == FOLDER
    assert fault(file / "inside.wav") == fault(tmp_path / "none.wav") == MISSING
    assert fault(tmp_path / "a\x00.wav") == "'a\\x00.wav' is no path: it holds a zero byte"
    file.write_text(LFS + "x" * 1024)
    assert not is_pointer(file)
    assert fault(file) == ""


@pytest.mark.parametrize(
    ("frames", "sound", "tracks"),
    [(FRAMES, SOUND, {"audio", "video"}), (FRAMES, None, {"video"}), (None, SOUND, {"audio"})],
)
def test_tracks_that_the_encoder_wrote(tmp_path, frames, sound, tracks):
    write_clip(tmp_path / "a.mp4", frames, sound, 20, 16_000)
    assert mp4_tracks(tmp_path / "a.mp4") == tracks


def box(kind, content, long=False):
    if long:
        return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content
    return struct.pack(">I4s", 8 + len(content), kind) + content


def test_sizes_of_64_bits_and_a_last_box_of_any_size(tmp_path):
    handler = box(b"hdlr", bytes(8) + b"soun" + bytes(13))
    track = box(b"trak", box(b"tkhd", bytes(84)) + box(b"mdia", box(b"mdhd", bytes(24)) + handler), long=True)
    (tmp_path / "a.mp4").write_bytes(box(b"ftyp", b"isom") + box(b"moov", box(b"mvhd", bytes(100)) + track))
    assert mp4_tracks(tmp_path / "a.mp4") == {"audio"}
    last = struct.pack(">I4s", 0, b"moov") + track
    (tmp_path / "a.mp4").write_bytes(box(b"mdat", bytes(50), long=True) + last)
    assert mp4_tracks(tmp_path / "a.mp4") == {"audio"}


def test_any_bytes_give_an_answer(tmp_path):
    write_clip(tmp_path / "a.mp4", FRAMES, SOUND, 20, 16_000)
    whole = (tmp_path / "a.mp4").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(whole[: rng.integers(len(whole))])
        for place in rng.integers(0, max(1, len(data)), 3):
            if data:
                data[place] = rng.integers(256)
        (tmp_path / "b.mp4").write_bytes(bytes(data))
        tracks = mp4_tracks(tmp_path / "b.mp4")
        assert tracks is None or tracks <= {"audio", "video"}
    (tmp_path / "b.mp4").write_bytes(b"\x1aE\xdf\xa3" + bytes(100))
    assert mp4_tracks(tmp_path / "b.mp4") is None


def test_faults_are_gathered_and_told_at_once(tmp_path):
    names = ("a.wav", "b.wav", "c.wav", "whole.wav")
    for name, content in zip(names, ("", "", LFS, "RIFF"), strict=True):
        (tmp_path / name).write_text(content)
    faults = Faults()
    assert not faults
    assert [faults.check(tmp_path / name) for name in (*names, "gone.wav", "a.wav")] == [
        *(False, False, False, True, False, False)
    ]
    (tmp_path / "empty.txt").write_text("")
    assert faults.check(tmp_path / "empty.txt", may_be_empty=True)
    assert faults.folder(tmp_path)
    assert not faults.folder(tmp_path / "nowhere")
    faults.add(tmp_path / "whole.wav", "no sound in it")
    told = [
        f"{tmp_path}/a.wav: {EMPTY} (and 1 more: b.wav)",
        f"{tmp_path}/c.wav: {POINTER}",
        f"{tmp_path}/gone.wav: {MISSING}",
        f"{tmp_path}/whole.wav: no sound in it",
        f"{tmp_path}/nowhere: no such folder",
    ]
    with pytest.raises(MMFairseqError) as error:
        faults.settle(accept=False, notes=[])
    assert str(error.value) == f"{'; '.join(told)}; --accept-missing goes on without them"
    notes = ["before"]
    faults.settle(accept=True, notes=notes)
    assert notes == ["before", *(f"accepted: {each}" for each in told)]
    Faults().settle(accept=False, notes=notes)


def test_archives_that_were_not_extracted_are_named(tmp_path):
    assert archive_hint(tmp_path) == ""
    for name in ("b.tar.gz", "a.zip", "notes.txt"):
        (tmp_path / name).write_text("x")
    assert archive_hint(tmp_path) == f"; there are archives in {tmp_path}: extract a.zip, b.tar.gz first"
    assert archive_hint(tmp_path / "a.zip") == "; a.zip is an archive: extract it first"
    assert archive_hint(tmp_path / "notes.txt") == ""
    assert archive_hint(tmp_path / "nowhere") == ""

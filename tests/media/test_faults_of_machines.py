"""What a machine, a disk or a network cannot do for a while is no fault of the file."""

import errno
import os
import re
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from mm_fairseq.media import MediaError, check_file, read_through
from mm_fairseq.media.audio import read_audio
from mm_fairseq.media.container import Track
from mm_fairseq.media.features import read_features

PASSING = [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ETIMEDOUT]


def fails(code):
    def call(*args, **options):
        raise OSError(code, os.strerror(code), "a file")

    return call


@pytest.fixture
def sound(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    return tmp_path / "a.wav"


@pytest.mark.parametrize("code", PASSING, ids=errno.errorcode.get)
def test_a_file_that_cannot_be_read_now(sound, monkeypatch, code):
    monkeypatch.setattr(Path, "stat", fails(code))
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        check_file(sound)
    assert caught.value.errno == code


def test_a_file_that_nobody_may_read(sound, monkeypatch):
    monkeypatch.setattr("builtins.open", fails(errno.EACCES))
    with pytest.raises(MediaError, match="Permission denied"):
        check_file(sound)
    read_through(sound)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ESTALE], ids=errno.errorcode.get)
def test_what_libraries_are_told_by_the_system(sound, tmp_path, monkeypatch, code):
    def refused(*args, **options):
        av.error.err_check(-code)

    monkeypatch.setattr(av, "open", refused)
    with pytest.raises(OSError, match=r"\[Errno") as caught, Track(sound, "audio"):
        pass
    assert caught.value.errno == code
    monkeypatch.setattr(soundfile, "SoundFile", fails(code))
    with pytest.raises(OSError, match=re.escape(os.strerror(code))):
        read_audio(sound)
    np.savez(tmp_path / "a.npz", audio=np.zeros((3, 2), np.float32))
    monkeypatch.setattr("zipfile.ZipFile", fails(code))
    with pytest.raises(OSError, match=re.escape(os.strerror(code))):
        read_features(tmp_path / "a.npz", "audio")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOMEM, errno.EAGAIN], ids=errno.errorcode.get)
def test_what_decoders_say_of_bad_files_too(sound, monkeypatch, code):
    def refused(*args, **options):
        av.error.err_check(-code)

    monkeypatch.setattr(av, "open", refused)
    with pytest.raises(MediaError, match="not an audio or video file"), Track(sound, "audio"):
        pass

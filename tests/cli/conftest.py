"""The command `mm-fairseq predict` in a folder of recordings."""

import numpy as np
import pytest
import soundfile
from long_recordings import RATE, noise, write

from mm_fairseq.cli import main


@pytest.fixture(scope="module")
def checkpoint(small_models):
    """Of sound and words."""
    return small_models.checkpoint("wave_text")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    soundfile.write(folder / "a.wav", noise(2), RATE)
    soundfile.write(folder / "b.mp3", noise(3).astype(np.float32) / 32768, RATE)
    soundfile.write(folder / "long.wav", noise(23), RATE)
    write(folder / "c.mov", 2)
    (folder / "bad.mp4").write_bytes(b"no film" * 1000)
    (folder / "late.vtt").write_text("WEBVTT\n\n10:00.000 --> 10:02.000\nlate\n")
    return folder


@pytest.fixture
def ask(checkpoint, files, capsys, monkeypatch):
    """Run the command in the folder of files; gives status, output and errors."""
    monkeypatch.chdir(files)

    def call(*words, of=checkpoint):
        capsys.readouterr()  # of a training, if one was needed
        status = main(["predict", "--checkpoint", str(of), *map(str, words)])
        return status, *capsys.readouterr()

    return call

"""What is written is decoded here by PyAV alone."""

import av
import numpy as np
import pytest

from mm_fairseq.toy.clips import write_clip

RATE, FPS = 22_050, 20


def clip(seconds=1.0):
    time = np.arange(round(seconds * RATE)) / RATE
    shade = np.linspace(20, 230, round(seconds * FPS))
    frames = [np.full((64, 96, 3), value, np.uint8) for value in shade]
    return frames, np.round(8000 * np.sin(2 * np.pi * 440 * time)).astype(np.int16)


def decode(path):
    with av.open(str(path)) as file:
        names = {stream.type: stream.codec_context.name for stream in file.streams}
    pictures, sound = [], []
    if "video" in names:
        with av.open(str(path)) as file:
            pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    if "audio" in names:
        with av.open(str(path)) as file:
            sound = np.concatenate([np.atleast_2d(frame.to_ndarray())[0] for frame in file.decode(audio=0)])
    return names, pictures, sound


@pytest.mark.parametrize(
    ("ending", "codecs"),
    [(".mp4", {"video": "h264", "audio": "aac"}), (".flv", {"video": "flv", "audio": "mp3float"})],
)
def test_pictures_and_sound_come_back(tmp_path, ending, codecs):
    frames, sound = clip()
    write_clip(tmp_path / f"a{ending}", frames, sound, FPS, RATE)
    names, pictures, heard = decode(tmp_path / f"a{ending}")
    assert names == codecs
    assert len(pictures) == len(frames)
    for picture, frame in zip(pictures, frames, strict=True):
        assert picture.shape == frame.shape
        assert abs(float(picture.mean()) - float(frame.mean())) < 8
    assert abs(len(heard) - len(sound)) < 0.1 * RATE
    spectrum = np.abs(np.fft.rfft(heard[: RATE // 2]))
    assert abs(np.argmax(spectrum) * 2 - 440) <= 2


def test_the_same_bytes_each_time(tmp_path):
    frames, sound = clip(0.5)
    for name in ("a.mp4", "b.mp4", "a.flv", "b.flv"):
        write_clip(tmp_path / name, frames, sound, FPS, RATE)
    for ending in ("mp4", "flv"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


def test_a_track_may_be_left_out(tmp_path):
    frames, sound = clip(0.5)
    write_clip(tmp_path / "silent.mp4", frames, None, FPS, RATE)
    write_clip(tmp_path / "dark.mp4", None, sound, FPS, RATE)
    assert list(decode(tmp_path / "silent.mp4")[0]) == ["video"]
    assert list(decode(tmp_path / "dark.mp4")[0]) == ["audio"]


def test_where_there_is_no_encoder_of_h264(tmp_path, monkeypatch):
    monkeypatch.setattr(av.codec, "codecs_available", av.codec.codecs_available - {"libx264"})
    frames, sound = clip(0.5)
    write_clip(tmp_path / "a.mp4", frames, sound, FPS, RATE)
    names, pictures, _ = decode(tmp_path / "a.mp4")
    assert names["video"] == "mpeg4"
    assert len(pictures) == len(frames)

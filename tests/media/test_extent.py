"""Where the tracks of a recording end, also where its header says nothing of that, or something else."""

import av
import numpy as np
import pytest
import soundfile
from long_recordings import RATE, noise, write

from mm_fairseq.media import MediaError
from mm_fairseq.media.extent import has_pictures, read_extent


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_sound(tmp_path, name):
    soundfile.write(tmp_path / name, noise(3.5).astype(np.float32) / 32768, RATE)
    found = read_extent(tmp_path / name)
    assert found == {"audio": pytest.approx(3.5, abs=0.01), "video": None, "pixels": 0, "cut": False}
    assert not has_pictures(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mov", {}),
        ("a.mp4", {"video": "mpeg4", "audio": "aac"}),
        ("a.ts", {"video": "mpeg2video", "audio": "mp2", "fps": 25}),
        ("a.avi", {}),
        ("a.webm", {"video": "libvpx", "audio": "libopus", "live": True}),  # as a browser records: of no length
    ],
)
def test_video(tmp_path, name, options):
    path = write(tmp_path / name, 4, **options)
    found = read_extent(path)
    assert found["audio"] == pytest.approx(4, abs=0.1)
    assert found["video"] == pytest.approx(4, abs=0.1)
    assert found["pixels"] == 64 * 48
    assert not found["cut"]
    assert has_pictures(path)


def test_a_cut_file_ends_where_it_is_cut(tmp_path):
    path = write(tmp_path / "a.mkv", 10)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = read_extent(path)
    assert 4 < found["audio"] < 6
    assert 4 < found["video"] < 6
    assert found["cut"]


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3", "a.wav"])
def test_a_cut_file_of_sound_ends_where_it_is_cut(tmp_path, name):
    path = tmp_path / name
    soundfile.write(path, noise(12).astype(np.float32) / 32768, RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = read_extent(path)
    assert 5 < found["audio"] < 7
    assert found["cut"]


def test_a_forged_length_is_not_believed(tmp_path):
    path, count = tmp_path / "a.flac", 5 * 3600 * RATE
    soundfile.write(path, noise(12), RATE)
    data = bytearray(path.read_bytes())
    data[21:26] = (data[21] & 0xF0 | count >> 32, *(count & 0xFFFFFFFF).to_bytes(4, "big"))  # of STREAMINFO
    path.write_bytes(data)
    assert soundfile.info(path).duration == 5 * 3600
    assert read_extent(path)["audio"] == pytest.approx(12)


def test_a_cover_is_no_video(tmp_path):
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as file:
        sound = file.add_stream("mp3", rate=RATE, layout="mono")
        cover = file.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24").reformat(format="yuvj420p")
        file.mux(cover.encode(picture))
        file.mux(cover.encode())
        for part in noise(2).reshape(-1, 1, 1000):
            frame = av.AudioFrame.from_ndarray(part, "s16", "mono")
            frame.sample_rate = RATE
            file.mux(sound.encode(frame))
        file.mux(sound.encode())
    with av.open(str(path)) as file:
        assert file.streams.video
    assert read_extent(path) == {"audio": pytest.approx(2, abs=0.2), "video": None, "pixels": 0, "cut": False}
    assert not has_pictures(path)


def test_files_that_are_none(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no film" * 1000)
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name, code in (("a.mp4", "unreadable"), ("empty.mp4", "empty"), ("none.mp4", "missing_file")):
        with pytest.raises(MediaError) as raised:
            read_extent(tmp_path / name)
        assert raised.value.code == code
        assert not has_pictures(tmp_path / name)

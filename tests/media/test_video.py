"""The right frames, and only whole files."""

from fractions import Fraction

import av
import numpy as np
import pytest

from mm_fairseq.media import MediaError, video
from mm_fairseq.media.video import has_audio, read_frames


def code(*args, **options):
    with pytest.raises(MediaError) as caught:
        read_frames(*args, **options)
    assert str(args[0]) in str(caught.value)
    return caught.value.code


@pytest.fixture(scope="module")
def clip(tmp_path_factory, clips):
    """Four seconds at 10 frames a second."""
    return clips.write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=40)


@pytest.mark.parametrize(
    ("start", "end", "fps", "expected"),
    [
        (None, None, 10, list(range(40))),
        (None, None, 5, list(range(1, 40, 2))),
        (1.0, 2.0, 5, [11, 13, 15, 17, 19]),
        (3.0, 3.5, 2, [32]),
        (2.0, 2.01, 5, [20]),
        (3.5, None, 10, [35, 36, 37, 38, 39]),
        (0.0, 0.4, 20, [0, 0, 1, 1, 2, 2, 3, 3]),
        (3.9, 4.09, 5, [39]),
    ],
)
def test_frames_on_the_screen(clip, clips, start, end, fps, expected):
    assert clips.numbers(read_frames(clip, start, end, fps)) == expected


@pytest.mark.parametrize("ending", ["avi", "mkv", "mpg"])
def test_other_containers(tmp_path, clips, ending):
    options = {"codec": "mpeg1video", "fps": 25, "rate": 32000} if ending == "mpg" else {}
    path = clips.write_video(tmp_path / f"a.{ending}", frames=40, **options)
    fps = options.get("fps", 10)
    late = int(ending == "avi")  # FFmpeg's MPEG-4 encoder leaves a hole behind the first frame
    assert clips.numbers(read_frames(path, fps=fps)) == [0] * late + list(range(40))
    assert clips.numbers(read_frames(path, 30 / fps, 35 / fps, fps)) == [number - late for number in range(30, 35)]


def test_a_recorder_does_not_know_how_long_it_will_go_on(tmp_path, clips):
    """A browser's WebM declares no length: how long it may be is held against what comes."""
    path, live = tmp_path / "a.webm", tmp_path / "live.webm"
    clips.write_video(path, frames=40, codec="libvpx", sound=False)
    with av.open(str(path)) as source, av.open(str(live), "w", options={"live": "1"}) as target:
        track = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                target.mux(packet)
    assert len(read_frames(live, fps=10, max_seconds=8)) == 40
    assert code(live, fps=10, max_seconds=2) == "too_long"


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
@pytest.mark.parametrize("fps", [2.5, 5, 10])
def test_frames_of_a_variable_rate_are_those_on_the_screen(tmp_path, clips, ending, fps):
    """A frame stays until the next one is due, however long that is."""
    rng = np.random.default_rng(int(fps))
    shown = np.concatenate([[0], np.cumsum(rng.choice([20, 33, 120, 410], 29))])  # milliseconds
    with av.open(str(tmp_path / f"a.{ending}"), "w") as container:
        track = container.add_stream("mpeg4", rate=Fraction(1000))
        track.width, track.height, track.pix_fmt, track.bit_rate = 64, 48, "yuv420p", 1_000_000
        track.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(shown.tolist()):
            picture = np.full((48, 64, 3), 10 + 5 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(track.encode(frame))
        container.mux(track.encode())
    end = float(shown[-1] // 100) / 10
    targets = (np.arange(round(end * fps)) + 0.5) * 1000 / fps
    expected = (np.searchsorted(shown, targets + 1e-6, side="right") - 1).tolist()
    assert clips.numbers(read_frames(tmp_path / f"a.{ending}", 0.0, end, fps)) == expected


def test_region(tmp_path, clips):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[8:24, 32:64] = (255, 0, 0)
    path = clips.write_video(tmp_path / "a.mp4", pictures=[picture] * 10, frames=10)
    (frame,) = read_frames(path, 0.2, 0.4, 5, (32, 8, 32, 16))
    assert frame.shape == (16, 32, 3)
    assert frame.mean((0, 1))[0] > 230
    assert frame.mean((0, 1))[1] < 30
    for region in ((0, 0, 65, 48), (-1, 0, 8, 8), (0, 40, 8, 16), (0, 0, 0, 8)):
        assert code(path, region=region) == "bad_region"


def test_only_kept_frames_are_converted(clip, monkeypatch):
    converted = []
    original = video._convert
    monkeypatch.setattr(video, "_convert", lambda *args: converted.append(1) or original(*args))
    assert len(read_frames(clip, fps=2)) == len(converted) == 8


def test_large_clips_are_shrunk(clip, monkeypatch):
    monkeypatch.setattr(video, "MAX_CLIP_BYTES", 40 * 64 * 48 * 3 // 4)
    frames = read_frames(clip, fps=10, region=(32, 0, 32, 48))
    assert len(frames) == 40
    assert frames[0].shape == (24, 16, 3)


def test_has_audio(clip, tmp_path, clips):
    assert has_audio(clip)
    assert not has_audio(clips.write_video(tmp_path / "a.mp4", sound=False))
    assert not has_audio(tmp_path / "none.mp4")


def test_spans_and_sizes(clip, monkeypatch):
    assert code(clip, 3.0, 4.5) == "span_outside"
    assert code(clip, 5.0) == "span_outside"
    assert code(clip, max_seconds=3.0) == "too_long"
    monkeypatch.setattr(video, "MAX_PIXELS", 1000)
    assert code(clip) == "too_large"


def test_no_pictures(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(1600), 16000)
    assert code(tmp_path / "a.wav") == "no_video_track"
    (tmp_path / "a.mp4").write_bytes(b"nonsense" * 100)
    assert code(tmp_path / "a.mp4") == "unreadable"


@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv"])
def test_no_truncation_passes(tmp_path, clips, ending):
    raw = clips.write_video(tmp_path / f"a.{ending}", frames=40).read_bytes()
    for percent in range(5, 90, 7):
        path = tmp_path / f"cut.{ending}"
        path.write_bytes(raw[: len(raw) * percent // 100])
        assert code(path) in {"truncated", "unreadable", "corrupt", "empty", "no_video_track"}


@pytest.mark.parametrize(
    ("size", "fps", "expected"),
    [((64, 48), 5.0, 0.0), ((1920, 1080), 5.0, 1.0), ((3840, 2160), 5.0, 4.0), ((3840, 2160), 35.0, 8.0)],
)
def test_large_pictures_are_given_more_time(tmp_path, clips, monkeypatch, size, fps, expected):
    works = []
    monkeypatch.setattr(video, "allow_for", lambda *args: works.append(args[4]))
    read_frames(clips.write_video(tmp_path / "a.mp4", 2, 25, size, sound=False), fps=fps)
    assert works == pytest.approx([expected], abs=0.01)

"""Windows along a long recording: what lies in them, and that it is what predict makes of the same span."""

import math
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import soundfile
from long_recordings import RATE, damage, noise, write

from mm_fairseq.databin import unpack_frames
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import EmotionModel, NoModalityError, recording
from mm_fairseq.inference.recording import Recording, Windows
from mm_fairseq.inference.subtitles import Cue
from mm_fairseq.inference.windows import predict_segments
from mm_fairseq.media import MediaError
from mm_fairseq.media.faces import decode_jpeg
from mm_fairseq.media.video import read_frames


@pytest.fixture(scope="module")
def model(small_models):
    """Sound and pictures; whole pictures, for a face is followed per block."""
    with EmotionModel.from_pretrained(small_models.checkpoint("perceiver_emo")) as found:
        found.state["meta"]["faces"] = "none"
        found.reader = found.new_reader()
        yield found


@pytest.fixture
def short_blocks(monkeypatch):
    monkeypatch.setattr(recording, "BLOCK", 8.0)


def scores(answer):
    return np.array([each["score"] for each in sorted(answer, key=lambda each: each["label"])])


@pytest.mark.parametrize("last", [0.5, 5.0, 5.05, 5.2, 9.95, 10.0, 10.05, 60.0, 61.37, 3600.0])
@pytest.mark.parametrize(("window", "hop"), [(5.0, 1.0), (5.0, 5.0), (2.5, 0.3), (10.0, 2.0)])
@pytest.mark.parametrize("first", [0.0, 0.25])
def test_windows_cover_all(first, last, window, hop):
    found = list(Windows(first, last, window, hop))
    assert found[0][0] == first
    assert found[-1][1] == last
    for (start, end), (after, _) in zip(found, found[1:], strict=False):
        assert after - start == pytest.approx(hop)
        assert end - start == pytest.approx(window)
    assert found[-1][1] - found[-1][0] <= window + 0.1 + 1e-9
    if len(found) > 1:  # the one before does not reach the end
        assert found[-2][1] < last - 0.1 + 1e-9
        assert found[-1][1] - found[-1][0] > window - hop + 0.1 - 1e-6


@pytest.mark.parametrize(
    ("window", "hop"), [(5, 6), (5, 0), (0, 0), (5, -1), (math.inf, 1), (math.nan, 1), (5, math.nan)]
)
def test_windows_that_leave_gaps(window, hop):
    with pytest.raises(MMFairseqError, match="hop"):
        Windows(0, 10, window, hop)


def test_windows_of_which_the_model_makes_nothing(tmp_path, model, small_models):
    soundfile.write(tmp_path / "a.wav", noise(3), RATE)
    for window in (-5, 0, math.nan, math.inf):
        with pytest.raises(MMFairseqError, match=f"^window {window}: a number above 0"):
            Recording(model.reader, audio=tmp_path / "a.wav", window=window)
    for window in (0.001, 0.0249):
        with pytest.raises(MMFairseqError, match=r"a window of 0\.0\d+ s: the model needs at least 0\.025 s of audio$"):
            Recording(model.reader, audio=tmp_path / "a.wav", window=window, hop=0.001)
    answers = [
        each.answer for each in predict_segments(model, audio=tmp_path / "a.wav", window=0.05, hop=0.05, end=0.2)
    ]
    assert len(answers) == 3
    assert all(answer is not None for answer in answers)
    needy = small_models.model("ssl_fusion")
    shortest = needy.limits["audio"].shortest
    assert shortest > 400
    with pytest.raises(MMFairseqError, match=f"at least {shortest / RATE:g} s of audio$"):
        Recording(needy.reader, audio=tmp_path / "a.wav", window=shortest / RATE - 0.001, hop=0.02)
    with Recording(needy.reader, audio=tmp_path / "a.wav", window=shortest / RATE, hop=0.02) as found:
        assert len(found.windows) > 100


@pytest.mark.parametrize(("window", "hop"), [(5.0, 1.0), (2.5, 0.3), (20.0, 7.0)])
@pytest.mark.parametrize("first", [0, 4])
def test_sound_is_cut_to_the_sample(tmp_path, model, short_blocks, window, hop, first):
    wave = noise(21.7)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    with Recording(model.reader, audio=tmp_path / "a.wav", window=window, hop=hop) as found:
        first = min(first, len(found.windows) - 1)
        cut = list(found.cut(first))
        assert len(cut) == len(found.windows) - first
        for (start, end), items in zip(list(found.windows)[first:], cut, strict=True):
            samples, length = items["audio"]
            assert length == len(samples)
            np.testing.assert_array_equal(samples, wave[round(start * RATE) : round(end * RATE)])


def test_pictures_are_those_of_the_grid(tmp_path, model, short_blocks):
    path = write(tmp_path / "a.mov", 19)
    fps = model.reader.settings.fps
    with Recording(model.reader, path, window=4, hop=2, start=0.05) as found:
        for (start, end), items in zip(found.windows, found.cut(), strict=True):
            packed, length = items["video"]
            expected = [x.mean() for x in read_frames(path, start, end, fps)]
            assert length == len(expected)
            np.testing.assert_allclose([decode_jpeg(x).mean() for x in unpack_frames(packed)], expected, atol=0.7)
            assert np.ptp(expected) > 20


@pytest.mark.parametrize(("rate", "start"), [(25, 0.0), (20, 0.0), (50, 0.3)])
def test_pictures_are_neighbours_of_those_of_a_span(tmp_path, model, rate, start):
    """Where one begins just when it is wanted, decoding a span may choose the other one."""
    path, fps = write(tmp_path / "a.mov", 12, fps=rate), model.reader.settings.fps
    with Recording(model.reader, path, window=4, hop=2, start=start) as found:
        for (first, last), items in zip(found.windows, found.cut(), strict=True):
            cut = np.array([decode_jpeg(x).mean() for x in unpack_frames(items["video"][0])])
            alone = np.array([x.mean() for x in read_frames(path, first, last, fps)])
            apart = abs(cut - alone)
            assert np.minimum(apart, 200 - apart).max() < 3  # one picture is 2 brighter than the one before, of 100


def test_scores_are_those_of_predict(tmp_path, model, short_blocks):
    path = write(tmp_path / "a.mov", 20.6)
    # pictures that begin just when one is wanted may be taken or not: not so a twentieth later
    found = list(predict_segments(model, path, window=4, hop=2, start=0.05))
    assert [each.start for each in found] == [0.05 + 2 * n for n in range(10)]
    assert found[-1].end == pytest.approx(20.6)
    for each in found:
        alone = model.predict(path, start=each.start, end=each.end)
        assert each.answer.modalities == alone.modalities == ["audio", "video"]
        np.testing.assert_allclose(scores(each.answer), scores(alone), atol=1e-5)
    assert np.ptp([scores(each.answer) for each in found], axis=0).max() > 1e-3  # windows differ


def test_other_rates_and_codecs_are_near(tmp_path, model, short_blocks):
    wave = noise(21, seed=3)
    soundfile.write(tmp_path / "a.wav", wave.repeat(3)[: 21 * 44100], 44100)
    for each in predict_segments(model, audio=tmp_path / "a.wav", window=5, hop=3):
        alone = model.predict(audio=tmp_path / "a.wav", start=each.start, end=each.end)
        np.testing.assert_allclose(scores(each.answer), scores(alone), atol=1e-3)


def test_a_span_of_a_recording(tmp_path, model, short_blocks):
    wave = noise(30)
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    with Recording(model.reader, audio=tmp_path / "a.wav", window=5, hop=2.5, start=3.5, end=26) as found:
        for (start, end), items in zip(found.windows, found.cut(), strict=True):
            np.testing.assert_array_equal(items["audio"][0], wave[round(start * RATE) : round(end * RATE)])
        assert (found.windows[0][0], found.windows[-1][1]) == (3.5, 26)
    with pytest.raises(MMFairseqError, match="nothing lies between 31 s and 30 s"):
        Recording(model.reader, audio=tmp_path / "a.wav", start=31)


def test_each_second_is_decoded_once(tmp_path, model, short_blocks, monkeypatch):
    path = write(tmp_path / "a.mov", 33)
    asked = []
    with Recording(model.reader, path, window=5, hop=1) as found:
        call = found._call
        monkeypatch.setattr(found, "_call", lambda name, *span: asked.append((name, *span)) or call(name, *span))
        assert len(list(found.cut())) == len(found.windows) == 29
    for name in ("audio", "video"):
        spans = sorted({(start, end) for kind, start, end in asked if kind == name})
        assert [start for start, _ in spans] == [0, 8, 16, 24]
        assert sum(end - start for start, end in spans) == pytest.approx(33, abs=0.1)


def test_a_browsers_recording_says_no_length(tmp_path, model, short_blocks):
    path = write(tmp_path / "a.webm", 13, video="libvpx", audio="libopus", live=True)
    found = list(predict_segments(model, path, window=5, hop=4))
    assert [each.start for each in found] == [0, 4, 8]
    assert found[-1].end == pytest.approx(13, abs=0.1)
    assert all(each.answer.modalities == ["audio", "video"] for each in found)


def test_a_damaged_middle_is_told_and_the_rest_answered(tmp_path, model, short_blocks):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(32), RATE)
    whole = list(predict_segments(model, path, window=2, hop=2))
    damage(path, 32, 12, 15)
    found = list(predict_segments(model, path, window=2, hop=2))
    assert [(each.start, each.end) for each in found] == [(each.start, each.end) for each in whole]
    hurt = [each.start for each in found if each.answer is None]
    assert hurt
    assert all(10 <= start <= 16 for start in hurt), hurt
    for before, after in zip(whole, found, strict=True):
        if after.answer is None:
            assert "no modality is left: audio" in after.note
        elif not 10 <= before.start <= 16:
            np.testing.assert_allclose(scores(before.answer), scores(after.answer), atol=1e-5)


def test_nothing_of_a_window_can_be_used(tmp_path, model, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise(30), RATE)
    real = Recording._piece

    def broken(self, name, start, end):
        if start < 12 and end > 11:
            return recording._Piece(start, end, (), MediaError("corrupt", "a hole"))
        return real(self, name, start, end)

    monkeypatch.setattr(Recording, "_piece", broken)
    monkeypatch.setattr(recording, "BLOCK", 10.0)
    found = list(predict_segments(model, audio=tmp_path / "a.wav", window=5, hop=1))
    assert [each.start for each in found if each.answer is None] == [7, 8, 9, 10, 11]
    assert {each.note.split(": ", 1)[1] for each in found if each.answer is None} == {
        "no modality is left: audio: a hole"
    }
    line = found[7].to_json(model.kinds)
    assert line["scores"] == {}
    assert line["note"]
    assert all(line[target] is None for target in model.kinds)


def test_one_track_is_shorter(tmp_path, model, short_blocks):
    path = write(tmp_path / "a.mov", 12)
    soundfile.write(tmp_path / "b.wav", noise(20), RATE)
    found = list(predict_segments(model, path, tmp_path / "b.wav", window=4, hop=4))
    assert [each.answer.modalities for each in found] == [["audio", "video"]] * 3 + [["audio"]] * 2
    assert found[-1].answer.notes[0].code == "too_short"
    assert "ends at 12.000 s" in found[-1].answer.notes[0].message


def test_a_recording_that_breaks_off_is_told_of(tmp_path, model, short_blocks):
    path = write(tmp_path / "a.mkv", 12)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    soundfile.write(tmp_path / "b.wav", noise(12), RATE)
    (tmp_path / "b.wav").write_bytes((tmp_path / "b.wav").read_bytes()[: 12 * RATE])
    for name, expected in (("a.mkv", ["audio", "video"]), ("b.wav", ["audio"])):
        found = list(predict_segments(model, tmp_path / name, window=3, hop=3))
        assert all(each.answer.modalities == expected for each in found)
        notes = [[note for note in each.answer.notes if note.code == "truncated"] for each in found]
        assert not any(notes[:-1])
        assert [note.modality for note in notes[-1]][:1] == ["audio"]
        assert "breaks off at" in notes[-1][0].message
        assert notes[-1][0].message.endswith("damaged or cut short; answered from what is there")
    whole = list(predict_segments(model, tmp_path / "b.wav", window=3, hop=3, end=3))
    assert [each.answer.notes for each in whole] == [()]


def test_a_file_named_beside_another_is_told_of_where_it_is_of_no_use(tmp_path, model, short_blocks):
    path = write(tmp_path / "a.mov", 6)
    (tmp_path / "bad.wav").write_bytes(b"no sound" * 1000)
    soundfile.write(tmp_path / "b.wav", noise(6), RATE)
    with pytest.raises(MMFairseqError, match="no such file"):
        Recording(model.reader, path, tmp_path / "none.wav")
    for files, used, code in (
        ((path, tmp_path / "bad.wav"), "video", "audio unreadable"),
        ((tmp_path / "b.wav", tmp_path / "b.wav"), "audio", "video no_video_track"),
    ):
        found = list(predict_segments(model, *files, window=3, hop=3))
        assert [each.answer.modalities for each in found] == [[used], [used]]
        assert [[f"{x.modality} {x.code}" for x in each.answer.notes] for each in found] == [[code], [code]]


def test_words_of_subtitles(tmp_path, small_models):
    model = small_models.model("wave_text")
    soundfile.write(tmp_path / "a.wav", noise(12), RATE)
    cues = [Cue(1, 3, "how nice"), Cue(5.5, 6, "go away"), Cue(6, 7, "now")]
    found = list(predict_segments(model, audio=tmp_path / "a.wav", window=4, hop=4, subtitles=cues))
    assert [each.answer.modalities for each in found] == [["audio", "text"], ["audio", "text"], ["audio"]]
    for each, words in zip(found, ["how nice", "go away now", None], strict=True):
        alone = model.predict(audio=tmp_path / "a.wav", text=words, start=each.start, end=each.end)
        np.testing.assert_allclose(scores(each.answer), scores(alone), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"video": b"a film"}, "video: bytes; expected a path"),
        ({"audio": noise(1)}, "audio: numpy.ndarray of int16; expected a path"),
        ({"video": "a\0b"}, "has a NUL in it"),
        ({"audio": ""}, "the name of a file is empty"),
        ({"start": "1"}, "start '1', end None: expected 0 <= start < end"),
        ({"start": 2, "end": 1}, "start 2, end 1"),
        ({"end": float("nan")}, "end nan"),
        ({"hop": "1"}, "hop '1': a number above 0 is needed"),
        ({"hop": 0}, "hop 0: a number above 0 is needed"),
    ],
)
def test_what_is_no_recording(tmp_path, model, given, told):
    with pytest.raises(MMFairseqError, match=re.escape(told)):
        next(predict_segments(model, **({"video": tmp_path / "a.mov"} | given)))


def test_modalities_withheld(tmp_path, model):
    path = write(tmp_path / "a.mov", 6)
    found = list(predict_segments(model, path, window=3, hop=3, without=["video"]))
    assert [each.answer.modalities for each in found] == [["audio"], ["audio"]]


def test_nothing_to_read(tmp_path, model):
    (tmp_path / "a.txt").write_text("hello " * 100)
    with pytest.raises(NoModalityError, match="not an audio or video file") as error:
        Recording(model.reader, tmp_path / "a.txt")
    assert error.value.codes == {"audio": "unreadable", "video": "unreadable"}
    with pytest.raises(MMFairseqError, match="no such file"):
        Recording(model.reader, tmp_path / "none.mp4")
    soundfile.write(tmp_path / "a.wav", noise(1), RATE)
    with pytest.raises(NoModalityError, match="neither sound nor pictures") as error:
        Recording(model.reader, tmp_path / "a.wav", without=["audio"])
    assert error.value.codes == {}


def test_memory_does_not_grow(tmp_path, model, monkeypatch):
    monkeypatch.setattr(recording, "BLOCK", 20.0)
    peaks = []
    for minutes in (1, 3):
        path = write(tmp_path / f"{minutes}.mov", 60 * minutes)
        tracemalloc.start()
        try:
            with Recording(model.reader, path, window=5, hop=1) as found:
                assert sum(1 for _ in found.cut()) == 60 * minutes - 4
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    minute = 60 * 2 * RATE  # bytes of its sound alone
    assert peaks[1] < peaks[0] + minute / 20
    assert peaks[1] < 2 * minute


_PEAK = """
import sys, threading, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from mm_fairseq.inference import EmotionModel, recording
from mm_fairseq.inference.windows import predict_segments

peak = 0

def held(pid):
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except OSError:
        return 0

def watch():
    global peak
    while True:
        tasks = Path("/proc/self/task").iterdir()
        children = [pid for task in tasks for pid in (task / "children").read_text().split()]
        peak = max(peak, sum(map(held, ["self", *children])))
        time.sleep(0.2)

threading.Thread(target=watch, daemon=True).start()
recording.BLOCK = float(sys.argv[2])
with EmotionModel.from_pretrained(sys.argv[1]) as model:
    for path in sys.argv[4:]:
        begun = time.monotonic()
        count = sum(1 for _ in predict_segments(model, path, window=5, hop=float(sys.argv[3])))
        print(count, peak / 1024, time.monotonic() - begun)
"""


def peaks(model, paths, block=60.0, hop=1.0):
    """Of each recording: windows, MiB at the largest of all so far, of this and the decoding process, and seconds."""
    words = [str(model.source), str(block), str(hop), *map(str, paths)]
    done = subprocess.run([sys.executable, "-c", _PEAK, *words], capture_output=True, text=True, check=True)
    return [tuple(map(float, line.split())) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_an_hour_stays_small(tmp_path, model, capsys):
    ((count, peak, seconds),) = peaks(model, [write(tmp_path / "hour.mov", 3600)])
    with capsys.disabled():
        sys.stdout.write(f"\n60 minutes: {count:.0f} windows in {seconds:.0f} s, {peak:.0f} MiB at most\n")
    assert count == 3596
    assert peak < 1536

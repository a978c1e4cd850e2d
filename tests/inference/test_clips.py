"""What a person gives of an utterance, read: files of any kind, arrays, spans; and what is told of what is wrong."""

from dataclasses import replace

import av
import numpy as np
import pytest
import soundfile
import soxr
import torch

from mm_fairseq.datasets import Limits
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import Clip, EmotionModel, NoModalityError
from mm_fairseq.toy.clips import write_clip

RATE = 16000
RNG = np.random.default_rng(5)
NOISE = RNG.normal(0, 0.1, RATE).astype(np.float32)


@pytest.fixture
def clip(small_models):
    return small_models.clips()[0]


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def codes(found):
    return [note[:2] for note in found.notes]


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_samples_at_other_rates(heard, rate):
    samples = soxr.resample(NOISE, RATE, rate)
    found = heard.read(Clip(audio=samples, sampling_rate=rate))
    expected = np.clip(np.rint(soxr.resample(samples, rate, RATE) * 32768), -32768, 32767) / 32768
    assert np.array_equal(found.items["audio"], expected.astype(np.float32))
    assert found.seconds == pytest.approx(1, abs=1e-3)


def test_samples_of_any_type(heard):
    pcm = np.clip(np.rint(NOISE * 32768), -32768, 32767).astype(np.int16)
    expected = heard.read(Clip(audio=pcm, sampling_rate=RATE)).items["audio"]
    for samples in (pcm.astype(np.float32) / 32768, pcm / 32768, (pcm / 32768).astype(np.float16).astype(np.float32)):
        found = heard.read(Clip(audio=samples, sampling_rate=RATE)).items["audio"]
        assert np.abs(found - expected).max() <= (0 if samples.dtype == np.float64 else 1e-3)


@pytest.mark.parametrize(("beyond", "told"), [(0, []), (160, []), (161, ["clipped"]), (RATE, ["clipped"])])
def test_samples_that_are_too_large(heard, beyond, told):
    samples = NOISE.clip(-0.9, 0.9)
    samples[:beyond] = 900.0
    found = heard.read(Clip(audio=samples, sampling_rate=RATE))
    assert [note.code for note in found.notes] == told
    assert found.items["audio"].max() <= np.float32(32767 / 32768)  # what is beyond is cut off
    if told:
        assert f"{beyond / RATE:.0%} of the samples lie beyond [-1, 1]" in found.notes[0].message
        assert "answered all the same" in found.notes[0].message


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"audio": np.zeros((2, 800), np.int16)}, r"audio: an array of int16 and shape \(2, 800\); expected \(T\)"),
        ({"audio": np.zeros(800, np.int32)}, "audio: an array of int32"),
        ({"audio": np.zeros(800, complex)}, "audio: an array of complex128"),
        ({"audio": NOISE}, "audio: an array says nothing of its rate; give sampling_rate, too"),
        ({"audio": NOISE, "sampling_rate": -1}, "sampling_rate -1: a number above 0"),
        ({"audio": NOISE, "start": -1.0}, "start -1.0, end None: expected 0 <= start < end"),
        ({"audio": NOISE, "start": 0.5, "end": 0.5}, "start 0.5, end 0.5: expected 0 <= start < end"),
        ({"audio": NOISE, "start": float("nan")}, "start nan"),
        ({"video": np.zeros((2, 8, 8), np.uint8), "fps": 5}, r"video: an array of uint8 and shape \(2, 8, 8\)"),
        ({"video": np.zeros((2, 8, 8, 4), np.uint8), "fps": 5}, r"expected \(T, H, W, 3\), uint8"),
        ({"video": np.zeros((2, 8, 8, 3)), "fps": 5}, "an array of float64"),
        ({"video": np.zeros((2, 8, 8, 3), np.uint8)}, "an array says nothing of its time; give fps, too"),
        ({"video": np.zeros((2, 8, 8, 3), np.uint8), "fps": 0}, "fps 0: a number above 0"),
        ({"video": np.zeros((2, 8, 8, 3), np.uint8), "fps": float("nan")}, "fps nan"),
        ({"video": ""}, "video: the name of a file is empty"),
        ({"video": "nowhere.mp4"}, r"nowhere\.mp4: no such file"),
        ({"audio": "."}, "not a regular file"),
        ({"audio": torch.zeros(800)}, r"audio: torch\.Tensor; expected a path, bytes, or an array of NumPy"),
        ({"audio": bytearray(b"RIFF")}, "audio: bytearray; expected"),
        ({"video": [1, 2]}, "video: list; expected"),
        ({"audio": NOISE, "text": 5}, "text: int; expected a str"),
        ({"audio": NOISE, "start": "x"}, "start 'x', end None: expected 0 <= start < end"),
        ({"audio": NOISE, "end": float("inf")}, "start None, end inf: expected 0 <= start < end"),
        ({"audio": NOISE, "sampling_rate": float("inf")}, "sampling_rate inf: a number above 0, at most 768,000"),
        ({"audio": NOISE, "sampling_rate": 10**9}, "sampling_rate 1000000000: a number"),
        ({"audio": NOISE, "sampling_rate": "16000"}, "sampling_rate '16000': a number"),
        ({"audio": "a\0b.wav"}, r"audio: the name of a file 'a\\x00b\.wav' has a NUL in it"),
        ({"audio": "a\ud800b.wav"}, "cannot be encoded"),
        (
            {"audio": "a.wav", "sampling_rate": 8000},
            "sampling_rate 8000 is of audio in an array; a file says it itself",
        ),
        ({"video": b"", "fps": 25}, "fps 25 is of video in an array"),
        ({"audio": "a.wav#t=1,2,3"}, "media fragment 't=1,2,3' is neither"),
        ({"features": [1.0]}, r"features: list; expected arrays by modality, or the path of an \.npz"),
        ({"features": {"sound": np.zeros((3, 4))}}, "features of 'sound': known are audio, text, video"),
        ({"features": {"audio": [1.0]}}, "features of 'audio': list; expected an array"),
        ({"features": {"audio": np.array(["a"])}}, "features of 'audio': numpy.ndarray of <U1; expected"),
    ],
)
def test_what_is_no_clip(seen, given, match):
    with pytest.raises(MMFairseqError, match=match) as error:
        seen.read(Clip("c7", **given))
    assert str(error.value).startswith("c7: ")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"audio": np.zeros(0, np.float32)}, "too_short"),
        ({"audio": np.zeros(399, np.int16)}, "too_short"),
        ({"audio": np.array([0.1, np.nan] * 900)}, "non_finite"),
        ({"audio": NOISE, "start": 1.5}, "span_outside"),
        ({"audio": NOISE, "end": 2.0}, "span_outside"),
        ({"audio": np.zeros(601 * 100), "sampling_rate": 100}, "too_long"),
        ({"video": np.zeros((0, 8, 8, 3), np.uint8), "fps": 5}, "empty"),
        ({"video": np.zeros((5, 8, 8, 3), np.uint8), "fps": 5, "start": 2.0}, "span_outside"),
    ],
)
def test_arrays_of_which_nothing_is_left(seen, given, code):
    given = ({"sampling_rate": RATE} if "audio" in given else {}) | given
    with pytest.raises(NoModalityError, match="no modality is left") as error:
        seen.read(Clip("c7", **given))
    assert list(error.value.codes.values()) == [code]


def test_spans_of_arrays_are_those_of_files(seen, clip):
    frames = frames_of(clip.video)
    sound = seen.read(Clip(audio=clip.video)).items["audio"]
    for span in ({}, {"start": 0.25}, {"end": 0.9}, {"start": 0.3, "end": 0.8}):
        of_file = seen.read(Clip(video=clip.video, **span))
        of_arrays = seen.read(Clip(video=frames, fps=12, audio=sound, sampling_rate=RATE, **span))
        assert np.array_equal(of_file.items["video"], of_arrays.items["video"]), span
        assert len(of_file.items["audio"]) == pytest.approx(len(of_arrays.items["audio"]), abs=2), span


@pytest.mark.parametrize("count", [3, 6, 9, 12, 13, 15, 18, 21])
def test_pictures_at_the_edge(seen, tmp_path, count):
    """As many of an array as of a file, where the last one would begin with its end."""
    picture = RNG.integers(0, 255, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    pictures = [np.roll(picture, 5 * number, 1) for number in range(count)]
    write_clip(tmp_path / "clip.mp4", pictures, None, 15, RATE)
    found = seen.read(Clip(video=frames_of(tmp_path / "clip.mp4"), fps=15))
    expected = seen.read(Clip(video=tmp_path / "clip.mp4"))
    assert len(found.items["video"]) == len(expected.items["video"])
    assert np.array_equal(found.items["video"], expected.items["video"])


@pytest.mark.parametrize("rate", [30, 50])
def test_pictures_that_begin_when_they_are_wanted(small_models, seen, tmp_path, monkeypatch, rate):
    """Of an array the same are chosen as of a file, of which many begin just at the time that is asked for."""
    monkeypatch.setattr(seen.reader, "settings", replace(seen.reader.settings, fps=5.0, faces="none", frame_size=16))
    monkeypatch.setattr(seen.reader._items, "settings", seen.reader.settings)
    picture = RNG.integers(0, 255, (6, 8, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    pictures = [np.roll(picture, 7 * number, 1) for number in range(600)]
    write_clip(tmp_path / "clip.mp4", pictures, None, rate, RATE)
    frames = frames_of(tmp_path / "clip.mp4")
    for span in ({}, {"start": 1.0, "end": 9.1}, {"start": 2.5, "end": 2.6}):
        found = seen.reader.read(Clip(video=frames, fps=rate, **span)).items["video"]
        expected = seen.reader.read(Clip(video=tmp_path / "clip.mp4", **span)).items["video"]
        assert np.array_equal(found, expected), span


def test_a_part_of_a_file_or_a_file_that_is_called_so(heard, tmp_path):
    soundfile.write(tmp_path / "a.wav", NOISE, RATE)
    part = f"{tmp_path / 'a.wav'}#t=0.25,0.75"
    assert heard.read(Clip(audio=part, start=0.5)).seconds == 0.5
    soundfile.write(part, NOISE[:4000], RATE, format="WAV")
    assert heard.read(Clip(audio=part)).seconds == 0.25
    assert heard.read(Clip(audio=part, start=0.125)).seconds == 0.125
    assert heard.read(Clip(audio=f"{part}#t=0.05,0.15")).seconds == pytest.approx(0.1)


def test_clips_that_are_none_among_others(heard, tmp_path):
    soundfile.write(tmp_path / "a.wav", NOISE, RATE)
    bad = {"empty": "", "long": "/" + "x" * 200_000, "part": f"{tmp_path / 'a.wav'}#t=1,2,3", "tensor": torch.zeros(9)}
    good = [Clip(f"g{number}", audio=tmp_path / "a.wav") for number in range(20)]
    clips = [good[0], *(Clip(name, audio=source) for name, source in bad.items()), *good[1:]]
    failed = {}
    found = list(heard.reader.read_all(clips, failed=lambda clip, error: failed.update({clip.id: str(error)})))
    assert [inputs.id for inputs in found] == [clip.id for clip in good]
    assert list(failed) == list(bad)
    assert all(told.startswith(f"{name}: ") for name, told in failed.items())
    assert "a path of 200001 characters" in failed["long"]
    found = heard.reader.read_all(clips)
    assert next(found).id == "g0"
    with pytest.raises(MMFairseqError, match="empty: audio: the name of a file is empty"):
        next(found)


def test_a_clip_without_a_face(seen):
    pictures = RNG.integers(0, 255, (12, 48, 64, 3), np.uint8)
    found = seen.read(Clip(video=pictures, fps=12))
    assert codes(found) == [("video", "no_face")]
    assert "answered from the middle of the picture" in found.notes[0].message
    assert seen.answer([found])[0].notes == found.notes


def test_silence_and_sound_that_is_too_short(seen, clip):
    found = seen.read(Clip(audio=np.zeros(RATE, np.int16), sampling_rate=RATE))
    assert codes(found) == [("audio", "silent")]
    found = seen.read(Clip(video=clip.video, audio=np.zeros(30, np.int16), sampling_rate=RATE))
    assert codes(found) == [("audio", "too_short")]
    assert "answered without it" in found.notes[0].message
    assert list(found.items) == ["video"]


def test_a_film_without_sound_and_sound_without_a_film(small_models, seen, clip, tmp_path):
    write_clip(tmp_path / "mute.mp4", list(frames_of(clip.video)), None, 12, RATE)
    found = seen.read(Clip(video=tmp_path / "mute.mp4"))
    assert [note.modality for note in found.notes] == ["audio"]
    assert "answered without it" in found.notes[0].message
    assert list(found.items) == ["video"]
    soundfile.write(tmp_path / "sound.wav", NOISE, RATE)
    found = seen.read(Clip(video=tmp_path / "sound.wav"))
    assert [note.modality for note in found.notes] == ["video"]
    assert list(found.items) == ["audio"]
    assert seen.read(Clip(audio=tmp_path / "sound.wav")).notes == ()


def test_text_that_was_never_seen(heard):
    for text in ("Это совсем другой язык", "全く別の言語です", "😀😀"):
        found = heard.read(Clip(text=text))
        assert codes(found) == [("text", "unknown_symbols")]
        assert "another language or script?" in found.notes[0].message
        assert heard.answer([found])[0].modalities == ["text"]
    for text in ("Okay, I miss it so.", "Zzyzx!", "naïve café"):
        assert codes(heard.read(Clip(text=text))) == []


def test_what_is_longer_than_the_model_takes(small_models):
    model = small_models.model("ssl_fusion")
    found = model.read(Clip(text="okay now " * 400))
    assert codes(found) == [("text", "cut")]
    assert len(found.items["text"]) == model.limits["text"].longest
    assert "the end is cut off" in found.notes[0].message
    model.answer([found])


def test_lengths_are_told_in_seconds_as_a_person_writes_them(small_models):
    with EmotionModel.from_pretrained(small_models.checkpoint("wave_text"), max_seconds=2000) as model:
        model.reader.limits["audio"] = Limits(2000, 1200 * RATE)
        found = model.read(Clip(audio=np.zeros(1300 * RATE + 16, np.int16), sampling_rate=RATE))
        assert codes(found) == [("audio", "cut"), ("audio", "silent")]
        assert found.notes[0].message == "1300.001 s of audio; the model takes 1200 s of audio: the end is cut off"
        with pytest.raises(NoModalityError, match=r"audio: 0\.062 s of audio; the model needs 0\.125 s of audio$"):
            model.read(Clip(audio=np.zeros(1000, np.int16), sampling_rate=RATE))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("words.mp4", b"Dear diary, today was a good day.\n" * 90),
        ("page.wav", b"<!doctype html><title>404</title>"),
        ("cut.mp4", None),
        ("pointer.mp4", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        ("list.mp4", b"ffconcat version 1.0\nfile '/etc/passwd'\n"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n"),
    ],
)
def test_files_that_are_no_recordings(seen, clip, tmp_path, name, content):
    if content is None:
        with open(clip.video, "rb") as file:
            content = file.read()[:3000]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MMFairseqError, match=name.replace(".", r"\.")):
        seen.read(Clip("c7", video=tmp_path / name))
    with pytest.raises(MMFairseqError, match="c7: ") as error:
        seen.read(Clip("c7", video=content))
    assert "/etc/passwd" not in str(error.value).replace("file '/etc/passwd'", "")


def test_two_faces_are_told_apart_by_a_region(small_models, seen, clip, tmp_path):
    """One of them is followed; which one, a region behind the name of the file can say."""
    mute = ("audio",)
    frames = frames_of(clip.video)
    other = frames_of(small_models.clips()[30].video)
    count = min(len(frames), len(other))
    both = np.concatenate([frames[:count], other[:count]], axis=2)
    write_clip(tmp_path / "two.mp4", list(both), None, 12, RATE)
    found = seen.read(Clip(video=tmp_path / "two.mp4"), mute)
    assert codes(found) == [("video", "several_faces")]
    assert "2 faces at once" in found.notes[0].message
    pictures = seen.read(Clip(video=both, fps=12))
    assert codes(pictures) == codes(found)
    height, width = frames.shape[1:3]
    for number, alone in enumerate((frames, other)):
        write_clip(tmp_path / f"{number}.mp4", list(alone[:count]), None, 12, RATE)
        expected = seen.read(Clip(video=tmp_path / f"{number}.mp4")).items["video"].astype(int)
        region = f"{tmp_path / 'two.mp4'}#xywh={number * width},0,{width},{height}"
        chosen = seen.read(Clip(video=region), mute)
        assert not chosen.notes
        assert np.abs(chosen.items["video"].astype(int) - expected).mean() < 8

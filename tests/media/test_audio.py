"""Any sound file to 16 kHz mono int16; nothing short, forged or damaged passes."""

import os
import struct

import numpy as np
import pytest
import soundfile

from mm_fairseq.media import MediaError
from mm_fairseq.media.audio import read_audio

FORMATS = [
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "PCM_U8"),
    ("wav", "FLOAT"),
    ("wav", "ULAW"),
    ("flac", "PCM_16"),
    ("ogg", "VORBIS"),
    ("mp3", "MPEG_LAYER_III"),
    ("aiff", "PCM_16"),
    ("au", "PCM_16"),
]


def code(path, *args, **options):
    with pytest.raises(MediaError) as caught:
        read_audio(path, *args, **options)
    assert str(path) in str(caught.value)
    return caught.value.code


@pytest.fixture
def noise(tmp_path):
    """Two seconds of int16 noise in a WAV, and its path."""
    samples = np.random.default_rng(0).integers(-20000, 20000, 32000).astype(np.int16)
    soundfile.write(tmp_path / "noise.wav", samples, 16000)
    return samples, tmp_path / "noise.wav"


def test_16_khz_int16_is_untouched(noise):
    samples, path = noise
    assert np.array_equal(read_audio(path), samples)


@pytest.mark.parametrize(("ending", "subtype"), FORMATS)
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_tone_of_every_format(tmp_path, clips, ending, subtype, rate, channels):
    path = tmp_path / f"tone.{ending}"
    soundfile.write(path, clips.tone(1.0, rate, channels=channels), rate, subtype=subtype)
    samples = read_audio(path)
    assert samples.dtype == np.int16
    assert samples.ndim == 1
    assert abs(len(samples) - 16000) <= (1600 if ending == "mp3" else 1)
    assert abs(clips.loudest_hertz(samples) - 440) < 2
    assert abs(np.abs(samples[4000:12000]).max() - 16384 / channels) < 1700


def test_span_of_a_file(noise):
    samples, path = noise
    assert np.array_equal(read_audio(path, 0.5, 1.25), samples[8000:20000])
    assert np.array_equal(read_audio(path, 1.5), samples[24000:])
    assert np.array_equal(read_audio(path, None, 0.5), samples[:8000])


def test_span_up_to_a_tenth_behind_the_end_is_shortened(noise):
    samples, path = noise
    assert np.array_equal(read_audio(path, 1.0, 2.09), samples[16000:])
    assert code(path, 1.0, 2.2) == "span_outside"
    assert code(path, 2.5) == "span_outside"


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff", "au"])
def test_no_truncation_passes(tmp_path, ending):
    whole = tmp_path / f"whole.{ending}"
    soundfile.write(whole, np.random.default_rng(1).normal(0, 0.1, 32000), 16000)
    raw = whole.read_bytes()
    for percent in range(2, 97, 5):
        path = tmp_path / f"cut.{ending}"
        path.write_bytes(raw[: len(raw) * percent // 100])
        assert code(path) in {"truncated", "unreadable", "corrupt", "empty"}


def test_good_part_of_a_truncated_wav_is_usable(noise, tmp_path):
    samples, path = noise
    cut = tmp_path / "cut.wav"
    cut.write_bytes(path.read_bytes()[:-16000])
    assert code(cut) == "truncated"
    assert np.array_equal(read_audio(cut, 0.25, 1.0), samples[4000:16000])
    assert code(cut, 1.0, 2.0) == "truncated"


def test_wav_of_unknown_length_is_whole(noise, tmp_path):
    samples, path = noise
    raw = path.read_bytes()
    piped = tmp_path / "piped.wav"
    at = raw.index(b"data") + 4
    piped.write_bytes(raw[:4] + b"\xff" * 4 + raw[8:at] + b"\xff" * 4 + raw[at + 4 :])
    assert np.array_equal(read_audio(piped), samples)


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0xFFFFF000])
def test_sizes_of_pipes_are_of_unknown_length(noise, tmp_path, size):
    assert np.array_equal(read_audio(wav_with_size(tmp_path, noise[1], size)), noise[0])


@pytest.mark.parametrize("size", [0x7FFFEFFE, 0x7FFFF002, 0x90000000, 0xFFFFEFFE])
def test_a_cut_wav_of_more_than_2_gib_is_found(noise, tmp_path, size):
    path = wav_with_size(tmp_path, noise[1], size)
    assert code(path) == "truncated"
    os.truncate(path, 44 + size)  # sparse: whole now
    assert len(read_audio(path, 3600, 3601)) == 16000
    os.truncate(path, 44 + size // 2)
    assert code(path, size / 64000 - 0.5, size / 64000 + 0.5) == "truncated"


def wav_with_size(folder, path, size):
    """A WAV whose data are of `size` bytes as its header has it."""
    raw, forged = path.read_bytes(), folder / "forged.wav"
    forged.write_bytes(raw[:4] + struct.pack("<I", min(size + 36, 0xFFFFFFFF)) + raw[8:40])
    with open(forged, "ab") as file:
        file.write(struct.pack("<I", size) + raw[44:])
    return forged


@pytest.mark.parametrize("form", ["RF64", "W64"])
def test_sizes_of_64_bits(noise, tmp_path, form):
    samples, path = noise[0], tmp_path / "a.wav"
    soundfile.write(path, samples, 16000, format=form, subtype="PCM_16")
    raw = path.read_bytes()
    assert np.array_equal(read_audio(path), samples)
    for held in (len(raw) - 4000, len(raw) // 2, 1000):
        path.write_bytes(raw[:held])
        assert code(path) == "truncated"
    at = raw.index(b"ds64") + 16 if form == "RF64" else raw.index(b"data") + 16
    for size in (5 << 30, 1 << 40):  # more than 32 bits hold
        path.write_bytes(raw[:at] + struct.pack("<Q", size) + raw[at + 8 :])
        assert code(path) in ("truncated", "unreadable")


def flac_with_length(path, samples, total):
    """A FLAC file whose STREAMINFO claims `total` samples (36 bits behind the 20 + 3 + 5 of rate, channels, bits)."""
    soundfile.write(path, samples, 16000, subtype="PCM_16")
    raw = bytearray(path.read_bytes())
    head = int.from_bytes(raw[18:26], "big") >> 36 << 36
    raw[18:26] = (head | total).to_bytes(8, "big")
    path.write_bytes(raw)
    return path


def test_flac_of_unknown_length_is_whole(tmp_path, noise):
    assert np.array_equal(read_audio(flac_with_length(tmp_path / "a.flac", noise[0], 0)), noise[0])


def test_forged_length_costs_no_memory(tmp_path):
    path = flac_with_length(tmp_path / "forged.flac", np.zeros(100, np.int16), (1 << 36) - 1)
    assert code(path) in {"truncated", "unreadable"}


def test_too_long(noise):
    assert code(noise[1], max_seconds=1.5) == "too_long"
    assert code(noise[1], 0, 1.9, max_seconds=1.5) == "too_long"
    assert len(read_audio(noise[1], 0, 1.4, max_seconds=1.5)) == 22400


def test_non_finite(tmp_path):
    wave = np.zeros(16000, np.float32)
    wave[500] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, 16000, subtype="FLOAT")
    assert code(tmp_path / "nan.wav") == "non_finite"


def test_loud_floats_are_clipped(tmp_path):
    soundfile.write(tmp_path / "loud.wav", np.array([2.0, -2.0] * 500), 16000, subtype="FLOAT")
    assert read_audio(tmp_path / "loud.wav")[:2].tolist() == [32767, -32768]


def test_digital_silence_is_fine(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(1600), 16000)
    assert not read_audio(tmp_path / "silence.wav").any()


def test_files_that_are_none(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("this is no sound at all, whatever its name says\n" * 20)
    (tmp_path / "lfs.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    soundfile.write(tmp_path / "header.wav", np.zeros(0), 16000)
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    assert {
        path: code(tmp_path / f"{path}.wav") for path in ("none", "empty", "text", "lfs", "header", "pipe", "folder")
    } == {
        "none": "missing_file",
        "empty": "empty",
        "text": "unreadable",
        "lfs": "git_lfs_pointer",
        "header": "empty",
        "pipe": "not_regular",
        "folder": "not_regular",
    }


def test_unbelievable_rate(noise, tmp_path):
    raw = bytearray(noise[1].read_bytes())
    raw[24:28] = struct.pack("<I", 3)
    (tmp_path / "slow.wav").write_bytes(raw)
    assert code(tmp_path / "slow.wav") == "unreadable"


@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv", "mpg"])
def test_sound_of_a_video(tmp_path, clips, ending):
    options = {"codec": "mpeg1video", "fps": 25, "frames": 50} if ending == "mpg" else {}
    path = clips.write_video(tmp_path / f"a.{ending}", rate=32000 if ending == "mpg" else 16000, **options)
    samples = read_audio(path)
    assert abs(len(samples) - 32000) < 0.15 * 16000
    assert abs(clips.loudest_hertz(samples) - 440) < 2
    part = read_audio(path, 0.5, 1.0)
    assert len(part) == 8000
    assert abs(clips.loudest_hertz(part) - 440) < 3


def test_video_without_sound(tmp_path, clips):
    assert code(clips.write_video(tmp_path / "a.mp4", sound=False)) == "no_audio_track"


@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv"])
def test_no_truncated_video_gives_whole_sound(tmp_path, clips, ending):
    raw = clips.write_video(tmp_path / f"a.{ending}", frames=40).read_bytes()
    for percent in range(5, 90, 7):
        path = tmp_path / f"cut.{ending}"
        path.write_bytes(raw[: len(raw) * percent // 100])
        assert code(path) in {"truncated", "unreadable", "corrupt", "empty", "no_audio_track"}

"""Changes to a waveform against what they promise: ratios, levels, lengths, pitch, decay."""

import numpy as np
import pytest
import soundfile

from mm_fairseq.datasets.augment import audio
from mm_fairseq.errors import MMFairseqError

RATE = 16000


def tone(hertz, seconds=1.0, level=0.3):
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)


def power(x):
    return float(np.square(x, dtype=np.float64).mean())


def peak_hertz(x):
    return np.abs(np.fft.rfft(x * np.hanning(len(x)))).argmax() * RATE / len(x)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1, 1.5])
def test_speed_changes_length_and_pitch(factor):
    out = audio.change_speed(tone(440), factor)
    assert out.dtype == np.float32
    assert len(out) == pytest.approx(RATE / factor, abs=1)
    assert peak_hertz(out) == pytest.approx(440 * factor, abs=2)
    assert power(out[800:-800]) == pytest.approx(power(tone(440)), rel=0.02)


@pytest.mark.parametrize("decibels", [-12.0, 0.0, 6.0])
def test_the_level_is_exact(decibels):
    x = tone(300)
    out = audio.change_level(x, decibels)
    assert 10 * np.log10(power(out) / power(x)) == pytest.approx(decibels, abs=1e-4)
    assert out.dtype == np.float32


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0, 20.0])
@pytest.mark.parametrize("noise", [audio.white, audio.pink])
def test_the_signal_to_noise_ratio_is_reached(snr, noise):
    x = tone(300)
    added = audio.add_noise(x, noise(len(x), rng()), snr) - x
    assert 10 * np.log10(power(x) / power(added)) == pytest.approx(snr, abs=0.1)


def test_silence_stays_silence():
    assert not audio.add_noise(np.zeros(100, np.float32), audio.white(100, rng()), 10).any()
    assert np.array_equal(audio.add_noise(tone(300), np.zeros(RATE, np.float32), 10), tone(300))
    assert not audio.reverberate(np.zeros(100, np.float32), 0.3, rng()).any()


@pytest.mark.parametrize(("noise", "slope"), [(audio.white, 0.0), (audio.pink, -1.0)])
def test_colour(noise, slope):
    """Power by frequency falls with 1 / f^0 and 1 / f^1: a line through octaves on double logarithmic paper."""
    spectrum = np.square(np.abs(np.fft.rfft(noise(2**17, rng()))))
    edges = [2**octave for octave in range(6, 17)]
    means = [np.log2(spectrum[low:high].mean()) for low, high in zip(edges, edges[1:])]
    assert np.polyfit(range(len(means)), means, 1)[0] == pytest.approx(slope, abs=0.05)


@pytest.mark.parametrize("rt60", [0.2, 0.6])
def test_a_room_decays_by_sixty_decibels_in_its_time(rt60):
    x = np.zeros(RATE, np.float32)
    x[0] = 1
    out = audio.reverberate(x, rt60, rng())
    assert len(out) == RATE
    assert out.dtype == np.float32
    assert power(out) == pytest.approx(power(x), rel=1e-4)  # the level stays
    assert np.square(out[1:]).sum() / out[0] ** 2 == pytest.approx(1, rel=1e-3)  # as much behind as at first
    decay = np.square(out[1 : int(rt60 * RATE)].astype(np.float64))
    blocks = 10 * np.log10(decay[: len(decay) // 400 * 400].reshape(-1, 400).mean(1))
    slope = np.polyfit(np.arange(len(blocks)) * 400 / RATE, blocks, 1)[0]
    assert slope * rt60 == pytest.approx(-60, abs=2)
    assert not out[int(rt60 * RATE) + 1 :].any() or np.abs(out[int(rt60 * RATE) + 1 :]).max() < 1e-6


def test_nothing_is_clipped():
    x = tone(300, level=0.8)
    loud = audio.within_full_scale(audio.change_level(x, 6))
    assert np.abs(loud).max() == pytest.approx(1)
    np.testing.assert_allclose(loud, x / np.abs(x).max(), atol=1e-6)
    assert np.array_equal(audio.within_full_scale(x), x)


def test_noise_out_of_a_folder(tmp_path):
    """Pieces are taken from where they stand in the files; short files repeat."""
    ramps = {"a/long.wav": np.arange(2 * RATE), "b/short.FLAC": 20000 + np.arange(100)}
    for name, samples in ramps.items():
        path = tmp_path / name
        path.parent.mkdir()
        soundfile.write(path, samples.astype(np.int16), RATE, format=path.suffix[1:].upper(), subtype="PCM_16")
    noise = audio.NoiseFolder(tmp_path)
    starts = set()
    for seed in range(12):
        piece = noise(RATE, rng(seed))
        assert piece.shape == (RATE,)
        assert np.array_equal(piece, noise(RATE, rng(seed)))
        if piece[0] >= 20000:
            assert np.array_equal(piece, np.resize(ramps["b/short.FLAC"], RATE))
        else:
            assert np.array_equal(piece, (piece[0] + np.arange(RATE)).astype(np.int16))
        starts.add(int(piece[0]))
    assert len(starts) > 4
    assert 20000 in starts


def test_a_folder_without_noise(tmp_path):
    with pytest.raises(MMFairseqError, match=r"no recordings \(\.wav, \.flac, \.ogg\)"):
        audio.NoiseFolder(tmp_path)
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(MMFairseqError, match=r"a\.wav: not readable as sound"):
        audio.NoiseFolder(tmp_path)
    soundfile.write(tmp_path / "a.wav", np.zeros(0, np.int16), RATE)
    with pytest.raises(MMFairseqError, match=r"a\.wav: a recording without samples"):
        audio.NoiseFolder(tmp_path)

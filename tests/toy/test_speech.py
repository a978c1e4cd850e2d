import numpy as np
import pytest

from mm_fairseq.toy import speech
from mm_fairseq.toy.cues import Cue


def _said(letter, cue, seed):
    rng = np.random.default_rng(seed)
    return speech.speak(speech.voice(letter, rng), cue, 1.5, rng)


def _pitch(sound):
    """Median over frames of the lag of the highest autocorrelation, in Hz."""
    frames = sound[: len(sound) // 1024 * 1024].reshape(-1, 1024)
    frames = frames[np.abs(frames).max(1) > 0.3 * np.abs(sound).max()]
    power = np.abs(np.fft.rfft(frames * np.hanning(1024), 4096)) ** 2
    lags = np.fft.irfft(power)[:, 40:260]
    return speech.SAMPLE_RATE / np.median(40 + lags.argmax(1))


def _brightness(sound):
    """Share of the energy above 1500 Hz."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    edge = 1500 * len(sound) // speech.SAMPLE_RATE
    return power[edge:].sum() / power.sum()


@pytest.mark.parametrize("seed", range(5))
def test_aroused_speech_is_higher_and_louder_whoever_speaks(seed):
    loud = [_said(letter, Cue(1, 0), seed)[0] for letter in "FM"]
    calm = [_said(letter, Cue(-1, 0), seed)[0] for letter in "FM"]
    assert min(map(_pitch, loud)) > 1.2 * max(map(_pitch, calm))
    assert min(map(np.std, loud)) > 1.5 * max(map(np.std, calm))


@pytest.mark.parametrize("pair", [-1, 1])
def test_the_detail_moves_the_spectrum(pair):
    mean = {
        detail: np.mean([_brightness(_said("F", Cue(pair, detail), s)[0]) for s in range(8)]) for detail in (-1, 0, 1)
    }
    assert mean[-1] < mean[0] < mean[1]


def test_length_range_and_envelope():
    sound, envelope = _said("M", Cue(1, 1), 0)
    assert sound.shape == envelope.shape == (24_000,)
    assert sound.dtype == np.float32
    assert 0.1 < np.abs(sound).max() <= 1
    assert envelope.min() >= 0
    assert 0.9 < envelope.max() <= 1

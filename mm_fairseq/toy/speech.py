"""Speech-like sound: a pulse train with a spectral slope, through formants, in syllables, with breath noise.

T samples. The pair moves pitch, loudness and speaking rate, the detail the slope of the spectrum (pressed or breathy).
"""

from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter

from .cues import Cue

SAMPLE_RATE = 16_000
# Centre frequencies in Hz of the first three formants of five vowels, after Peterson and Barney (1952).
_VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240))
_BANDWIDTHS = (90, 110, 170)
_TABLE = 1024


class Voice(NamedTuple):
    """A speaker's habitual pitch in Hz, factor on the formants (vocal tract length) and loudness (1 = usual)."""

    pitch: float
    formants: float
    loudness: float


def voice(letter: str, rng: np.random.Generator) -> Voice:
    """Draw the voice of a woman (F) or a man (M)."""
    pitch, formants = (170, 1.08) if letter == "F" else (145, 0.96)
    return Voice(pitch * rng.uniform(0.95, 1.05), formants * rng.uniform(0.97, 1.03), rng.uniform(0.85, 1.15))


def speak(who: Voice, cue: Cue, seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Synthesise one utterance.

    Returns:
        The samples, float32 in [-1, 1], and the syllable envelope in [0, 1] that the mouth follows. Shapes (T,), (T,).
    """
    length = round(seconds * SAMPLE_RATE)
    time = np.arange(length) / SAMPLE_RATE
    rate = (5.0 if cue.pair > 0 else 3.5) * rng.uniform(0.95, 1.05)
    beat = rate * time + rng.random()
    envelope = np.clip(0.15 + np.sin(np.pi * (beat % 1)) ** 2, 0, 1) * np.clip(np.minimum(time, time[::-1]) * 20, 0, 1)

    pitch = who.pitch * (1.75 if cue.pair > 0 else 0.8) * rng.uniform(0.97, 1.03)
    drift = 1 - 0.1 * time / seconds + 0.04 * np.sin(2 * np.pi * (0.7 * time + rng.random()))
    phase = np.cumsum(pitch * drift / SAMPLE_RATE)
    harmonics = np.arange(1, int(5000 / pitch))
    slope = 1.4 - 0.7 * cue.detail
    wave = (harmonics[:, None] ** -slope * np.cos(2 * np.pi * np.outer(harmonics, np.arange(_TABLE) / _TABLE))).sum(0)
    source = (wave / wave.std())[(phase * _TABLE).astype(np.int64) % _TABLE]
    source = source + (0.15 - 0.1 * cue.detail) * rng.standard_normal(length)

    spoken = rng.integers(len(_VOWELS), size=int(beat[-1]) + 2)[beat.astype(np.int64)]
    sound = np.zeros(length)
    for index in np.unique(spoken):
        sound += np.where(spoken == index, _resonate(source, _VOWELS[index], who.formants), 0)
    sound *= envelope / (np.abs(sound).max() + 1e-9)
    level = (0.8 if cue.pair > 0 else 0.25) * who.loudness
    sound = level * sound + 0.003 * rng.standard_normal(length)
    return np.clip(sound, -1, 1).astype(np.float32), envelope.astype(np.float32)


def _resonate(source: np.ndarray, formants: tuple[int, ...], factor: float) -> np.ndarray:
    sound = np.zeros_like(source)
    for strength, (centre, bandwidth) in zip((1.0, 0.6, 0.4), zip(formants, _BANDWIDTHS, strict=True), strict=True):
        radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
        angle = 2 * np.pi * centre * factor / SAMPLE_RATE
        sound += strength * (1 - radius) * lfilter([1.0], [1, -2 * radius * np.cos(angle), radius * radius], source)
    return sound

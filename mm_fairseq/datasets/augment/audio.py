"""Changes to a waveform.

T samples at 16 kHz, float32; `rng` is where randomness comes from.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from ...errors import MMFairseqError
from ...media.audio import read_audio

SAMPLE_RATE = 16000
SUFFIXES = (".wav", ".flac", ".ogg")

Noise = Callable[[int, np.random.Generator], np.ndarray]
"""From a number of samples to noise (T) of any level."""


def change_speed(x: np.ndarray, factor: float) -> np.ndarray:
    """Play `factor` times as fast: T / factor samples, and every frequency times `factor` (Ko et al. 2015)."""
    return x if factor == 1 else soxr.resample(x, SAMPLE_RATE * factor, SAMPLE_RATE)


def change_level(x: np.ndarray, decibels: float) -> np.ndarray:
    """Louder, or softer, by so many dB."""
    return x * np.float32(10 ** (decibels / 20))


def add_noise(x: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Add noise (T) at a ratio of the mean powers of `x` and noise, in dB; as it is where one of them is silence."""
    signal, disturbance = (float(np.square(each, dtype=np.float64).mean()) for each in (x, noise))
    if not signal or not disturbance:
        return x
    return x + noise * np.float32((signal / disturbance * 10 ** (-snr / 10)) ** 0.5)


def white(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with equal power in every hertz. Shape (T)."""
    return rng.standard_normal(samples, np.float32)


def pink(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with equal power in every octave. Shape (T)."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return np.fft.irfft(spectrum, samples).astype(np.float32)


class NoiseFolder:
    """Pieces of recorded noise: a file drawn evenly among those of a folder, from a place drawn evenly in it.

    A piece that is longer than the recording repeats it.

    Args:
        folder: with .wav, .flac or .ogg files, at any depth.

    Raises:
        MMFairseqError: there is no such file in it, or one is not readable.
    """

    def __init__(self, folder: Path) -> None:
        self.files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not self.files:
            raise MMFairseqError(f"{folder}: no recordings ({', '.join(SUFFIXES)}) in this folder")
        self.seconds = [_seconds(path) for path in self.files]

    def __call__(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        number = int(rng.integers(len(self.files)))
        length = samples / SAMPLE_RATE
        start = round(rng.random() * max(0.0, self.seconds[number] - length), 3)
        end = min(self.seconds[number], start + length + 0.01)
        piece = read_audio(self.files[number], start, end, SAMPLE_RATE, max_seconds=length + 1)
        return np.resize(piece, samples).astype(np.float32)


def _seconds(path: Path) -> float:
    try:
        found = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        raise MMFairseqError(f"{path}: not readable as sound: {error}") from error
    if not found.frames:
        raise MMFairseqError(f"{path}: a recording without samples")
    return found.frames / found.samplerate


def reverberate(x: np.ndarray, rt60: float, rng: np.random.Generator) -> np.ndarray:
    """As in a room: the sound and, with the same energy, noise that decays behind it, by 60 dB in `rt60` seconds.

    The statistical room of Polack 1988, without early reflections. Length and mean power stay.
    """
    from scipy.signal import fftconvolve

    time = np.arange(1, int(rt60 * SAMPLE_RATE) + 1) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    response = np.concatenate([[1.0], tail / np.sqrt(np.square(tail).sum())])
    wet = fftconvolve(x.astype(np.float64), response)[: len(x)]
    before, after = np.square(x, dtype=np.float64).mean(), np.square(wet).mean()
    return (wet * np.sqrt(before / after)).astype(np.float32) if after else x


def within_full_scale(x: np.ndarray) -> np.ndarray:
    """Softer where a sample lies beyond -1 or 1: nothing is clipped."""
    peak = np.abs(x).max(initial=0)
    return x / peak if peak > 1 else x

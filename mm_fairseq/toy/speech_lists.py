"""Short recordings and what they say, for the toy lists of other toolkits: eight speakers, four emotions."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from ..errors import MMFairseqError
from . import cues, speech
from .folder import check_new
from .sentences import sentence

SPEAKERS = 8
MINIMUM = SPEAKERS * len(cues.CLASSES)
SECONDS = (0.5, 0.9)


class Said(NamedTuple):
    """One utterance: speaker from 0, emotion, words, and int16 samples at 16 kHz, Shape (T,)."""

    speaker: int
    emotion: str
    words: str
    sound: np.ndarray


def begin(out: Path, utterances: int, seed: int) -> Iterator[Said]:
    """Check the arguments; returns the utterances, the speakers one after the other, the emotions by turns.

    Raises:
        MMFairseqError: too few utterances, or the folder is taken.
    """
    if utterances < MINIMUM:
        raise MMFairseqError(f"--utterances {utterances}: {SPEAKERS} speakers and four emotions need {MINIMUM} or more")
    check_new(out, seed)
    return _said(utterances, np.random.default_rng(seed))


def _said(utterances: int, rng: np.random.Generator) -> Iterator[Said]:
    for speaker in range(SPEAKERS):
        voice = speech.voice("FM"[speaker % 2], rng)
        for turn in range(utterances // SPEAKERS + (speaker < utterances % SPEAKERS)):
            emotion = cues.CLASSES[turn % len(cues.CLASSES)]
            shown = cues.draw(emotion, rng)
            sound, _ = speech.speak(voice, shown["audio"], float(rng.uniform(*SECONDS)), rng)
            words = sentence(shown["text"], rng)
            yield Said(speaker, emotion, words, np.round(sound * 32767).astype(np.int16))


def write_wav(path: Path, sound: np.ndarray) -> None:
    """Write int16 samples at 16 kHz, Shape (T,), with the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, speech.SAMPLE_RATE, subtype="PCM_16")


def write_lines(path: Path, lines: list[str]) -> None:
    """Write lines as UTF-8, with the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

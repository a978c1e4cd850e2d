"""Acted emotion: one person in front of a wall says a sentence, voice and face each showing a cue.

What CREMA-D and RAVDESS have in common. T samples; H, W pixels.
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from scipy.signal import resample_poly

from . import faces, speech
from .cues import Cue

HEIGHT = 360  # rows of a portrait that are filmed, the face in their middle
SILENCE = 0.15  # seconds
BREATH = 0.6  # of the loudness of a breathy voice

_TOP = faces.CENTRE[1] - faces.MARGIN - HEIGHT // 2
_MOUTHS = 3


class Actor(NamedTuple):
    """F or M, voice, look, and the head as drawn."""

    letter: str
    voice: speech.Voice
    look: faces.Look
    head: np.ndarray


def actor(letter: str, rng: np.random.Generator) -> Actor:
    """Draw a woman (F) or a man (M)."""
    look = faces.look(letter, rng)
    return Actor(letter, speech.voice(letter, rng), look, faces.head(look, rng))


def perform(
    who: Actor, voice: Cue, face: Cue, seconds: float, fps: int, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One clip: a moment of silence, the sentence, a moment of silence.

    Args:
        who: the actor.
        voice: what the sound shows.
        face: what brows and mouth show.
        seconds: length of the sentence; `SILENCE` comes before it and after it.
        fps: pictures a second.
        size: width and height of a picture, at least as wide as high.
        rng: of everything drawn.

    Returns:
        int16 samples at `speech.SAMPLE_RATE`, Shape (T,), and RGB uint8 pictures, Shape (H, W, 3).
    """
    spoken, envelope = speech.speak(who.voice, voice, seconds, rng)
    if voice.detail < 0:  # breath, which small models hear sooner than the slope of a spectrum
        spoken = spoken + BREATH * spoken.std() * envelope * np.diff(rng.standard_normal(len(spoken) + 1))
    quiet = np.zeros(round(SILENCE * speech.SAMPLE_RATE), np.float32)
    sound = np.concatenate([quiet, spoken, quiet]) + 0.002 * rng.standard_normal(len(spoken) + 2 * len(quiet))
    envelope = np.concatenate([quiet, envelope, quiet])
    return np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16), list(_film(who, face, envelope, fps, size, rng))


def at_rate(sound: np.ndarray, rate: int) -> np.ndarray:
    """int16 samples at `speech.SAMPLE_RATE` to `rate` Hz. Shape (T,) to (T * rate / SAMPLE_RATE,)."""
    step = np.gcd(rate, speech.SAMPLE_RATE)
    out = resample_poly(sound / 32768, rate // step, speech.SAMPLE_RATE // step)
    return np.round(np.clip(out, -1, 1) * 32767).astype(np.int16)


def _film(
    who: Actor, face: Cue, envelope: np.ndarray, fps: int, size: tuple[int, int], rng: np.random.Generator
) -> Iterator[np.ndarray]:
    lift, corners = face.pair * rng.uniform(0.85, 1.15), face.detail * rng.uniform(0.85, 1.15)
    blinks = rng.random(-(-len(envelope) * fps // speech.SAMPLE_RATE)) < 0.03
    pace, shift = rng.uniform(0.1, 0.4, 2), rng.uniform(0, 2 * np.pi, 2)
    drawn: dict[tuple[int, bool], np.ndarray] = {}
    for index, blink in enumerate(map(bool, blinks)):
        mouth = round(_MOUTHS * float(envelope[min(index * speech.SAMPLE_RATE // fps, len(envelope) - 1)]))
        if (mouth, blink) not in drawn:
            drawn[mouth, blink] = faces.portrait(who.head, who.look, lift, corners, mouth / _MOUTHS, blink)
        wobble = np.round((faces.MARGIN - 1) * np.sin(2 * np.pi * index / fps * pace + shift)).astype(int)
        top, left = faces.MARGIN + wobble + (_TOP, 0)
        yield _frame(drawn[mouth, blink][top : top + HEIGHT, left : left + faces.WIDTH], size)


def _frame(portrait: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The wall goes on to both sides."""
    width, height = size
    wide = round(HEIGHT * width / height) - faces.WIDTH
    picture = np.pad(portrait, ((0, 0), (wide // 2, wide - wide // 2), (0, 0)), mode="edge")
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)

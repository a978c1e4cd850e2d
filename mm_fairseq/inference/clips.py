"""What a person has of an utterance, and what a model is given of it.

T samples, tokens or frames; H height, W width; D width of features.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ..errors import MMFairseqError
from ..manifest import Medium
from ..media import MediaError

ODD = "backslashreplace"  # how names of files that are no UTF-8 are written: as JSON escapes them
Source = str | os.PathLike | bytes | np.ndarray


@dataclass(frozen=True, eq=False)
class Clip:
    """One utterance to be answered for.

    Behind the name of a file its part may stand, as in a manifest: `clip.mp4#t=1.5,3`, seconds, which win over `start`
    and `end`; `clip.mp4#xywh=0,112,360,256`, a region in pixels. A file that is called so is read as a whole.

    Args:
        id: what it is called in answers and messages.
        video: file, its bytes, or pictures (T, H, W, 3), uint8 RGB, at `fps`; its sound is heard where `audio` is None.
        audio: file, its bytes, or samples (T) at `sampling_rate`, int16 or floats in [-1, 1].
        text: what is said.
        start: beginning of the span in seconds; None is the beginning of the file.
        end: end of the span in seconds; None is the end of the file.
        fps: of `video`, where it is an array, which needs it; of a file it is an error.
        sampling_rate: of `audio`, in Hz, where it is an array, which needs it; of a file it is an error.
        features: modality to features (T, D), for models of features that a corpus brings; or an `.npz` with them.
        decoded: modality to an item and its length as a data-bin stores them, cut out of a longer recording, say, or to
            what is wrong with it; such a modality is not decoded.
    """

    id: str = ""
    video: Source | None = None
    audio: Source | None = None
    text: str | None = None
    start: float | None = None
    end: float | None = None
    fps: float | None = None
    sampling_rate: int | None = None
    features: Mapping[str, np.ndarray] | str | os.PathLike | None = None
    decoded: Mapping[str, tuple[np.ndarray, int] | MediaError] = field(default_factory=dict)


def medium_of(source: str | os.PathLike, start: float | None = None, end: float | None = None) -> Medium:
    """The file that a source names, and the part of it: see `Clip`.

    Raises:
        MMFairseqError: what is behind its name is not understood.
    """
    path = os.fsdecode(source)
    return Medium(path, start, end) if os.path.exists(path) else Medium.parse(path, start, end)


class NoModalityError(MMFairseqError):
    """Nothing of a clip is left that the model reads, or nothing of a file that was named for it.

    Attributes:
        codes: modality to the word for what is wrong with it, see `MediaError`; empty where nothing was given, and
            `not_read` under video, audio or features where the model reads nothing of what was given as such.
    """

    def __init__(self, message: str, codes: Mapping[str, str]) -> None:
        super().__init__(message)
        self.codes = dict(codes)


class Note(NamedTuple):
    """A fallback: what is wrong with a modality, by a word for counting and in words, and what was done instead."""

    modality: str
    code: str
    message: str


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a model is given of a clip.

    Args:
        id: of the clip.
        items: of the modalities that are there: audio (T), float32 at 16 kHz; text (T), int64; video (T, 3, H, W),
            uint8 RGB; features (T, D), float32.
        notes: fallbacks.
        seconds: of the sound, or of the pictures; None where there is neither.
        text: what is said.
    """

    id: str
    items: dict[str, np.ndarray]
    notes: tuple[Note, ...] = ()
    seconds: float | None = None
    text: str = ""

    def without(self, modalities: Collection[str]) -> "Inputs":
        """The same, some modalities withheld."""
        return replace(self, items={name: item for name, item in self.items.items() if name not in modalities})

"""What each modality of the toy corpus shows of an emotion, and how far that can carry a classifier.

The four classes are the code words of two bits, and each modality shows a different bit for certain (its *pair*):

=========  =================  =================
modality   pair +1            pair -1
=========  =================  =================
audio      ang hap (aroused)  neu sad (calm)
text       neu hap (good)     sad ang (bad)
video      hap sad (moved)    neu ang (level)
=========  =================  =================

Any two of these bits name the class. Which member of the pair it is, a modality shows too (its *detail*), but only with
probability `DETAIL`; otherwise the detail is 0. So the best possible accuracy is DETAIL + (1 - DETAIL) / 2 = 0.65 from
one modality and 1 from two or three. The class is linear in the three bits: fusion need not be clever, only listen.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

CLASSES = ("neu", "hap", "sad", "ang")
MODALITIES = ("audio", "text", "video")
DETAIL = 0.3

# Signs of (pair, detail) of every class, by modality.
_SIGNS = {
    "audio": {"neu": (-1, 1), "hap": (1, -1), "sad": (-1, -1), "ang": (1, 1)},
    "text": {"neu": (1, -1), "hap": (1, 1), "sad": (-1, -1), "ang": (-1, 1)},
    "video": {"neu": (-1, 1), "hap": (1, 1), "sad": (1, -1), "ang": (-1, -1)},
}


class Cue(NamedTuple):
    """What a modality shows: the bit of its pair (-1 or 1) and the detail inside the pair (-1, 0 = hidden, 1)."""

    pair: int
    detail: int


def draw(emotion: str, rng: np.random.Generator) -> dict[str, Cue]:
    """Draw what each modality shows of an utterance whose class is `emotion`."""
    return {name: _cue(emotion, name, bool(rng.random() < DETAIL)) for name in MODALITIES}


def ceiling(modalities: tuple[str, ...]) -> float:
    """Accuracy of the best possible classifier that sees `modalities`, all classes being equally likely."""
    mass: dict[tuple[Cue, ...], dict[str, float]] = {}
    for emotion in CLASSES:
        for shown in product((False, True), repeat=len(modalities)):
            seen = tuple(_cue(emotion, name, bit) for name, bit in zip(modalities, shown, strict=True))
            chance = float(np.prod([DETAIL if bit else 1 - DETAIL for bit in shown])) / len(CLASSES)
            by_class = mass.setdefault(seen, {})
            by_class[emotion] = by_class.get(emotion, 0.0) + chance
    return sum(max(by_class.values()) for by_class in mass.values())


def _cue(emotion: str, modality: str, shown: bool) -> Cue:
    pair, detail = _SIGNS[modality][emotion]
    return Cue(pair, detail if shown else 0)

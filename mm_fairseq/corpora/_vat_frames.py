"""The frames of the Korean seven-emotion corpus: every field checked, samples as 16-bit integers.

T samples.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError, named
from .frames import missing, numbers, read_frame, sentence_of, shown

EMOTIONS = ("공포", "놀람", "분노", "슬픔", "중립", "행복", "혐오")
COLUMNS = ("person_ix", "audio", "Sentence", "Emotion")


@dataclass(frozen=True)
class Row:
    """One row of a frame.

    Args:
        place: file and row, for messages.
        person: number of the actor.
        samples: Shape (T), int16.
        sentence: see `sentence_of`; "" where there is none.
        emotion: one of `EMOTIONS`.
    """

    place: str
    person: int
    samples: np.ndarray = field(repr=False)
    sentence: str
    emotion: str

    @property
    def key(self) -> str:
        """The same for equal recordings of one person."""
        return f"{self.person}:{hashlib.sha256(self.samples.tobytes()).hexdigest()}"


def read_rows(file: Path) -> list[Row]:
    """The rows of one frame, pickled or Parquet.

    Raises:
        MMFairseqError: `file: row N: column C: reason`; rows count from 0, as pandas does.
    """
    columns = read_frame(file)
    if absent := [name for name in COLUMNS if name not in columns]:
        raise MMFairseqError(f"{file}: no column {absent[0]!r}; it has {', '.join(map(repr, columns))}")
    rows = []
    for number, values in enumerate(zip(*(columns[name] for name in COLUMNS), strict=True)):
        place = f"{file}: row {number}"
        person, audio, sentence, emotion = values
        rows.append(
            Row(
                place,
                _person(person, place),
                samples_of(audio, f"{place}: column 'audio'"),
                sentence_of(sentence, f"{place}: column 'Sentence'"),
                _emotion(emotion, place),
            )
        )
    if not rows:
        raise MMFairseqError(f"{file}: holds no rows")
    return rows


def samples_of(value: Any, place: str) -> np.ndarray:
    """Samples as integers of 16 bits, unchanged where they are such; fractions in [-1, 1] are scaled by 32768.

    Returns:
        Shape (T), int16.

    Raises:
        MMFairseqError: there are none, or they are no samples.
    """
    if missing(value):
        raise MMFairseqError(f"{place}: no value")
    try:
        x = numbers(value, depth=1)
    except ValueError as error:
        raise MMFairseqError(f"{place}: {error}; expected one list of numbers, the samples of one channel") from None
    if not x.size:
        raise MMFairseqError(f"{place}: zero samples")
    if x.ndim != 1 or x.dtype.kind not in "iuf":
        told = f"shape {x.shape}" if x.dtype.kind in "iuf" else f"{type(value).__name__} of {x.dtype}"
        raise MMFairseqError(f"{place}: {told}; expected one list of numbers, the samples of one channel")
    if x.dtype.kind == "f":
        if not np.isfinite(x).all():
            first = int(np.flatnonzero(~np.isfinite(x))[0])
            raise MMFairseqError(f"{place}: sample {first} is {x[first]}")
        if np.abs(x).max() <= 1 and (x % 1).any():
            return np.clip(np.rint(x * 32768), -32768, 32767).astype(np.int16)
        if (x % 1).any():
            raise MMFairseqError(f"{place}: fractions beyond [-1, 1]; expected integers of 16 bits, or [-1, 1]")
    if x.min() < -32768 or x.max() > 32767:
        raise MMFairseqError(f"{place}: samples from {x.min()} to {x.max()} are more than 16 bits hold")
    return x.astype(np.int16, copy=False)


def recognised(rows: Sequence[Row], heard: Sequence[Row], file: Path) -> list[str]:
    """For each row the sentence of the row of `heard` that has the same recording; "" where there is none.

    Args:
        rows: of the test frame.
        heard: of the frame with recognised text.
        file: of `heard`.

    Raises:
        MMFairseqError: a row of `heard` has no partner, two have the same, or the emotions of the two differ.
    """
    places: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        places.setdefault(row.key, []).append(number)
    texts = [""] * len(rows)
    for row in heard:
        left = places.get(row.key, [])
        if not left:
            raise MMFairseqError(
                f"{row.place}: its recording (person {row.person}, {len(row.samples)} samples) is that of no row of "
                "the test frame, or of one that has its recognised text already"
            )
        fitting = [number for number in left if rows[number].emotion == row.emotion]
        if not fitting:
            raise MMFairseqError(
                f"{row.place}: column 'Emotion': {row.emotion!r}, but {rows[left[0]].emotion!r} in "
                f"{rows[left[0]].place}, which has the same recording"
            )
        left.remove(fitting[0])
        texts[fitting[0]] = row.sentence
    if not any(texts):
        raise MMFairseqError(f"{file}: no recognised text in any row ({named([row.place for row in heard], 1)})")
    return texts


def _person(value: Any, place: str) -> int:
    try:
        number = int(value)
        if isinstance(value, bool) or number != float(value) or number < 0:
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise MMFairseqError(f"{place}: column 'person_ix': {shown(value)!r} is no number of a person") from None
    return number


def _emotion(value: Any, place: str) -> str:
    label = unicodedata.normalize("NFC", value).strip() if isinstance(value, str) else value
    if not isinstance(label, str) or label not in EMOTIONS:
        raise MMFairseqError(f"{place}: column 'Emotion': {shown(value)!r} is none of {', '.join(EMOTIONS)}")
    return label

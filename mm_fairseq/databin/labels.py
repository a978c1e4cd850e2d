"""Labels as numbers: out of the arrays of a data-bin, or out of its manifest. N rows, K classes."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import MMFairseqError
from ..manifest import Utterance
from ..targets import Kind, Target, kind_of
from .arrays import FileArray

_CHUNK = 1 << 16
_UNKNOWN = -1  # of a set of classes, in its array


class Labels(Protocol):
    """What one kind makes of the labels of rows, given by their numbers in the data-bin."""

    def truths(self, rows: np.ndarray) -> np.ndarray:
        """As `Kind.encode` gives them. Shape (rows), or (rows, K)."""

    def goals(self, rows: np.ndarray) -> np.ndarray:
        """As `Kind.goal` gives them. Shape (rows), or (rows, K)."""

    def check(self, rows: np.ndarray | FileArray) -> None:
        """Raises MMFairseqError, naming the utterance, where a label is none of the kind's."""


class ParsedLabels:
    """Out of the texts of the manifest.

    Args:
        kind: of the target.
        utterances: all rows of the manifest.
    """

    def __init__(self, kind: Kind, utterances: Sequence[Utterance]) -> None:
        self.kind, self.utterances = kind, utterances

    def truths(self, rows: np.ndarray) -> np.ndarray:
        return np.array([self._pair(int(row))[0] for row in rows])

    def goals(self, rows: np.ndarray) -> np.ndarray:
        return np.array([self._pair(int(row))[1] for row in rows])

    def check(self, rows: np.ndarray | FileArray) -> None:
        for start in range(0, len(rows), _CHUNK):
            for row in rows[start : start + _CHUNK].tolist():
                self._pair(row)

    def _pair(self, row: int) -> tuple[Any, Any]:
        utterance, kind = self.utterances[row], self.kind
        label, votes = (utterance.labels.get(column, "") for column in (kind.target.name, kind.target.votes))
        try:
            return kind.encode(label), kind.goal(label, votes)
        except MMFairseqError as error:
            raise MMFairseqError(f"utterance {utterance.id!r}: {error}") from error


class StoredLabels:
    """Out of arrays that were encoded when the data-bin was made, and checked then.

    Args:
        kind: of the target.
        numbers: its labels. Shape (N), or (N, K).
        shares: what its votes say, where it is soft. Shape (N, K).
    """

    def __init__(self, kind: Kind, numbers: FileArray, shares: FileArray | None) -> None:
        self.kind, self.numbers, self.shares = kind, numbers, shares

    def truths(self, rows: np.ndarray) -> np.ndarray:
        found = self.numbers[np.asarray(rows)]
        if self.kind.sets:
            return np.where(found == _UNKNOWN, np.nan, found)
        return found.astype(np.int64 if found.dtype.kind == "i" else np.float64)

    def goals(self, rows: np.ndarray) -> np.ndarray:
        return self.truths(rows) if self.shares is None else self.shares[np.asarray(rows)]

    def check(self, rows: np.ndarray | FileArray) -> None:
        if len(self.numbers) and len(rows) and not 0 <= int(rows[0]) < len(self.numbers):
            raise MMFairseqError(f"{self.numbers.path}: {len(self.numbers)} labels, row {rows[0]} is wanted")


def encode(target: Target, utterances: Sequence[Utterance]) -> tuple[np.ndarray, np.ndarray | None]:
    """The labels of a target for its files, in as few bytes as they need, and what its votes say.

    Raises:
        MMFairseqError: a label is none of the target's; it names the utterance.
    """
    plain, soft = ParsedLabels(kind_of(target), utterances), ParsedLabels(kind_of(target, soft=True), utterances)
    rows, size, outputs = len(utterances), len(target.classes), plain.kind.outputs
    dtype: np.dtype = np.dtype(np.float64)
    if target.classes:
        dtype = np.dtype(np.int8) if plain.kind.sets else np.min_scalar_type(-max(size, 101))
    shape = (rows, outputs) if plain.kind.sets else (rows,)
    numbers = np.empty(shape, dtype)
    shares = np.empty((rows, size), np.float32) if target.votes else None
    for start in range(0, rows, _CHUNK):
        part = np.arange(start, min(rows, start + _CHUNK))
        found = plain.truths(part)
        numbers[part] = np.where(np.isnan(found), _UNKNOWN, found) if plain.kind.sets else found
        if shares is not None:
            shares[part] = soft.goals(part)
    return numbers, shares


def fits(kind: Kind, stored: Target) -> bool:
    """Whether the arrays of a target, as it was when the data-bin was made, are the numbers of a kind."""
    other = kind_of(stored)
    form = (kind.sets, bool(kind.classes), tuple(kind.classes))
    return form == (other.sets, bool(other.classes), tuple(other.classes)) and (
        not kind.soft or kind.target.votes == stored.votes
    )

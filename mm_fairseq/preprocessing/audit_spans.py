"""Utterances that are the same material though their times differ: cuts of one file that lie upon one another.

Two parts of a file are the same material where they overlap by more than half of the shorter one. That is so where the
middle of one of them lies inside the other: sorting finds it, and no pair is looked at.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..manifest import Medium

FOREVER = 1e15  # seconds: the end of a file of unknown length


@dataclass(frozen=True)
class Spans:
    """Parts of files, N rows with M media each, as numbers that grow with file and time; -1 where there is none.

    Args:
        first, middle, last: Shape (N, M), int64.
    """

    first: np.ndarray
    middle: np.ndarray
    last: np.ndarray

    def of(self, rows: np.ndarray) -> "Spans":
        """Those of some rows; `rows` is of shape (K,)."""
        return Spans(self.first[rows], self.middle[rows], self.last[rows])

    def met(self, others: "Spans") -> np.ndarray:
        """Which of these are the same material as one of the others. Shape (N, M), bool."""
        there = others.middle >= 0
        if not there.any():
            return np.zeros(self.middle.shape, bool)
        middles = np.sort(others.middle[there])
        found = np.searchsorted(middles, self.last, "left") > np.searchsorted(middles, self.first, "right")
        order = np.argsort(others.first[there], kind="stable")
        begun = np.searchsorted(others.first[there][order], self.middle, "left")
        reach = np.maximum.accumulate(others.last[there][order])  # one of an earlier file ends before this one begins
        found |= (begun > 0) & (reach[np.maximum(begun - 1, 0)] > self.middle)
        return found & (self.middle >= 0)


def spans(
    media: Sequence[Sequence[Medium | None]], file_of: Mapping[str, Hashable], lengths: Mapping[str, float]
) -> Spans:
    """The parts that media name.

    Args:
        media: of N rows M each.
        file_of: path to what files have in common that are one.
        lengths: path to seconds, where they are known.
    """
    shape = (len(media), max(map(len, media), default=0))
    file, first, last = np.full(shape, -1), np.zeros(shape), np.zeros(shape)
    number: dict[Hashable, int] = {}
    for n, each in enumerate(media):
        for m, medium in enumerate(each):
            if medium is None:
                continue
            file[n, m] = number.setdefault((file_of[medium.path], medium.region), len(number))
            first[n, m] = medium.start or 0.0
            length = lengths.get(medium.path, FOREVER)
            open_end = length if length > first[n, m] else FOREVER
            last[n, m] = open_end if medium.end is None else medium.end
    times, ranks = np.unique(np.stack([first, (first + last) / 2, last]), return_inverse=True)
    keys = np.where(file >= 0, file * len(times) + ranks.reshape(3, *shape), -1)
    return Spans(*keys)

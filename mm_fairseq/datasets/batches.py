"""The batches of an epoch as two arrays, whatever their number. N utterances, M batches."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

CHUNK = 1 << 16  # utterances that are put into batches at once


class Batches(Sequence[np.ndarray]):
    """Batches of utterances, each made when it is asked for.

    Args:
        order: numbers of the utterances, batch by batch. Shape (N).
        bounds: where in it batches begin, and its end. Shape (M + 1).
    """

    def __init__(self, order: np.ndarray, bounds: np.ndarray) -> None:
        self.order, self.bounds = order.astype(np.int32), bounds.astype(np.int32)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, number: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, number: slice) -> "Chosen": ...
    def __getitem__(self, number: int | slice) -> "np.ndarray | Chosen":
        if isinstance(number, slice):
            return Chosen(self, np.arange(len(self), dtype=np.int32)[number])
        place = range(len(self))[number]
        return self.order[self.bounds[place] : self.bounds[place + 1]].astype(np.int64)


class Chosen(Sequence[Any]):
    """Some batches in another order.

    Args:
        batches: all.
        numbers: of those that are chosen; -1 is an empty one. Shape (chosen).
    """

    def __init__(self, batches: Sequence[np.ndarray], numbers: np.ndarray) -> None:
        self.batches, self.numbers = batches, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> "Chosen": ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return Chosen(self.batches, self.numbers[place])
        number = int(self.numbers[place])
        return [] if number < 0 else self.batches[number]

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))


def give_back() -> None:
    """Return freed memory to the system: glibc keeps that of large arrays, which planning needs for a moment only.

    malloc_trim(3); other C libraries have nothing of the kind.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def plan(indices: np.ndarray, split: Callable[[np.ndarray], Sequence[np.ndarray]], whole: bool = False) -> Batches:
    """Batches of utterances in a given order, made a part of it at a time.

    Args:
        indices: numbers of the utterances. Shape (N).
        split: makes batches of the beginning of what it is given without regard to what follows; only the last one may
            end because nothing follows.
        whole: give it all of them at once.
    """
    bounds, start, size = [np.zeros(1, np.int64)], 0, len(indices) if whole else CHUNK
    while start < len(indices):
        batches = split(indices[start : start + size])
        ends = start + np.cumsum([len(batch) for batch in batches], dtype=np.int64)
        if start + size < len(indices):
            ends = ends[:-1]  # the last one may go on
            if not len(ends):
                size *= 2
                continue
        bounds.append(ends)
        start = int(ends[-1]) if start + size < len(indices) else len(indices)
    return Batches(indices, np.concatenate(bounds))

"""What a split has of a data-bin, looked up when it is asked for. N utterances of the split."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..databin import Labels, Numbers, StreamReader
from ..manifest import OnDemand, Utterance
from .raw_items import Limits, input_lengths


class Utterances(OnDemand[Utterance]):
    """The utterances of a split.

    Args:
        every: all of the data-bin.
        rows: numbers of those of the split. Shape (N).
    """

    def __init__(self, every: Sequence[Utterance], rows: Numbers) -> None:
        self.every, self.rows = every, rows

    def __len__(self) -> int:
        return len(self.rows)

    def item(self, number: int) -> Utterance:
        return self.every[int(self.rows[number])]


class Truths:
    """The true labels of a split.

    Args:
        labels: of the data-bin.
        rows: numbers of those of the split. Shape (N).
    """

    def __init__(self, labels: Labels, rows: Numbers) -> None:
        self.labels, self.rows = labels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        """One label, or an array of several."""
        rows = self.rows[index]
        return self.labels.truths(rows) if np.ndim(rows) else self.labels.truths(np.array([rows]))[0]

    def tolist(self) -> list[Any]:
        """All of them."""
        return self[:].tolist()


class Lengths:
    """Usable lengths of a modality in a split; 0 where it is missing.

    Args:
        modality: which.
        reader: its stream.
        rows: numbers of those of the split. Shape (N).
        limits: shortest and longest.
        withheld: all are missing.
    """

    def __init__(self, modality: str, reader: StreamReader, rows: Numbers, limits: Limits, withheld: bool) -> None:
        self.modality, self.reader, self.rows, self.limits, self.withheld = modality, reader, rows, limits, withheld

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        """One length, or an array of several."""
        rows = self.rows[index]
        found = self.limits.usable(self.before(np.atleast_1d(rows)))
        return found if np.ndim(rows) else int(found[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.int64, copy=False)

    def before(self, rows: np.ndarray) -> np.ndarray:
        """Of rows of the data-bin: before anything is cut or left out. Shape (rows), int64."""
        if self.withheld:
            return np.zeros(len(rows), np.int64)
        return input_lengths(self.modality, self.reader.lengths_of(np.asarray(rows)), self.reader.dim)

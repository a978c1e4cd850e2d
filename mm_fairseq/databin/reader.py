"""Reading a stream by memory map: no copy, cheap to pickle and to fork."""

import mmap
import os
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError
from .format import Index, open_shard, shard_paths


class StreamReader:
    """All items of a stream, in order.

    Opening reads indices and receipts and checks every size; the data itself is mapped shard by shard when first
    touched. A pickled reader maps again for itself.

    Args:
        folder: the stream's folder.
        rows: how many items there must be, where the caller knows.

    Raises:
        MMFairseqError: a shard is missing, cut short, damaged or unlike the others, or the count is not `rows`.
    """

    def __init__(self, folder: str | os.PathLike, rows: int | None = None) -> None:
        self.folder = Path(folder)
        shards = sum(1 for _ in self.folder.glob("shard-*.json")) if self.folder.is_dir() else 0
        if not shards:
            raise MMFairseqError(f"{self.folder}: no shards of a stream there; `mm-fairseq binarize` writes them")
        self._indices: list[Index] = [open_shard(self.folder, shard)[0] for shard in range(shards)]
        first = self._indices[0]
        self.dtype, self.dim = first.dtype, first.dim
        for shard, index in enumerate(self._indices):
            if (index.dtype, index.dim) != (self.dtype, self.dim):
                raise MMFairseqError(f"{shard_paths(self.folder, shard)[1]}: dtype or dim differs from shard 0")
        ends = np.cumsum([len(index) for index in self._indices])
        self._starts = [0, *ends[:-1].tolist()]
        self._count = int(ends[-1])
        if rows is not None and self._count != rows:
            raise MMFairseqError(f"{self.folder}: {self._count} items, {rows} expected: a shard is missing or too many")
        self.lengths: np.ndarray = np.concatenate([index.item_lengths() for index in self._indices])
        self._maps: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> np.ndarray:
        """Item `row` as a read-only view into the file. Shape (T) or (T, dim)."""
        if not 0 <= row < self._count:
            raise IndexError(f"row {row} of {self._count} in {self.folder}")
        shard = bisect_right(self._starts, row) - 1
        data = self._maps.get(shard)
        if data is None:
            data = self._maps[shard] = self._map(shard)
        offsets, place = self._indices[shard].offsets, row - self._starts[shard]
        item = data[offsets[place] : offsets[place + 1]]
        return item.reshape(-1, self.dim) if self.dim else item

    @property
    def shards(self) -> list[range]:
        """Row numbers of each shard."""
        return [range(start, end) for start, end in pairwise([*self._starts, self._count])]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(self._count))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}

    def _map(self, shard: int) -> np.ndarray:
        path = shard_paths(self.folder, shard)[0]
        elements = self._indices[shard].elements
        if not elements:
            return np.empty(0, self.dtype)
        if not path.is_file() or path.stat().st_size != elements * self.dtype.itemsize:
            raise MMFairseqError(f"{path}: changed since this data-bin was opened; open it again")
        with open(path, "rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), self.dtype)

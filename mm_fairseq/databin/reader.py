"""Reading a stream by memory map: no copy, cheap to pickle and to fork."""

import mmap
import os
import resource
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError
from . import joined, sums
from .format import parse_receipt, shard_paths


def _most_maps() -> int:
    """Shards of a stream that are mapped at once: each holds a descriptor, and there are several streams."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1024 if soft == resource.RLIM_INFINITY else min(1024, max(8, soft // 16))


class StreamReader:
    """All items of a stream, in order.

    Opening looks at the size of every file (`sums`) and reads the joined index (`joined`); without one, or where it is
    of other shards, the index and the receipt of every shard. The data itself is mapped shard by shard when it is
    touched, and only so many shards at once as the limit of open files allows. A pickled reader maps again for itself.

    Args:
        folder: the stream's folder; it and the shards in it may be links.
        rows: how many items there must be, where the caller knows.
        anew: read the shards even where there is a joined index.

    Raises:
        MMFairseqError: a file is cut short, a shard is missing, damaged or unlike the others, or the count is not
            `rows`.
    """

    def __init__(self, folder: str | os.PathLike, rows: int | None = None, anew: bool = False) -> None:
        self.folder = Path(folder)
        if not anew:
            sums.check_sizes(self.folder)
        found = None if anew else joined.read(self.folder)
        if found is None:
            shards = sum(1 for _ in self.folder.glob("shard-*.json")) if self.folder.is_dir() else 0
            if not shards:
                raise MMFairseqError(f"{self.folder}: no shards of a stream there; `mm-fairseq binarize` writes them")
            found = joined.join(self.folder, shards)
        self.index = found
        self.dtype, self.dim = found.dtype, found.dim
        if rows is not None and len(found) != rows:
            raise MMFairseqError(f"{self.folder}: {len(found)} items, {rows} expected: a shard is missing or too many")
        self._maps: dict[int, np.ndarray] = {}
        self._known = np.full(len(found.starts) - 1, not found.stored)  # shards that were seen to be the index's
        self._most = _most_maps()

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, row: int) -> np.ndarray:
        """Item `row` as a read-only view into the file. Shape (T) or (T, dim)."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} in {self.folder}")
        shard = int(np.searchsorted(self.index.starts, row, "right")) - 1
        data = self._maps.pop(shard, None)
        if data is None:
            data = self._map(shard)
        self._maps[shard] = data  # the last one now
        if len(self._maps) > self._most:
            del self._maps[next(iter(self._maps))]
        start, end = self.index.offsets[row : row + 2].tolist()
        base = int(self.index.bases[shard])
        if not base <= start <= end <= base + len(data) or (self.dim and (end - start) % self.dim):
            raise MMFairseqError(f"{self.folder}: row {row} cannot be from {start} to {end}, the index is wrong")
        item = data[start - base : end - base]
        return item.reshape(-1, self.dim) if self.dim else item

    @property
    def lengths(self) -> np.ndarray:
        """T of all items, read anew. Shape (N), int64."""
        return self.index.lengths_of(slice(None))

    def lengths_of(self, rows: np.ndarray | slice) -> np.ndarray:
        """T of some items. Shape (rows), int64."""
        return self.index.lengths_of(rows)

    @property
    def shards(self) -> list[range]:
        """Row numbers of each shard."""
        return [range(start, end) for start, end in pairwise(self.index.starts.tolist())]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}

    def _map(self, shard: int) -> np.ndarray:
        path, _, receipt = shard_paths(self.folder, shard)
        entry = self.index.table[shard]
        if not self._known[shard]:
            self._compare(receipt, (bytes(entry["bin"]), bytes(entry["idx"])))
            self._known[shard] = True
        elements = int(entry["elements"])
        if not elements:
            return np.empty(0, self.dtype)
        if not path.is_file() or path.stat().st_size != elements * self.dtype.itemsize:
            raise MMFairseqError(f"{path}: changed since this data-bin was opened; open it again")
        with open(path, "rb") as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), self.dtype)

    def _compare(self, receipt: Path, digests: tuple[bytes, bytes]) -> None:
        """See that a shard is the one that the joined index was made of."""
        try:
            raw = receipt.read_bytes()
        except OSError as error:
            raise MMFairseqError(f"{receipt}: the shard is gone since the data-bin was opened: {error}") from error
        told = parse_receipt(raw, str(receipt))["sha256"]
        found = (bytes.fromhex(told["bin"]), bytes.fromhex(told["idx"]))
        if found != digests:
            raise MMFairseqError(
                f"{receipt}: the shard was changed since {joined.NAME} was made of it; open it again, or go on with "
                f"`mm-fairseq {'extract' if '@' in self.folder.name else 'binarize'} --resume`"
            )

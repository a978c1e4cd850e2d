"""Writing of shards: a shard appears whole or not at all, its receipt last (see `atomic`)."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..atomic import hidden, write_atomic
from ..errors import MMFairseqError
from . import sums
from .format import DTYPES, Index, receipt_bytes, shard_paths


def remove_shard(folder: str | os.PathLike, shard: int, leftovers_only: bool = False) -> None:
    """Remove a shard, the receipt first, and what a killed writer left of it. Only who holds its lock may."""
    if not leftovers_only:
        (Path(folder) / sums.NAME).unlink(missing_ok=True)
    for path in reversed(shard_paths(folder, shard)):
        if not leftovers_only:
            path.unlink(missing_ok=True)
        hidden(path).unlink(missing_ok=True)


class ShardWriter:
    """Write one shard, item by item, holding none of them. Use it in a `with` block: the receipt comes at its end.

    Args:
        folder: the stream's folder; made if it is not there.
        shard: its number.
        dtype: one of `format.DTYPES`.
        dim: D of items [T, D]; 0 for items [T].
        own_lengths: whether `add` is told the items' lengths (frames of packed video).
        notes: put into the receipt under "notes"; may be filled while writing. Plain JSON.

    Raises:
        MMFairseqError: the dtype or dim is not possible.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        shard: int,
        dtype: str,
        dim: int = 0,
        own_lengths: bool = False,
        notes: dict[str, Any] | None = None,
    ) -> None:
        if dtype not in DTYPES or dim < 0:
            raise MMFairseqError(f"a shard of dtype {dtype!r} and dim {dim}; dtypes: {', '.join(DTYPES)}, dim >= 0")
        self.notes = {} if notes is None else notes
        self._paths = shard_paths(folder, shard)
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._dim = dim
        self._offsets = [0]
        self._lengths: list[int] | None = [] if own_lengths else None
        self._hash = hashlib.sha256()

    def __enter__(self) -> "ShardWriter":
        self._paths[0].parent.mkdir(parents=True, exist_ok=True)
        self._file = open(hidden(self._paths[0]), "wb")
        return self

    def add(self, item: np.ndarray, length: int | None = None) -> None:
        """Append an item of shape [T], or [T, D]; an item of no elements stands for nothing there.

        Raises:
            MMFairseqError: wrong dtype, wrong shape, a non-finite number, or a `length` that is missing or not wanted.
        """
        item = np.asarray(item)
        shape = item.shape[1:] == ((self._dim,) if self._dim else ())
        if item.dtype.newbyteorder("<") != self._dtype or not item.ndim or not shape:
            raise MMFairseqError(
                f"{self._paths[0]}: item {len(self._offsets) - 1} is {item.dtype} {item.shape}, "
                f"expected {self._dtype.name} {('T', self._dim) if self._dim else ('T',)}"
            )
        if self._dtype.kind == "f" and not np.isfinite(item).all():
            raise MMFairseqError(f"{self._paths[0]}: item {len(self._offsets) - 1} has non-finite numbers")
        if (length is None) != (self._lengths is None):
            raise MMFairseqError(
                f"{self._paths[0]}: this shard is written {'with' if length is None else 'without'} lengths"
            )
        raw = np.ascontiguousarray(item, self._dtype).data.cast("B") if item.size else b""
        self._file.write(raw)
        self._hash.update(raw)
        self._offsets.append(self._offsets[-1] + item.size)
        if self._lengths is not None and length is not None:
            self._lengths.append(length)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            for path in self._paths[:2]:
                hidden(path).unlink(missing_ok=True)

    def _finish(self) -> None:
        bin_path, idx_path, receipt_path = self._paths
        self._file.flush()
        os.fsync(self._file.fileno())
        lengths = None if self._lengths is None else np.array(self._lengths, np.int64)
        index = Index(self._dtype, self._dim, np.array(self._offsets, np.int64), lengths)
        raw = index.to_bytes()
        receipt = {
            "count": len(index),
            "dtype": self._dtype.name,
            "dim": self._dim,
            "bytes": index.elements * self._dtype.itemsize,
            "sha256": {"bin": self._hash.hexdigest(), "idx": hashlib.sha256(raw).hexdigest()},
            "notes": self.notes,
        }
        (receipt_path.parent / sums.NAME).unlink(missing_ok=True)  # they are those of other shards from now on
        receipt_path.unlink(missing_ok=True)
        hidden(bin_path).replace(bin_path)
        write_atomic(idx_path, raw)
        write_atomic(receipt_path, receipt_bytes(receipt))


def write_shard(
    folder: str | os.PathLike,
    shard: int,
    items: Iterable[np.ndarray],
    dtype: str,
    dim: int = 0,
    lengths: Iterable[int] | None = None,
    notes: dict[str, Any] | None = None,
) -> None:
    """Write a shard of the given items at once; see `ShardWriter`."""
    with ShardWriter(folder, shard, dtype, dim, lengths is not None, notes) as writer:
        if lengths is None:
            for item in items:
                writer.add(item)
        else:
            for item, length in zip(items, lengths, strict=True):
                writer.add(item, length)

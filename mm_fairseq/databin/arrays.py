"""Arrays that stay in their files.

They are read, not mapped: pages of a map that were touched count as memory of the process, and in an epoch every page
of an index is touched.
"""

import math
import mmap
import os
import re
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from ..errors import MMFairseqError

_NPY_HEAD = re.compile(
    rb"\{'descr': '(\|[biu]1|<[iu][248]|<f[248])', 'fortran_order': False, "
    rb"'shape': \((\d{1,15},(?: [1-9]\d{0,14})?)\), \} *\n"
)
FEW = 512  # rows that are read one by one; more go through a map that is closed again


class Seen(NamedTuple):
    """A file as it was when it was looked at: another one under its name differs in one of these."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Seen":
        """What `os.stat` or `os.fstat` says."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)

    def check(self, path: str | os.PathLike, descriptor: int) -> None:
        """See that an open file is this one.

        Raises:
            MMFairseqError: it is another one, or was written to.
        """
        if Seen.of(os.fstat(descriptor)) != self:
            raise MMFairseqError(f"{path}: changed since it was opened; open the data-bin again")


def _npy_head(file: IO[bytes]) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape of an array, of the few forms that we write; nothing is evaluated."""
    start = file.read(10)
    if start[:8] != b"\x93NUMPY\x01\x00" or len(start) != 10:
        raise ValueError("no npy file of version 1.0")
    head = _NPY_HEAD.fullmatch(file.read(int.from_bytes(start[8:], "little")))
    if not head:
        raise ValueError("a header that was not written here")
    return np.dtype(head[1].decode()), tuple(int(size) for size in head[2].split(b",") if size.strip())


class FileArray:
    """An array in a file, of which what is asked for is copied into memory and nothing else; cheap to pickle and fork.

    Whoever reads it first opens the file for itself, which may be long after; that it is still the same file is seen.

    Args:
        path: the file.
        dtype: of the elements.
        shape: of the array; the first axis is the one that is indexed.
        start: where it begins in the file, in bytes.
        seen: the file, where it was looked at before; else it is now.
    """

    def __init__(
        self, path: str | os.PathLike, dtype: Any, shape: tuple[int, ...], start: int = 0, seen: Seen | None = None
    ) -> None:
        self.path, self.dtype, self.shape, self._start = Path(path), np.dtype(dtype), shape, start
        self._seen = seen or Seen.of(os.stat(path))
        self._row = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self._descriptor: int | None = None

    @classmethod
    def npy(cls, path: str | os.PathLike) -> "FileArray":
        """The array of an `.npy` file.

        Raises:
            MMFairseqError: the file is missing, no such file or cut short.
        """
        try:
            with open(path, "rb") as file:
                dtype, shape = _npy_head(file)
                start, seen = file.tell(), Seen.of(os.fstat(file.fileno()))
        except (OSError, ValueError) as error:
            raise MMFairseqError(f"{path}: not an array of a data-bin ({error}); binarize again") from error
        expected = start + math.prod(shape) * dtype.itemsize
        if seen.size != expected:
            raise MMFairseqError(f"{path}: {seen.size} bytes, {expected} are needed; binarize again")
        return cls(path, dtype, shape, start, seen)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        """A row by its number; a copy of several by a slice or an array of numbers, none of them negative."""
        if isinstance(rows, slice):
            first, last, step = rows.indices(len(self))
            if step != 1:
                return self[np.arange(first, last, step)]
            return self._frame(self._read(first, max(0, last - first)))
        if np.ndim(rows) == 0:
            row = int(rows)
            if not 0 <= row < len(self):
                raise IndexError(f"row {row} of {len(self)} in {self.path}")
            return self._frame(self._read(row, 1))[0]
        rows = np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)} in {self.path}")
        if len(rows) <= FEW:
            return self._frame(b"".join(self._read(row, 1) for row in rows.tolist()))
        return self._gather(rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def tolist(self) -> list[Any]:
        """All of it, in plain Python types."""
        return self[:].tolist()

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        with mmap.mmap(self._open(), 0, access=mmap.ACCESS_READ) as pages:
            mapped: np.ndarray = np.ndarray(self.shape, self.dtype, pages, self._start)
            found = mapped[rows]
            del mapped  # or the map could not be closed
        return found

    def _frame(self, raw: bytes) -> np.ndarray:
        return np.frombuffer(raw, self.dtype).reshape(-1, *self.shape[1:])

    def _read(self, first: int, count: int) -> bytes:
        descriptor = self._open()
        wanted, place = count * self._row, self._start + first * self._row
        raw = os.pread(descriptor, wanted, place)
        while len(raw) < wanted:
            more = os.pread(descriptor, wanted - len(raw), place + len(raw))
            if not more:
                raise MMFairseqError(f"{self.path}: cut short since it was opened; open the data-bin again")
            raw += more
        return raw

    def _open(self) -> int:
        if self._descriptor is None:
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError as error:
                raise MMFairseqError(f"{self.path}: gone since it was opened; open the data-bin again") from error
            try:
                self._seen.check(self.path, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
        return self._descriptor

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_descriptor": None}

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            os.close(self._descriptor)  # type: ignore[arg-type]


Numbers = np.ndarray | FileArray

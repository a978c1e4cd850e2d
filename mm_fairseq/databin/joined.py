"""One index for all shards of a stream, `joined.idx` beside them, so that thousands of shards need not be opened.

A header, a table with an entry for each shard, int64 `offsets` (count + 1, in elements, counted over all shards), and
int64 `lengths` (count) where the shards have them. A CRC-32 covers all of it. The table says which shards it was made
of: an index of other shards is not used. S shards, N items.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import write_atomic
from ..errors import MMFairseqError
from . import sums
from .arrays import FileArray, Numbers, Seen
from .format import DTYPES, open_shard, parse_receipt, shard_paths

NAME = "joined.idx"
ABOUT = "stream.json"  # of a cached stream
MAGIC = b"MMFS-ALL"
VERSION = 1
# number of the first item behind the shard, of elements in it; sha256 of its .bin, its .idx, and of what it was made of
ENTRY = np.dtype([("end", "<i8"), ("elements", "<i8"), ("bin", "V32"), ("idx", "V32"), ("source", "V32")])

# magic, version, dtype code, dim, count, shards, has lengths, CRC-32 of all other bytes of the file
_HEADER = struct.Struct("<8sIIqqqII")
_CRC_AT = _HEADER.size - 4
_CHUNK = 1 << 20
_NAMES = {number: name for name, number in DTYPES.items()}


@dataclass(frozen=True)
class Joined:
    """Where the items of a stream are.

    Args:
        dtype: type of the elements.
        dim: D, or 0 for items of shape [T].
        starts: number of the first item of each shard, and of items. Shape (S + 1), int64.
        bases: the first element of each shard, and the number of elements. Shape (S + 1), int64.
        offsets: where items begin, in elements of the whole stream. Shape (N + 1), int64.
        lengths: T of the items, where it does not follow from the offsets. Shape (N), int64.
        table: an entry a shard. Shape (S), `ENTRY`.
        stored: it was read from `joined.idx`.
    """

    dtype: np.dtype
    dim: int
    starts: np.ndarray
    bases: np.ndarray
    offsets: Numbers
    lengths: Numbers | None
    table: Numbers
    stored: bool = False

    def __len__(self) -> int:
        return int(self.starts[-1])

    def lengths_of(self, rows: np.ndarray | slice) -> np.ndarray:
        """T of some items. Shape (rows), int64."""
        if self.lengths is not None:
            return self.lengths[rows]
        if isinstance(rows, slice):
            first, last, _ = rows.indices(len(self))
            return np.diff(self.offsets[first : last + 1]) // max(self.dim, 1)
        return (self.offsets[rows + 1] - self.offsets[rows]) // max(self.dim, 1)

    def same(self, other: "Joined") -> bool:
        """Whether another one says the same."""
        if (self.dtype, self.dim, self.lengths is None) != (other.dtype, other.dim, other.lengths is None):
            return False
        pairs = [(self.table, other.table), (self.offsets, other.offsets)]
        if self.lengths is not None and other.lengths is not None:
            pairs.append((self.lengths, other.lengths))
        return all(np.array_equal(a[:], b[:]) for a, b in pairs)

    def write(self, folder: str | os.PathLike) -> None:
        """As `joined.idx` beside the shards; then the sums of all that stands there, those of shards by their receipts.

        Raises:
            MMFairseqError: a receipt is damaged.
        """
        folder = Path(folder)
        parts = [self.table[:], self.offsets[:], *([] if self.lengths is None else [self.lengths[:]])]
        body = b"".join(part.tobytes() for part in parts)
        code = DTYPES[self.dtype.name]
        shards = len(self.starts) - 1
        fields = (MAGIC, VERSION, code, self.dim, len(self), shards, int(self.lengths is not None))
        raw = _HEADER.pack(*fields, zlib.crc32(body, zlib.crc32(_HEADER.pack(*fields, 0)[:_CRC_AT]))) + body
        known = _sums(folder, shards) | {NAME: sums.Sum.of(raw)}
        (folder / sums.NAME).unlink(missing_ok=True)
        write_atomic(folder / NAME, raw)
        sums.seal(folder, [name for name in (ABOUT,) if (folder / name).is_file()], known, {})


def _sums(folder: Path, shards: int) -> dict[str, sums.Sum]:
    found = {}
    for shard in range(shards):
        bin_path, idx_path, receipt_path = shard_paths(folder, shard)
        raw = receipt_path.read_bytes()
        receipt = parse_receipt(raw, str(receipt_path))
        found[receipt_path.name] = sums.Sum.of(raw)
        found[bin_path.name] = sums.Sum(receipt["bytes"], receipt["sha256"]["bin"])
        found[idx_path.name] = sums.Sum(os.stat(idx_path).st_size, receipt["sha256"]["idx"])
    return found


def join(folder: str | os.PathLike, shards: int) -> Joined:
    """Read index and receipt of every shard, and check every size.

    Args:
        folder: of the stream.
        shards: how many there are.

    Raises:
        MMFairseqError: a shard is missing, cut short, damaged or unlike the others.
    """
    offsets, lengths, end, elements = [np.zeros(1, np.int64)], [], 0, 0
    table = np.zeros(shards, ENTRY)
    dtype, dim = np.dtype("uint8"), 0
    for shard in range(shards):
        index, receipt = open_shard(folder, shard)
        if not shard:
            dtype, dim, told = index.dtype, index.dim, index.lengths is not None
        if (index.dtype, index.dim) != (dtype, dim) or (index.lengths is not None) != told:
            raise MMFairseqError(f"{shard_paths(folder, shard)[1]}: dtype or dim differs from shard 0")
        offsets.append(index.offsets[1:] + elements)
        if index.lengths is not None:
            lengths.append(index.lengths)
        end, elements = end + len(index), elements + index.elements
        texts = (receipt["sha256"]["bin"], receipt["sha256"]["idx"], receipt["notes"].get("source"))
        table[shard] = (end, index.elements, *map(_digest, texts))
    return Joined(
        *(dtype, dim, *_marks(table), np.concatenate(offsets), np.concatenate(lengths) if lengths else None, table)
    )


def read(folder: str | os.PathLike) -> Joined | None:
    """What `joined.idx` says; None where there is none, or none of the shards that are there now.

    Names and sizes of the shards are looked at; that they have the bytes they had, a reader sees when it opens one.
    """
    path = Path(folder) / NAME
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER.size)
            magic, version, code, dim, count, shards, has_lengths, crc = _HEADER.unpack(head)
            size = ENTRY.itemsize * shards + 8 * (count + 1 + (count if has_lengths else 0))
            seen = Seen.of(os.fstat(file.fileno()))
            if (magic, version) != (MAGIC, VERSION) or seen.size != _HEADER.size + size:
                return None
            if code not in _NAMES or min(dim, count, shards) < 0:
                return None
            found = zlib.crc32(head[:_CRC_AT])
            while chunk := file.read(_CHUNK):
                found = zlib.crc32(chunk, found)
    except (OSError, struct.error):
        return None
    if found != crc:
        return None
    dtype = np.dtype(_NAMES[code]).newbyteorder("<")
    place = _HEADER.size
    table = FileArray(path, ENTRY, (shards,), place, seen)
    place += ENTRY.itemsize * shards
    offsets = FileArray(path, "<i8", (count + 1,), place, seen)
    lengths = FileArray(path, "<i8", (count,), place + 8 * (count + 1), seen) if has_lengths else None
    entries = table[:]
    if not _fit(entries, count, int(offsets[count])) or not _are_there(folder, entries["elements"] * dtype.itemsize):
        return None
    return Joined(dtype, dim, *_marks(entries), offsets, lengths, table, stored=True)


def _fit(table: np.ndarray, count: int, elements: int) -> bool:
    """Whether the shards follow each other, and have as many items and elements as they should have together."""
    ends, sizes = table["end"].tolist(), table["elements"].tolist()
    rising = all(first <= second for first, second in pairwise([0, *ends, count]))
    return rising and ([0, *ends])[-1] == count and min(sizes, default=0) >= 0 and sum(sizes) == elements


def _marks(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where shards begin, in items and in elements."""
    return np.concatenate([[0], table["end"]]), np.concatenate([[0], np.cumsum(table["elements"])])


def _are_there(folder: str | os.PathLike, sizes: np.ndarray) -> bool:
    """Whether the folder has these shards, with `.bin` files of `sizes` bytes, and no further ones."""
    found = np.full(len(sizes), -1, np.int64)
    others = 0
    with os.scandir(Path(folder)) as entries:
        for entry in entries:
            stem, _, ending = entry.name.partition(".")
            number = stem.removeprefix("shard-")
            if ending not in ("bin", "idx", "json") or number == stem or not number.isdecimal():
                continue
            if int(number) >= len(sizes):
                if ending == "json":
                    return False
            elif ending == "bin":
                try:
                    found[int(number)] = entry.stat().st_size
                except OSError:  # a link to nowhere
                    return False
            else:
                others += 1
    return others == 2 * len(sizes) and bool((found == sizes).all())


def _digest(text: Any) -> bytes:
    """The 32 bytes of a SHA-256 in hexadecimal digits; zeros where there is none."""
    try:
        raw = bytes.fromhex(text or "")
    except (ValueError, TypeError):
        raw = b""
    return raw if len(raw) == 32 else bytes(32)

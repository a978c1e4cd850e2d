"""Bytes of a shard: three files that stand side by side in the folder of a stream.

- `shard-00000.bin`: the items' elements, little-endian, one item behind the other, nothing between.
- `shard-00000.idx`: a header, int64 `offsets` (count + 1, in elements), and int64 `lengths` (count) where an item's
  length is not its number of elements (frames of a packed video). A CRC-32 covers header and arrays.
- `shard-00000.json`: the receipt, written last: a shard without it does not exist. A CRC-32 covers all of it.

T steps, D features of a step. An item is [T], or [T, D] in a stream of dim D.
"""

import json
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError

MAGIC = b"MMFS-IDX"
VERSION = 1
DTYPES: dict[str, int] = {"uint8": 1, "int16": 2, "int32": 3, "float16": 4, "float32": 5}

# magic, version, dtype code, count, dim, elements, has lengths, CRC-32 of all other bytes of the file
_HEADER = struct.Struct("<8sIIqqqII")
_CRC_AT = _HEADER.size - 4
_RECEIPT_CRC = b', "crc32": '
_RECEIPT_KEYS = {"count", "dtype", "dim", "bytes", "sha256", "notes"}


@dataclass(frozen=True)
class Index:
    """What an `.idx` file says.

    Args:
        dtype: type of the elements.
        dim: D, or 0 for items of shape [T].
        offsets: where items begin, in elements. Shape (count + 1), int64.
        lengths: T of the items, where it does not follow from the offsets. Shape (count), int64.
    """

    dtype: np.dtype
    dim: int
    offsets: np.ndarray
    lengths: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def elements(self) -> int:
        """Number of elements in the `.bin` file."""
        return int(self.offsets[-1])

    def item_lengths(self) -> np.ndarray:
        """T of each item. Shape (count), int64."""
        return np.diff(self.offsets) // max(self.dim, 1) if self.lengths is None else self.lengths

    def to_bytes(self) -> bytes:
        body = self.offsets.astype("<i8").tobytes()
        if self.lengths is not None:
            body += self.lengths.astype("<i8").tobytes()
        code = DTYPES[self.dtype.name]
        fields = (MAGIC, VERSION, code, len(self), self.dim, self.elements, int(self.lengths is not None))
        return _HEADER.pack(*fields, zlib.crc32(body, zlib.crc32(_HEADER.pack(*fields, 0)[:_CRC_AT]))) + body

    @classmethod
    def from_bytes(cls, raw: bytes, where: str) -> "Index":
        """Parse and check.

        Raises:
            MMFairseqError: any byte is missing, added or wrong; the message begins with `where`.
        """
        if len(raw) < _HEADER.size or not raw.startswith(MAGIC):
            raise MMFairseqError(f"{where}: not an index of a data-bin shard, or cut short ({len(raw)} bytes)")
        _, version, code, count, dim, elements, has_lengths, crc = _HEADER.unpack_from(raw)
        if version != VERSION:
            raise MMFairseqError(f"{where}: format version {version}; this program reads version {VERSION}")
        expected = _HEADER.size + 8 * (count + 1 + (count if has_lengths == 1 else 0))
        if count < 0 or has_lengths > 1 or len(raw) != expected:
            raise MMFairseqError(f"{where}: {len(raw)} bytes, {expected} are needed for {count} items: binarize again")
        if zlib.crc32(raw[_HEADER.size :], zlib.crc32(raw[:_CRC_AT])) != crc:
            raise MMFairseqError(f"{where}: the checksum is wrong, the file is damaged: binarize again")
        names = {number: name for name, number in DTYPES.items()}
        offsets = np.frombuffer(raw, "<i8", count + 1, _HEADER.size)
        lengths = np.frombuffer(raw, "<i8", count, _HEADER.size + offsets.nbytes) if has_lengths else None
        sizes = np.diff(offsets)
        falling = (offsets[1:] < offsets[:-1]).any()  # a difference of two numbers of 64 bits may not fit into 64 bits
        if code not in names or dim < 0 or offsets[0] != 0 or offsets[-1] != elements or falling:
            raise MMFairseqError(f"{where}: offsets or dtype code {code} make no sense: binarize again")
        if (dim and (sizes % dim).any()) or (lengths is not None and (lengths < 0).any()):
            raise MMFairseqError(f"{where}: item sizes are not multiples of dim {dim}, or lengths are negative")
        return cls(np.dtype(names[code]).newbyteorder("<"), dim, offsets, lengths)


def receipt_bytes(receipt: dict[str, Any]) -> bytes:
    """A receipt as it stands in its file."""
    raw = json.dumps(receipt).encode()
    return raw[:-1] + _RECEIPT_CRC + f"{zlib.crc32(raw)}}}\n".encode()


def parse_receipt(raw: bytes, where: str) -> dict[str, Any]:
    """A receipt, checked as far as it speaks of itself; those of older versions have no CRC-32.

    Raises:
        MMFairseqError: any byte is missing, added or wrong; the message begins with `where`.
    """
    body, mark, crc = raw.rpartition(_RECEIPT_CRC)
    raw = body + b"}" if mark else raw
    if mark and crc != f"{zlib.crc32(raw)}}}\n".encode():
        raise MMFairseqError(f"{where}: the checksum is wrong, the receipt is damaged: binarize again")
    try:
        receipt = json.loads(raw)
        if set(receipt) != _RECEIPT_KEYS:
            raise ValueError(f"expected {', '.join(sorted(_RECEIPT_KEYS))}")
        if not all(re.fullmatch("[0-9a-f]{64}", receipt["sha256"][part]) for part in ("bin", "idx")):
            raise ValueError("sums that are none")
        if not isinstance(receipt["notes"], dict):
            raise TypeError("notes that are none")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MMFairseqError(f"{where}: not a receipt of a shard ({_short(error)}): binarize again") from error
    return receipt


def _short(error: BaseException) -> str:
    return repr(error)[:200]


def shard_paths(folder: str | os.PathLike, shard: int) -> tuple[Path, Path, Path]:
    """The `.bin`, `.idx` and `.json` of a shard."""
    stem = Path(folder) / f"shard-{shard:05d}"
    return stem.with_suffix(".bin"), stem.with_suffix(".idx"), stem.with_suffix(".json")


def open_shard(folder: str | os.PathLike, shard: int) -> tuple[Index, dict[str, Any]]:
    """Read index and receipt of a shard, and check them and the size of its `.bin` against each other.

    Returns:
        The index and the receipt.

    Raises:
        MMFairseqError: a file is missing, cut short, too long or does not belong to the others.
    """
    bin_path, idx_path, receipt_path = shard_paths(folder, shard)
    for path in (receipt_path, idx_path, bin_path):
        if not path.is_file():
            raise MMFairseqError(f"{path}: missing shard file: binarize again with --resume")
    receipt = parse_receipt(receipt_path.read_bytes(), str(receipt_path))
    index = Index.from_bytes(idx_path.read_bytes(), str(idx_path))
    size = index.elements * index.dtype.itemsize
    if bin_path.stat().st_size != size:
        raise MMFairseqError(f"{bin_path}: {bin_path.stat().st_size} bytes, {size} are needed: binarize again")
    found = {"count": len(index), "dtype": index.dtype.name, "dim": index.dim, "bytes": size}
    if (told := {key: receipt[key] for key in found}) != found:
        raise MMFairseqError(f"{receipt_path}: the receipt says {told}, the shard has {found}: binarize again")
    return index, receipt


def pack_frames(frames: list[bytes]) -> np.ndarray:
    """Several byte strings as one: int64 count, count int64 sizes, then the bytes. No frames: an empty array.

    Returns:
        Shape (bytes), uint8.
    """
    if not frames:
        return np.empty(0, np.uint8)
    head = np.array([len(frames), *map(len, frames)], "<i8")
    return np.frombuffer(head.tobytes() + b"".join(frames), np.uint8)


def frame_sizes(blob: np.ndarray) -> tuple[int, ...]:
    """Bytes of each of the frames that `pack_frames` made one of.

    Args:
        blob: shape (bytes), uint8.

    Raises:
        MMFairseqError: the blob was not written by `pack_frames`.
    """
    if not len(blob):
        return ()
    raw = np.ascontiguousarray(blob).data
    count = struct.unpack_from("<q", raw)[0] if len(blob) >= 8 else -1
    if not 0 < count <= len(blob) // 8 - 1:
        raise MMFairseqError(f"{len(blob)} bytes are not packed frames: the count {count} is impossible")
    sizes = struct.unpack_from(f"<{count}q", raw, 8)
    if min(sizes) < 0 or 8 * (count + 1) + sum(sizes) != len(blob):
        raise MMFairseqError(f"{len(blob)} bytes are not packed frames: the sizes do not add up")
    return sizes


def unpack_frames(blob: np.ndarray) -> list[np.ndarray]:
    """The opposite of `pack_frames`, without copying.

    Args:
        blob: shape (bytes), uint8.

    Returns:
        Views, each of shape (bytes of a frame), uint8.

    Raises:
        MMFairseqError: the blob was not written by `pack_frames`.
    """
    sizes = frame_sizes(blob)
    views, position = [], 8 * (len(sizes) + 1)
    for size in sizes:
        views.append(blob[position : position + size])
        position += size
    return views

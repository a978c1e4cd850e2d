"""Every byte of a stream against its checksums, and what the bytes say against each other."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import MMFairseqError
from . import joined, sums
from .format import Index, frame_sizes, parse_receipt, shard_paths

CHUNK = 1 << 20  # bytes that are read at once; they stay in the cache of a core
_EXPONENT = {2: (np.uint16, 0x7C00), 4: (np.uint32, 0x7F800000)}  # all its bits are set in infinite and NaN

Advance = Callable[[int], Any]


class Fault(NamedTuple):
    """What is wrong with a file.

    Args:
        path: of the file, relative to the data-bin.
        reason: a sentence.
    """

    path: str
    reason: str


def compare(path: Path, expected: sums.Sum, advance: Advance = lambda size: None) -> str:
    """Why a file is not the one that was written; "" if it is."""
    try:
        size = path.stat().st_size
        if size == expected.size:
            found = sums.Sum.of_file(path)
            advance(size)
            return difference(found, expected)
    except OSError as error:
        return _unreadable(error)
    return difference(sums.Sum(size, ""), expected)


def difference(found: sums.Sum, expected: sums.Sum) -> str:
    """The same for a file that was read."""
    if found.size != expected.size:
        what = "cut short" if found.size < expected.size else "too long"
        return f"{what}: {found.size} bytes, {expected.size} were written"
    return "" if found.sha256 == expected.sha256 else "damaged: its bytes are not those that were written"


def _unreadable(error: OSError) -> str:
    return "missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"


class StreamCheck:
    """The checks of one stream.

    Args:
        folder: of the stream.
        form: what the data-bin says of `dtype` and `dim`, where it does.
        rows: how many items there must be, where that is known.
        frames: items are packed frames.
        vocabulary: tokens are below it; None where there are none.
        raw: folder of the stream that it was made of, where it was.
    """

    def __init__(
        self,
        folder: Path,
        form: Mapping[str, Any],
        rows: int | None = None,
        frames: bool = False,
        vocabulary: int | None = None,
        raw: Path | None = None,
    ) -> None:
        self.folder, self.form, self.rows = folder, form, rows
        self.frames, self.vocabulary, self.raw = frames, vocabulary, raw
        try:
            content: bytes | None = (folder / sums.NAME).read_bytes()
        except OSError:
            content = None
        legible, self._whole = sums.parse(content) if content is not None else ({}, False)
        self.listed = legible if self._whole else {}  # any line of a damaged list may be the wrong one
        self._told = content is not None
        self.present = {path.name: path.stat().st_size for path in folder.glob("shard-*.*") if path.is_file()}
        names = {*self.present, *(name for name in self.listed if name.startswith("shard-"))}
        if raw is not None:
            names |= {path.name for path in raw.glob("shard-*.json")}
        numbers = {name.partition(".")[0].removeprefix("shard-") for name in names}
        self.shards = sorted(int(number) for number in numbers if number.isdecimal())
        self.counts: dict[int, int] = {}

    @property
    def size(self) -> int:
        """Bytes that `shard` reads of all shards."""
        return sum(self.present.values())

    def shard(self, shard: int, advance: Advance = lambda size: None) -> list[Fault]:
        """Check one shard; `advance` is told the bytes that were read."""
        bin_path, idx_path, receipt_path = shard_paths(self.folder, shard)
        faults: dict[str, str] = {}
        parsed: dict[Path, Any] = {}
        parsers: tuple[tuple[Path, Callable[[bytes, str], Any]], ...]
        parsers = ((receipt_path, parse_receipt), (idx_path, Index.from_bytes))
        for path, parser in parsers:
            try:
                raw = path.read_bytes()
                advance(len(raw))
                expected = self.listed.get(path.name)
                reason = difference(sums.Sum.of(raw), expected) if expected else ""
                parsed[path] = parser(raw, path.name)
            except OSError as error:
                reason = _unreadable(error)
            except MMFairseqError as error:
                reason = reason or str(error).removeprefix(f"{path.name}: ")
            if reason:
                faults[path.name] = reason
            elif self._whole and path.name not in self.listed:
                faults[path.name] = f"no shard of this stream: {sums.NAME} does not know it"
        receipt, index = parsed.get(receipt_path), parsed.get(idx_path)
        if reason := self._bin(bin_path, receipt, index, advance):
            faults[bin_path.name] = reason
        if not faults and receipt and index is not None:
            faults |= self._agreement(shard, receipt, index, idx_path, receipt_path)
        return [Fault(name, reason) for name, reason in faults.items()]

    def _bin(self, path: Path, receipt: dict[str, Any] | None, index: Index | None, advance: Advance) -> str:
        expected = self.listed.get(path.name)
        if expected is None and receipt:
            expected = sums.Sum(receipt["bytes"], receipt["sha256"]["bin"])
        try:
            size = path.stat().st_size
            if expected and size != expected.size:
                return difference(sums.Sum(size, ""), expected)
            with open(path, "rb", buffering=0) as file:
                found, element, span = self._scan(file, index, advance)
        except OSError as error:
            return _unreadable(error)
        if expected and (reason := difference(found, expected)):
            return reason
        if index is None:
            return ""
        if size != index.elements * index.dtype.itemsize:
            return f"{size} bytes, its index has {index.elements} elements of {index.dtype.name}"
        if element is not None:
            return f"item {np.searchsorted(index.offsets, element, 'right') - 1} has a number that is not finite"
        if span and self.vocabulary is not None and not 0 <= span[0] <= span[1] < self.vocabulary:
            return f"tokens are {span[0]} to {span[1]}, dict.txt has {self.vocabulary} symbols"
        return self._frames(path, index) if self.frames else ""

    def _scan(self, file: Any, index: Index | None, advance: Advance) -> tuple[sums.Sum, int | None, Any]:
        """Sum of the file, the first element that is not finite, and the smallest and the largest token."""
        digest, size, first, span = hashlib.sha256(), 0, None, None
        view = memoryview(bytearray(CHUNK))
        width = index.dtype.itemsize if index is not None else 1
        kind, bits = _EXPONENT.get(width, (np.uint8, 0)) if index is not None and index.dtype.kind == "f" else (None, 0)
        scratch = np.empty(CHUNK // width, kind) if kind is not None else None
        while True:
            count = 0
            while count < CHUNK and (more := file.readinto(view[count:])):
                count += more
            if not count:
                return sums.Sum(size, digest.hexdigest()), first, span
            digest.update(view[:count])
            whole = view[: count - count % width]
            if scratch is not None and first is None and len(whole):
                exponents = np.bitwise_and(np.frombuffer(whole, kind), bits, out=scratch[: len(whole) // width])
                if exponents.max() == bits:
                    first = size // width + int(exponents.argmax())
            if self.vocabulary is not None and index is not None:
                tokens = np.frombuffer(whole, index.dtype)
                span = (
                    (min(tokens.min(), span[0]), max(tokens.max(), span[1])) if span else (tokens.min(), tokens.max())
                )
            size += count
            advance(count)

    def _frames(self, path: Path, index: Index) -> str:
        if not index.elements:
            return ""
        data, offsets = np.asarray(np.memmap(path, index.dtype, "r")), index.offsets.tolist()
        for item, length in enumerate(index.item_lengths().tolist()):
            try:
                count = len(frame_sizes(data[offsets[item] : offsets[item + 1]]))
            except MMFairseqError as error:
                return f"item {item}: {error}"
            if count != length:
                return f"item {item} has {count} frames, its index says {length}"
        return ""

    def _agreement(
        self, shard: int, receipt: dict[str, Any], index: Index, idx_path: Path, receipt_path: Path
    ) -> Iterator[tuple[str, str]]:
        """What receipt, index, raw shard and data-bin say of each other."""
        self.counts[shard] = len(index)
        told = {key: receipt[key] for key in ("count", "dtype", "dim", "bytes")}
        size = index.elements * index.dtype.itemsize
        found = {"count": len(index), "dtype": index.dtype.name, "dim": index.dim, "bytes": size}
        if told != found:
            yield receipt_path.name, f"says {told}, the shard has {found}"
        elif receipt["sha256"]["idx"] != sums.Sum.of(idx_path.read_bytes()).sha256:
            yield idx_path.name, "not the index of its receipt"
        elif wrong := {key: value for key, value in self.form.items() if found.get(key, value) != value}:
            yield idx_path.name, f"{ {key: found[key] for key in wrong} }, the data-bin says {wrong}"
        elif self.raw is not None:
            source = shard_paths(self.raw, shard)[2]
            try:
                made_of = parse_receipt(source.read_bytes(), source.name)["sha256"]["bin"]
            except (OSError, MMFairseqError):
                return  # that is told of the raw shard
            if receipt["notes"].get("source") != made_of:
                yield receipt_path.name, "made of other raw data than there are now"

    def beside(self, whole: bool) -> Iterator[Fault]:
        """Check what stands beside the shards.

        Args:
            whole: no shard has a fault.
        """
        if not self._told:
            yield Fault(sums.NAME, sums.ABSENT)
        elif not self._whole:
            yield Fault(sums.NAME, "damaged or cut short")
        wrong = False
        for name, expected in sorted(self.listed.items()):
            if not name.startswith("shard-") and (reason := compare(self.folder / name, expected)):
                wrong = True
                yield Fault(name, reason)
        if self.shards != list(range(len(self.shards))):
            absent = sorted(set(range(max(self.shards))) - set(self.shards))
            yield Fault(shard_paths(".", absent[0])[0].name, "missing")
        elif whole and self.rows is not None and sum(self.counts.values()) != self.rows:
            yield Fault("", f"{sum(self.counts.values())} items, the data-bin has {self.rows} rows")
        elif whole and self.shards and not wrong:
            own, stored = joined.join(self.folder, len(self.shards)), joined.read(self.folder)
            if stored is None or not own.same(stored):
                yield Fault(joined.NAME, "missing, or not the index of these shards")


def check_stream(folder: Path, form: Mapping[str, Any], **known: Any) -> list[Fault]:
    """All checks of a stream alone, as `StreamCheck` takes them; paths are relative to its folder."""
    check = StreamCheck(folder, form, **known)
    faults = [fault for shard in check.shards for fault in check.shard(shard)]
    return [*faults, *check.beside(not faults)]

"""Which files of a corpus are the same, and how long recordings are: as little of them is read as answers that."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from ..manifest import Utterance
from ..media import MediaError, check_file, check_span
from ..media.child import reader
from ..media.container import Track

KINDS = ("audio", "video")
NEITHER = "no_recording_or_times"
PIECE = 1 << 14  # bytes looked at in the beginning, the middle and the end of files of one size
BLOCK = 1 << 20
_AHEAD = 64  # files whose headers are read without waiting
_ENDLESS = 1 << 60  # samples of a file that does not say how many it has


@dataclass
class Files:
    """The files that a manifest names.

    Args:
        number: path to a number that files of the same bytes have in common; an empty or missing file has its own.
        equal: paths of the same bytes, a list for each content that has several.
        faults: path to why it could not be compared: "missing_file", "not_regular", "empty" or "unreadable".
        read: bytes that were read.
    """

    number: dict[str, int] = field(default_factory=dict)
    equal: list[list[str]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    read: int = 0

    def to_json(self) -> dict[str, Any]:
        """Counts, and the first of the paths that are the same."""
        return {
            "named": len(self.number),
            "faults": dict(sorted(Counter(self.faults.values()).items())),
            "same_bytes": len(self.equal),
            "first": [sorted(paths) for paths in self.equal[:5]],
            "bytes_read": self.read,
        }


def compare(root: Path, paths: Iterable[str]) -> Files:
    """Find files of the same bytes: those of one size are told apart by three pieces, and what is left as a whole.

    Links to one file are that file. A folder of recordings that differ is hardly read at all.

    Args:
        root: what paths are relative to.
        paths: each once.
    """
    files = Files()
    places: dict[Hashable, list[str]] = {}
    sizes: dict[int, list[Hashable]] = {}
    for path in _told(list(paths), "files"):
        files.number[path] = len(files.number)
        try:
            status = os.stat(root / path)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            files.faults[path] = "missing_file" if gone else "unreadable"
            continue
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            files.faults[path] = "empty" if stat.S_ISREG(status.st_mode) else "not_regular"
            continue
        inode = (status.st_dev, status.st_ino)
        if inode not in places:
            sizes.setdefault(status.st_size, []).append(inode)
        places.setdefault(inode, []).append(path)

    def digest(inode: Hashable, size: int, whole: bool) -> Hashable:
        path = places[inode][0]
        try:
            found, read = _digest(root / path, size, whole)
        except OSError:
            files.faults |= dict.fromkeys(places[inode], "unreadable")
            return inode
        files.read += read
        return found

    alike = [(size, inodes) for size, inodes in sizes.items() if len(inodes) > 1]
    groups = _divided(alike, lambda inode, size: digest(inode, size, False), "same size")
    rest = [(size, inodes) for size, inodes in groups if size > 3 * PIECE]
    groups = [(size, inodes) for size, inodes in groups if size <= 3 * PIECE]
    groups += _divided(rest, lambda inode, size: digest(inode, size, True), "same pieces")
    own = [[path for inode in inodes for path in places[inode]] for _, inodes in groups]
    seen = {inode for _, inodes in groups for inode in inodes}
    own += [paths for inode, paths in places.items() if inode not in seen and len(paths) > 1]
    for paths_of_one in own:
        files.number |= dict.fromkeys(paths_of_one, min(files.number[path] for path in paths_of_one))
    files.equal = sorted(own, key=lambda each: files.number[each[0]])
    return files


def _divided(
    groups: Sequence[tuple[int, list[Hashable]]], key: Callable[[Hashable, int], Hashable], what: str
) -> list[tuple[int, list[Hashable]]]:
    """Groups of files divided by `key`; those of one file alone are left out."""
    found: dict[Hashable, tuple[int, list[Hashable]]] = {}
    for size, inode in _told([(size, inode) for size, inodes in groups for inode in inodes], what):
        found.setdefault((size, key(inode, size)), (size, []))[1].append(inode)
    return [group for group in found.values() if len(group[1]) > 1]


def _digest(path: Path, size: int, whole: bool) -> tuple[bytes, int]:
    """The SHA-256 of a file or of three pieces of it, and how many bytes that took."""
    total, read = hashlib.sha256(), 0
    places = [0] if whole or size <= 3 * PIECE else [0, (size - PIECE) // 2, size - PIECE]
    with open(path, "rb", buffering=0) as file:
        for place in places:
            file.seek(place)
            left = PIECE if len(places) > 1 else size
            while left and (block := file.read(min(left, BLOCK))):
                total.update(block)
                left -= len(block)
                read += len(block)
    return total.digest(), read


def headers(root: Path, rows: Sequence[Utterance]) -> dict[tuple[str, str], float | str]:
    """{(path, "audio" or "video"): what `declared` says}, of the first recording of each row; each is opened once."""
    wanted: dict[tuple[str, str], None] = {}
    for row in rows:
        for kind in KINDS:
            if medium := row.medium(kind):
                wanted[medium.path, kind] = None
                break
    calls = {key: ("declared", str(root / key[0]), key[1]) for key in wanted}
    found: dict[tuple[str, str], float | str] = {}
    read, ahead = reader({"declared": declared}), list(calls.values())
    try:
        for number, (key, call) in enumerate(_told(list(calls.items()), "lengths")):
            if number % _AHEAD == 0:
                read.expect(ahead[number : number + _AHEAD])
            found[key] = _asked(read, call)
    finally:
        read.close()
    return found


def _asked(read: Callable[..., Any], call: tuple[str, str, str]) -> float | str:
    try:
        return read(*call)
    except MediaError as error:
        if error.code not in ("crashed", "timeout"):
            return error.code
    try:
        return read(*call)  # it breaks the decoder; or the machine was busy, and a second time it goes
    except MediaError as error:
        return error.code


def seconds(
    root: Path, rows: Sequence[Utterance], known: dict[tuple[str, str], float | str] | None = None
) -> list[float | str]:
    """How long each utterance is: by its span, or else by what the header of its file declares.

    Args:
        root: what paths are relative to.
        rows: the utterances.
        known: their `headers`, where these were read already.

    Returns:
        Seconds, or why they are not known: `NEITHER`, "no_length", "span_outside" (the file, as far as it says how
        long it is, ends before the span), or a `MediaError.code`. The sound decides; where it does not say, the
        picture; and without either the times of the manifest.
    """
    lengths = headers(root, rows) if known is None else known
    read = reader({"declared": declared})  # starts when a header is wanted that is not known

    def of(row: Utterance) -> float | str:
        found: float | str = NEITHER
        for kind in KINDS:
            if (medium := row.medium(kind)) is None:
                continue
            key = (medium.path, kind)
            if key not in lengths:
                lengths[key] = _asked(read, ("declared", str(root / medium.path), kind))
            length, start = lengths[key], medium.start or 0.0
            if not isinstance(length, str):
                try:
                    check_span(Path(medium.path), start, medium.end, length)
                except MediaError as error:
                    return error.code
            if medium.end is not None:
                return medium.end - start
            if not isinstance(length, str):
                return length - start
            found = length if found == NEITHER else found
        if found == NEITHER and row.end is not None:
            return row.end - (row.start or 0.0)
        return found

    try:
        return [of(row) for row in rows]
    finally:
        read.close()


def declared(path: str | os.PathLike, kind: str) -> float | str:
    """Seconds that the header of a file declares for its "audio" or "video"; or why they are not known."""
    try:
        check_file(path)
        if kind == "audio":
            try:
                about = soundfile.info(path)
                if about.frames < _ENDLESS:
                    return about.frames / about.samplerate if about.frames else "empty"
            except (soundfile.SoundFileError, OSError, TypeError, ZeroDivisionError):
                pass  # of a kind that only PyAV reads; TypeError is for names that end in .raw
        with Track(path, kind) as track:
            return track.declared or "no_length"
    except MediaError as error:
        return error.code


def durations(rows: Sequence[Utterance], lengths: Sequence[float | str]) -> dict[str, Any]:
    """Seconds in all, of the shortest, the median and the longest utterance, and whose length is not known.

    Args:
        rows: N utterances.
        lengths: of each, as `seconds` has them.
    """
    known = np.array([length for length in lengths if not isinstance(length, str)])
    out: dict[str, Any] = {"utterances": len(known), "seconds": rounded(known.sum())}
    if known.size:
        out |= {"shortest": rounded(known.min()), "median": rounded(np.median(known)), "longest": rounded(known.max())}
    unknown: dict[str, list[str]] = {}
    for row, length in zip(rows, lengths, strict=True):
        if isinstance(length, str):
            unknown.setdefault(length, []).append(row.id)
    out["unknown"] = {reason: {"utterances": len(ids), "first": ids[:3]} for reason, ids in sorted(unknown.items())}
    return out


def rounded(seconds: float) -> float:
    """To milliseconds, as JSON holds them."""
    return round(float(seconds), 3)


def _told(items: Sequence[Any], what: str) -> Iterable[Any]:
    """With a progress bar on a terminal, where it takes a while."""
    return tqdm(items, desc=f"audit: {what}", unit="file", disable=None if len(items) > 1000 else True, leave=False)

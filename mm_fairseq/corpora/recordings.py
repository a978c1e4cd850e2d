"""What can be told of a recording without decoding it: whether it is there at all, and which tracks an mp4 has."""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import MMFairseqError, named

_POINTER = b"version https://git-lfs"
_SMALL = 1024  # bytes; a git-lfs pointer has some 130
_TRACKS = {b"vide": "video", b"soun": "audio"}
_INSIDE = {b"moov": {b"trak"}, b"trak": {b"mdia"}, b"mdia": {b"hdlr"}}

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".part")

MISSING = "no such file: copy or fetch it"
FOLDER = "a folder, not a file: name the recording in it"
EMPTY = "0 bytes in it: copy or fetch it again"
POINTER = "a git-lfs pointer, a text in place of the recording: `git lfs pull` fetches it"


def is_pointer(file: Path) -> bool:
    """Whether `file` is what git leaves in place of a large file that was not fetched, some 130 bytes of text."""
    if file.stat().st_size > _SMALL:
        return False
    return file.read_bytes().startswith(_POINTER)


def fault(file: Path) -> str:
    """Why a file holds no recording, and what to do; "" where it may hold one."""
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            return FOLDER
        if not status.st_size:
            return EMPTY
        return POINTER if status.st_size <= _SMALL and is_pointer(file) else ""
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return f"it can't be read: {error.strerror}"
    except ValueError:
        return f"{file.name!r} is no path: it holds a zero byte"


def archive_hint(raw: Path) -> str:
    """The end of a message that something is not in `raw`: which archives lie there instead; "" where none does."""
    if raw.is_file() and raw.suffix.lower() in _ARCHIVES:
        return f"; {raw.name} is an archive: extract it first"
    found = sorted(path.name for path in raw.glob("*") if path.suffix.lower() in _ARCHIVES and path.is_file())
    return f"; there are archives in {raw}: extract {named(found)} first" if found else ""


class Faults:
    """Files that hold nothing, gathered over a corpus, so that all of them are told at once."""

    def __init__(self) -> None:
        self.files: dict[str, list[Path]] = {}
        self.others: list[str] = []
        self._seen: dict[Path, bool] = {}

    def __bool__(self) -> bool:
        return bool(self.files or self.others)

    def check(self, file: Path, may_be_empty: bool = False) -> bool:
        """Whether a file may hold a recording; each is looked at once."""
        if file not in self._seen:
            reason = fault(file)
            reason = "" if may_be_empty and reason == EMPTY else reason
            self._seen[file] = not reason
            if reason:
                self.add(file, reason)
        return self._seen[file]

    def folder(self, folder: Path) -> bool:
        """Whether a folder that the corpus should have is there."""
        if not folder.is_dir():
            self.say(f"{folder}: no such folder")
            return False
        return True

    def add(self, file: Path, reason: str) -> None:
        """Gather a file with what is wrong with it and what to do."""
        self.files.setdefault(reason, []).append(file)

    def say(self, text: str) -> None:
        """Gather what is wrong but is no single file's fault."""
        self.others.append(text)

    def told(self) -> list[str]:
        """One text a reason, with the first file, the number of the others and the names of some."""
        out = []
        for reason, files in self.files.items():
            rest = f" (and {len(files) - 1} more: {named([file.name for file in files[1:]])})" if files[1:] else ""
            out.append(f"{files[0]}: {reason}{rest}")
        return out + self.others

    def settle(self, accept: bool, notes: list[str], going_on: str = "without them") -> None:
        """Note what was gathered where it is accepted.

        Raises:
            MMFairseqError: something was gathered, and `accept` is False.
        """
        told = self.told()
        if told and not accept:
            raise MMFairseqError(f"{'; '.join(told)}; --accept-missing goes on {going_on}")
        notes += [f"accepted: {each}" for each in told]


def mp4_tracks(file: Path) -> set[str] | None:
    """Which of "audio" and "video" the index of an mp4 names (ISO/IEC 14496-12, boxes moov/trak/mdia/hdlr).

    None where the file has no index, or is no mp4 at all: decoding will tell.
    """
    with open(file, "rb") as data:
        size = os.fstat(data.fileno()).st_size
        for kind, begin, end in _boxes(data, 0, size):
            if kind == b"moov":
                return {_TRACKS[name] for name in _handlers(data, kind, begin, end) if name in _TRACKS}
    return None


def _handlers(data: BinaryIO, kind: bytes, begin: int, end: int) -> Iterator[bytes]:
    if kind == b"hdlr":
        data.seek(begin + 8)
        yield data.read(4)
    for inner, start, stop in _boxes(data, begin, end) if kind in _INSIDE else ():
        if inner in _INSIDE[kind]:
            yield from _handlers(data, inner, start, stop)


def _boxes(data: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, begin and end of the content of each box; stops at what is none."""
    while begin + 8 <= end:
        data.seek(begin)
        head = data.read(16)
        size, kind = struct.unpack(">I4s", head[:8]) if len(head) >= 8 else (0, b"")
        content = begin + 8
        if size == 1 and len(head) == 16:
            size, content = struct.unpack(">Q", head[8:])[0], begin + 16
        elif size == 0:
            size = end - begin
        if size < content - begin or begin + size > end:
            return
        yield kind, content, begin + size
        begin += size

"""What can be told of a recording without decoding it: whether it is there at all, and which tracks an mp4 has."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_POINTER = b"version https://git-lfs"
_SMALL = 1024  # bytes; a git-lfs pointer has some 130
_TRACKS = {b"vide": "video", b"soun": "audio"}
_INSIDE = {b"moov": {b"trak"}, b"trak": {b"mdia"}, b"mdia": {b"hdlr"}}

EMPTY = "0 bytes in it: copy or fetch it again"
POINTER = "a git-lfs pointer, a text in place of the recording: `git lfs pull` fetches it"


def is_pointer(file: Path) -> bool:
    """Whether `file` is what git leaves in place of a large file that was not fetched, some 130 bytes of text."""
    if file.stat().st_size > _SMALL:
        return False
    return file.read_bytes().startswith(_POINTER)


def fault(file: Path) -> str:
    """Why a file holds no recording, and what to do; "" where it may hold one."""
    if not file.stat().st_size:
        return EMPTY
    return POINTER if is_pointer(file) else ""


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

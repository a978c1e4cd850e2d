"""Whether a container file ends where its own structure says that it does.

Matroska: RFC 9559; EBML: RFC 8794. FLV: Adobe Flash Video File Format Specification 10.1, annex E. AVI: RIFF, and
OpenDML 1.02 for more than one of it. MP4 and QuickTime: ISO/IEC 14496-12, section 4.2.
"""

import os
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_TAGS = {8, 9, 18}  # sound, pictures, words
_TAG_HEAD = 11  # bytes
_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx"}


def is_cut(path: Path) -> bool:
    """Whether a Matroska, WebM, FLV, AVI, MP4 or QuickTime file breaks off; False for others, or if it does not say."""
    with open(path, "rb") as file:
        size, magic = os.fstat(file.fileno()).st_size, file.read(12)
        if magic[:3] == b"FLV":
            return not _ends_with_tag(file, size)
        if magic[:4] == _EBML:
            file.seek(4)
            return _segment_end(file) > size
        if magic[:4] == b"RIFF" and magic[8:] == b"AVI ":
            return _end_of_chunks(file, size) > size
        return magic[4:8] in _BOXES and _end_of_boxes(file, size) > size


def _ends_with_tag(file: BinaryIO, size: int) -> bool:
    """The last four bytes say how long the tag before them is, and so does its head."""
    file.seek(max(0, size - 4))
    length = int.from_bytes(file.read(4), "big")
    if not _TAG_HEAD <= length <= size - 4:
        return False
    file.seek(size - 4 - length)
    head = file.read(4)
    return head[0] & 0x1F in _TAGS and int.from_bytes(head[1:], "big") + _TAG_HEAD == length


def _end_of_chunks(file: BinaryIO, size: int) -> int:
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(8)
        if head[:4] != b"RIFF" or len(head) < 8:  # whatever stands behind them
            break
        place += 8 + int.from_bytes(head[4:], "little")
        place += place % 2 if place < size else 0
    return place


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:], "big")
        if length < 8:  # up to the end, or none
            break
        place += length
    return place


def _segment_end(file: BinaryIO) -> int:
    """Where the segment ends, 0 where that is not said."""
    length = _length(file)
    if length is None:
        return 0
    file.seek(length, os.SEEK_CUR)
    length = _length(file) if file.read(4) == _SEGMENT else None
    return 0 if length is None else file.tell() + length


def _length(file: BinaryIO) -> int | None:
    """A length as EBML writes it: as many bytes as there are zeros before the first one, and it; all ones: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    number = int.from_bytes(bytes([first[0] & ((0x80 >> more) - 1)]) + file.read(more), "big")
    return None if number == (1 << 7 * (more + 1)) - 1 else number

"""Words with their times: WebVTT (https://www.w3.org/TR/webvtt1/) and SubRip files."""

import codecs
import html
import os
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import MMFairseqError

_LARGEST = 1 << 26  # bytes
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMING = re.compile(rf"^\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?$")
_NEARLY = re.compile(r"-->|^\s*\d+:\d\d[^A-Za-z]*\d+:\d\d[\d:.,\s]*$")  # meant to be such a line
_MARKS = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # of voices and fonts, and of places as SubRip files have them
_MARKED = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class Cue(NamedTuple):
    """What is said between two seconds."""

    start: float
    end: float
    text: str


def read_subtitles(path: str | os.PathLike) -> list[Cue]:
    """Read a WebVTT or SubRip file.

    Returns:
        Cues with words, in the order of time.

    Raises:
        MMFairseqError: it is none, or no text that can be read; names the line.
    """
    path = Path(path)
    with open(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise MMFairseqError(f"{path}: more than {_LARGEST >> 20} MiB, which subtitles never are")
    encoding = next((name for mark, name in _MARKED.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise MMFairseqError(f"{path}: byte {error.start} is not {encoding}; save the subtitles as UTF-8") from None
    try:
        return parse(text)
    except MMFairseqError as error:
        raise MMFairseqError(f"{path}: {error}") from error


def parse(text: str) -> list[Cue]:
    """The cues of a WebVTT or SubRip text that have words, in the order of time.

    Raises:
        MMFairseqError: there are none, or a line with times is not understood, which it names.
    """
    found: list[Cue] = []
    lines = iter(enumerate([*text.splitlines(), ""], 1))
    for number, line in lines:
        if (match := _TIMING.match(line)) is None:
            if _NEARLY.search(line):
                raise MMFairseqError(f"line {number}: {line.strip()[:80]!r}: expected 00:00:01.000 --> 00:00:02.500")
            continue
        words = []
        for _, said in lines:
            if not said.strip():
                break
            words.append(_MARKS.sub("", said))
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
        spoken = " ".join(_unescaped(" ".join(words)).split())
        if end < start:
            raise MMFairseqError(f"line {number}: {line.strip()[:80]!r}: ends before it begins")
        if spoken:
            found.append(Cue(start, end, spoken))
    if not found:
        raise MMFairseqError("no subtitles with words and times (00:00:01.000 --> 00:00:02.500) in it")
    return sorted(found)


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a number of thousands of digits
        return text


def _seconds(parts: Sequence[str | None]) -> float:
    hours, minutes, seconds, fraction = parts
    return 3600 * int(hours or 0) + 60 * int(minutes or 0) + int(seconds or 0) + float(f"0.{fraction or 0}")


class Script:
    """Finds what is said in a window.

    Args:
        cues: in any order.
        most: characters of a window; more are cut off. None for any number.
    """

    def __init__(self, cues: Iterable[Cue], most: int | None = None) -> None:
        self._cues, self._most = sorted(cues), most
        self._starts = [cue.start for cue in self._cues]
        self._longest = max((cue.end - cue.start for cue in self._cues), default=0.0)

    def __len__(self) -> int:
        return len(self._cues)

    def between(self, start: float, end: float) -> str:
        """The words of all cues that overlap a span, whole cues in the order of time; "" where there are none."""
        near = slice(bisect_left(self._starts, start - self._longest), bisect_left(self._starts, end))
        said, size = [], 0
        for cue in self._cues[near]:
            if cue.end > start:
                said.append(cue.text)
                size += len(cue.text) + 1
                if self._most is not None and size > self._most:
                    break
        return " ".join(said)[: self._most]

"""The manifest: one row an utterance, a tab-separated table that a person can write by hand.

Line 1 is `# root=DIR` (absolute, or relative to the manifest), line 2 the column names, then the rows: `COLUMNS`, then
one column a target, and further ones: what `targets.json` names as the votes of annotators, and attributes (style, sex)
by which reports are sliced. There is no quoting. An empty field is a missing modality or a missing label.

Three columns are there where a corpus has them. `features`, next to `text`, is the path of an `.npz` file with float
arrays [T, D] named `audio`, `text` or `video`: features that the corpus brings instead of recordings. `text_asr`,
among the further ones, is what a speech recogniser made of the utterance, beside its transcript `text`; `context`,
among them too, what was said before it in its dialogue.

`start` and `end` say where the utterance lies in its recording, in seconds, and cut both audio and video. A file that
is cut already, or cut elsewhere, says so behind its path with a W3C media fragment (https://www.w3.org/TR/media-frags/):
`#t=0` the whole file, `#t=1.5,3` from 1.5 s to 3 s, `#xywh=0,112,360,256` a region in pixels, joined by `&`.
"""

import math
import os
import re
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar, cast, overload

from .atomic import open_atomic
from .errors import MMFairseqError

COLUMNS = ("id", "split", "speaker", "session", "dialogue", "turn", "start", "end", "audio", "video", "text")
FEATURES = "features"
TEXT_ASR = "text_asr"
CONTEXT = "context"
MODALITIES = ("audio", "text", "video")

Item = TypeVar("Item")

_CONTROL = re.compile(r"[\t\n\r\x00]")
_FRAGMENT = re.compile(r"#((?:t|xywh)=[0-9.,]+(?:&(?:t|xywh)=[0-9.,]+)?)$")


class Medium(NamedTuple):
    """A file, or the part of it that belongs to an utterance: seconds, and a region (x, y, width, height) in pixels."""

    path: str
    start: float | None = None
    end: float | None = None
    region: tuple[int, int, int, int] | None = None

    @classmethod
    def parse(cls, text: str, start: float | None = None, end: float | None = None) -> "Medium":
        """Split `path#t=..&xywh=..`; a `t` of its own wins over `start` and `end`.

        Raises:
            MMFairseqError: the fragment is not understood.
        """
        match = _FRAGMENT.search(text)
        if not match:
            return cls(text, start, end)
        region = None
        for part in match.group(1).split("&"):
            key, _, value = part.partition("=")
            try:
                if key == "t":
                    first, _, last = value.partition(",")
                    start, end = float(first or 0), float(last) if last else None
                    if start == 0:
                        start = None
                else:
                    x, y, width, height = (int(number) for number in value.split(","))
                    region = (x, y, width, height)
            except ValueError:
                raise MMFairseqError(
                    f"media fragment {part!r} is neither t=START[,END] in seconds nor xywh=X,Y,W,H in pixels"
                ) from None
        return cls(text[: match.start()], start, end, region)


@dataclass(frozen=True)
class Utterance:
    """One row of the manifest."""

    id: str
    split: str = ""
    speaker: str = ""
    session: str = ""
    dialogue: str = ""
    turn: str = ""
    start: float | None = None
    end: float | None = None
    audio: str = ""
    video: str = ""
    text: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    features: str = ""

    def medium(self, modality: str) -> Medium | None:
        """The `audio` or `video` of this utterance, or None where there is none."""
        value = getattr(self, modality)
        return Medium.parse(value, self.start, self.end) if value else None


class OnDemand(Sequence[Item]):
    """A sequence whose items are made when they are asked for; a slice of it is a list."""

    @abstractmethod
    def item(self, number: int) -> Item:
        """The item of a number from 0 to the length."""

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> list[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | list[Item]:
        found = range(len(self))[at]
        return [self.item(number) for number in found] if isinstance(found, range) else self.item(found)


class TextRows(OnDemand[Utterance]):
    """The rows of a manifest file as its text, each parsed when it is asked for: a sixth of the memory.

    Args:
        path: of the file, for messages.
        text: of the file, with line breaks of one byte.
        header: the names of all columns.
    """

    def __init__(self, path: Path, text: bytes, header: list[str]) -> None:
        self.path, self.header = path, header
        self.text = text if text.endswith(b"\n") else text + b"\n"
        head = self.text.index(b"\n") + 1
        self.starts = array("q", [self.text.index(b"\n", head) + 1])
        while self.starts[-1] < len(self.text):
            self.starts.append(self.text.index(b"\n", self.starts[-1]) + 1)
        if len(self) and not self._line(len(self) - 1).strip():
            self.starts.pop()

    def __len__(self) -> int:
        return len(self.starts) - 1

    def item(self, number: int) -> Utterance:
        line = self._line(number)
        if not line.strip():
            raise MMFairseqError(f"{self.path}:{number + 3}: an empty line in the middle of the manifest")
        return parse_row(line, self.header, f"{self.path}:{number + 3}")

    def _line(self, row: int) -> str:
        return self.text[self.starts[row] : self.starts[row + 1] - 1].decode()


@dataclass
class Manifest:
    """All utterances of a corpus, in a fixed order.

    Args:
        root: the folder that paths are relative to.
        extra: the names of the columns behind these: labels, votes and attributes.
        utterances: the rows.
    """

    root: Path
    extra: list[str]
    utterances: list[Utterance]

    def __len__(self) -> int:
        return len(self.utterances)

    def check(self, where: str = "manifest", first_line: int = 1) -> None:
        """Raises MMFairseqError for an id that is empty or used twice, a path out of the root, an empty time span."""
        seen: dict[str, int] = {}
        for line, row in enumerate(self.utterances, start=first_line):
            reason = None
            if not row.id or row.id != row.id.strip():
                reason = "the id is empty or begins or ends with white space"
            elif row.id in seen:
                reason = f"the id stands already in line {seen[row.id]}; ids are unique over all splits"
            elif row.start is not None and not 0 <= row.start < math.inf:
                reason = f"start {row.start:g} s is not a time of 0 s or later"
            elif row.end is not None and not (row.start or 0) < row.end < math.inf:
                reason = f"end {row.end:g} s is not behind start {row.start or 0:g} s"
            elif control := next((value for value in _texts(row) if _CONTROL.search(value)), None):
                reason = f"a tab or a line break inside a field: {control!r}"
            else:
                reason = next(filter(None, (_path_fault(row, column) for column in ("audio", "video", FEATURES))), None)
            if reason:
                raise MMFairseqError(f"{where}:{line}: utterance {row.id!r}: {reason}")
            seen[row.id] = line

    @classmethod
    def read(cls, path: str | os.PathLike, as_text: bool = False) -> "Manifest":
        """Read and check a manifest file.

        Args:
            path: of the file.
            as_text: its rows are `TextRows`, to which nothing can be added.

        Raises:
            MMFairseqError: `path:line: utterance 'id': reason`.
        """
        path = Path(path)
        if not path.is_file():
            raise MMFairseqError(f"{path}: no such manifest; `mm-fairseq prepare` writes one")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise MMFairseqError(f"{path}: byte {error.start} is not UTF-8; save the manifest as UTF-8") from None
        root, header, extra = read_head(path, text.split("\n", 2)[:2])
        rows = TextRows(path, text.encode(), header)
        del text
        manifest = cls(root, extra, cast(list[Utterance], rows) if as_text else list(rows))
        manifest.check(str(path), first_line=3)
        return manifest

    def write(self, path: str | os.PathLike) -> None:
        """Check and write to `path` atomically."""
        self.check(str(path), first_line=3)
        if FEATURES in self.extra:
            raise MMFairseqError(f"{path}: the column {FEATURES!r} holds paths of features and nothing else")
        with open_atomic(path) as file:
            file.writelines(self._lines())

    def stands_in(self, path: str | os.PathLike) -> bool:
        """Whether a file has just the bytes that `write` would write."""
        try:
            with open(path, "rb") as file:
                return all(file.readline() == line for line in self._lines()) and not file.read(1)
        except FileNotFoundError:
            return False

    def _lines(self) -> Iterator[bytes]:
        columns = [*COLUMNS, *([FEATURES] if any(row.features for row in self.utterances) else [])]
        yield f"# root={self.root}\n".encode()
        yield ("\t".join([*columns, *self.extra]) + "\n").encode()
        for row in self.utterances:
            fields = [_text(getattr(row, name)) for name in columns]
            yield ("\t".join(fields + [row.labels.get(name, "") for name in self.extra]) + "\n").encode()


def read_head(path: Path, lines: list[str]) -> tuple[Path, list[str], list[str]]:
    """Check the first two lines of a manifest file.

    Returns:
        The root, the names of all columns, and those of the columns behind the fixed ones.

    Raises:
        MMFairseqError: a line or a column is missing or wrong.
    """
    if not lines[0].startswith("# root="):
        raise MMFairseqError(f"{path}:1: expected '# root=DIR', found {lines[0][:80]!r}")
    root = Path(os.path.normpath(path.parent / lines[0][len("# root=") :].strip()))
    header = lines[1].split("\t") if len(lines) > 1 else []
    unknown = [name for name in header[: len(COLUMNS)] if name not in COLUMNS]
    missing = [name for name in COLUMNS if name not in header]
    if tuple(header[: len(COLUMNS)]) != COLUMNS:
        raise MMFairseqError(
            f"{path}:2: the columns must begin with {' '.join(COLUMNS)}; unknown: {unknown}, missing: {missing}"
        )
    extra = [name for name in header[len(COLUMNS) :] if name != FEATURES]
    if len(set(header)) != len(header) or "" in extra:
        raise MMFairseqError(
            f"{path}:2: further columns must have different, non-empty names, none of {' '.join(COLUMNS)}; "
            f"found {extra}"
        )
    return root, header, extra


def normalised(text: str) -> str:
    """A transcript without case, punctuation and runs of white space, to tell equal sentences."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _text(value: str | float | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6f}".rstrip("0").rstrip(".")


def _texts(row: Utterance) -> list[str]:
    return [_text(getattr(row, name)) for name in (*COLUMNS, FEATURES)] + list(row.labels.values())


def parse_row(line: str, header: list[str], where: str) -> Utterance:
    """One line of a manifest.

    Args:
        line: without its line break.
        header: the names of all columns.
        where: the file and the number of the line, for messages.

    Raises:
        MMFairseqError: it has more or fewer fields than the header, or a time is no number.
    """
    values = line.split("\t")
    if len(values) != len(header):
        raise MMFairseqError(
            f"{where}: utterance {values[0]!r}: {len(values)} fields, the header line has {len(header)}"
        )
    row = dict(zip(header, values, strict=True))
    times: dict[str, float | None] = {}
    for name in ("start", "end"):
        try:
            times[name] = float(row[name]) if row[name] else None
        except ValueError:
            raise MMFairseqError(
                f"{where}: utterance {values[0]!r}: {name} {row[name]!r} is not a number of seconds"
            ) from None
    plain = {name: row[name] for name in (*COLUMNS, FEATURES) if name in row and name not in times}
    further = [name for name in header[len(COLUMNS) :] if name != FEATURES]
    return Utterance(**plain, **times, labels={name: row[name] for name in further})  # type: ignore[arg-type]


def _path_fault(row: Utterance, modality: str) -> str | None:
    if modality == FEATURES:
        medium = Medium(row.features) if row.features else None
    else:
        try:
            medium = row.medium(modality)
        except MMFairseqError as error:
            return f"{modality}: {error}"
    if medium is None:
        return None
    path = PurePosixPath(medium.path)
    if not medium.path:
        return f"{modality} {getattr(row, modality)!r} names no file"
    if path.is_absolute() or os.path.normpath(medium.path).split("/")[0] == "..":
        return f"{modality} path {medium.path!r} leads out of the root; write it relative to the root"
    if medium.end is not None and medium.end <= (medium.start or 0):
        return f"{modality} span {medium.start or 0:g}-{medium.end:g} s is empty"
    return None

"""Segments on the disk: kept as they come, so that a run can be interrupted, and written out at the end.

`segments.jsonl.part` has a first line that says what it is of, then one line a segment. When all are there they become
`segments.json`, `.csv`, `.vtt` and `timeline.png`, line by line, each of which appears whole or not at all.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..atomic import open_atomic
from ..errors import MMFairseqError
from ..targets import Kind
from .clips import ODD
from .timeline import Point, draw_timeline
from .windows import Segment, check_targets

PART = "segments.jsonl.part"
FILES = ("segments.json", "segments.csv", "segments.vtt", "timeline.png")
_WORST = 1 << 20  # bytes of a line that is believed

Row = Mapping[str, Any]  # a segment as `Segment.to_json` gives it


def check_free(folder: Path) -> None:
    """See that no finished run would be replaced; an interrupted one may be gone on with.

    Raises:
        MMFairseqError: there is one.
    """
    there = [name for name in FILES if (folder / name).exists()]
    if there and not (folder / PART).exists():
        raise MMFairseqError(
            f"{folder}: {', '.join(there)} of an earlier run {'is' if len(there) == 1 else 'are'} there already; "
            "replace what is there with --overwrite, or name another folder"
        )


class Shown(NamedTuple):
    """The part of the time in which a segment is the one to show: windows overlap, these parts do not."""

    start: float
    end: float
    row: Row


class SegmentFiles:
    """The files of one run. The folder is the caller's: hold its lock.

    Args:
        folder: where they lie.
        about: what decides the segments: those of an interrupted run that was of something else are not gone on with.
        kinds: target to kind.
        batch: segments that are made together; of an interrupted run only whole batches are gone on from, for what a
            model says of a window depends in its last digits on those beside it.

    Attributes:
        done: how many segments there are already.
        changed: what of `about` is not as in the interrupted run; "" where there was none, or nothing is.

    Raises:
        MMFairseqError: see `check_targets`.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], kinds: Mapping[str, Kind], batch: int = 1) -> None:
        check_targets(kinds)
        self.folder, self._kinds = folder, dict(kinds)
        self._part = folder / PART
        self._about = json.loads(json.dumps(about))  # as it will be read
        self.done, size, self.changed = self._found(batch)
        self._file: IO[bytes] = open(self._part, "r+b" if size else "wb")  # noqa: SIM115
        with self._named():
            if size:
                self._file.truncate(size)
                self._file.seek(size)
            else:
                self._file.write(_line(self._about))
                self._file.flush()

    def __enter__(self) -> "SegmentFiles":
        return self

    def __exit__(self, *_: object) -> None:
        with self._named():
            self._file.close()

    def add(self, segment: Segment) -> None:
        """Keep one more, at once: a killed run has it.

        Raises:
            OSError: there is no room for it.
        """
        with self._named():
            self._file.write(_line(segment.to_json(self._kinds)))
            self._file.flush()
        self.done += 1

    @contextmanager
    def _named(self) -> Iterator[None]:
        """The system names no file where an open one finds no room."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self._part)
            raise

    def finish(self, name: str) -> dict[str, int]:
        """Write all files.

        Args:
            name: of the recording, for the picture.

        Returns:
            Counts: `segments`, `unanswered`, and `notes` of answers by their codes, as `modality code`.

        Raises:
            OSError: there is no room for them.
        """
        self._file.close()
        self._write_json()
        self._write_csv()
        self._write_vtt()
        classes = {target: _labels(kind) for target, kind in self._kinds.items()}
        points = (Point(each.start, each.end, each.row["scores"]) for each in self._shown())
        draw_timeline(self.folder / "timeline.png", points, classes, self.done, name)
        counts = self._counts()
        self._part.unlink()
        return counts

    def _found(self, batch: int) -> tuple[int, int, str]:
        """Of an interrupted run: how many segments, the bytes of whole lines, and what is not as it was."""
        try:
            file = open(self._part, "rb")  # noqa: SIM115
        except FileNotFoundError:
            return 0, 0, ""
        with file:
            head = file.readline(_WORST)
            try:
                before = json.loads(head) if head.endswith(b"\n") else None
            except ValueError:
                before = None
            if not isinstance(before, dict):
                return 0, 0, "it cannot be read"
            if before != self._about:
                names = sorted({*before, *self._about})
                return 0, 0, ", ".join(name for name in names if before.get(name) != self._about.get(name))
            count, end, size = 0, len(head), len(head)
            for line in file:
                if not _is_whole(line):  # the power went, or the disk was full
                    break
                count, end = count + 1, end + len(line)
                size = size if count % batch else end
        return count - count % batch, size, ""

    def _rows(self) -> Iterator[Row]:
        with open(self._part, "rb") as file:
            file.readline()
            for line in file:
                yield json.loads(line)

    def _shown(self) -> Iterator[Shown]:
        """Each segment from the middle between it and the one before to that between it and the next."""
        rows: Iterable[Row | None] = chain([None], self._rows(), [None])
        middles: Iterator[tuple[float, float, Row]] = (
            (
                row["start"] if before is None else _middle(before, row),
                row["end"] if after is None else _middle(row, after),
                row,
            )
            for (before, row), (_, after) in pairwise(pairwise(rows))
            if row is not None
        )
        return (Shown(*each) for each in middles)

    def _write_json(self) -> None:
        with open_atomic(self.folder / "segments.json") as file:
            for number, row in enumerate(self._rows()):
                file.write((b",\n " if number else b"[\n ") + _line(row).strip())
            file.write(b"\n]\n")

    def _write_csv(self) -> None:
        labels = [(target, label) for target, kind in self._kinds.items() for label in kind.target.classes]
        header = [
            "start",
            "end",
            *self._kinds,
            *(f"{target}:{label}" for target, label in labels),
            "modalities",
            "note",
        ]
        with open_atomic(self.folder / "segments.csv") as raw:
            file = io.TextIOWrapper(raw, encoding="utf-8", errors=ODD, newline="", write_through=True)
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            for row in self._rows():
                scores = [row["scores"].get(target, {}).get(label, "") for target, label in labels]
                said = [_cell(row[target]) for target in self._kinds]
                writer.writerow(
                    [row["start"], row["end"], *said, *scores, "|".join(row.get("modalities", ())), _note(row)]
                )
            file.detach()

    def _write_vtt(self) -> None:
        with open_atomic(self.folder / "segments.vtt") as file:
            file.write(b"WEBVTT\n")
            for run in _runs(self._shown(), self._kinds):
                if text := run.text():
                    file.write(f"\n{_clock(run.start)} --> {_clock(run.end)}\n{text}\n".encode(errors=ODD))

    def _counts(self) -> dict[str, int]:
        counts = {"segments": 0, "unanswered": 0}
        for row in self._rows():
            counts["segments"] += 1
            counts["unanswered"] += not row["scores"]
            for note in row.get("notes", ()):
                name = f"{note['modality']} {note['code']}"
                counts[name] = counts.get(name, 0) + 1
        return counts


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode(errors=ODD) + b"\n"


def _is_whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _labels(kind: Kind) -> Sequence[str]:
    return kind.target.classes or (kind.target.name,)


def _middle(row: Row, after: Row) -> float:
    return (row["start"] + row["end"] + after["start"] + after["end"]) / 4


def _cell(value: Any) -> Any:
    return "" if value is None else "|".join(value) if isinstance(value, list) else value


def _note(row: Row) -> str:
    """What is to be said of a segment, in words; "" for nothing."""
    return row.get("note") or "; ".join(f"{note['modality']}: {note['message']}" for note in row.get("notes", ()))


def _clock(seconds: float) -> str:
    """As WebVTT writes a time."""
    total = round(seconds * 1000)
    return f"{total // 3_600_000:02}:{total // 60_000 % 60:02}:{total // 1000 % 60:02}.{total % 1000:03}"


class _Run:
    """Neighbours that are given the same labels."""

    def __init__(self, shown: Shown, said: Mapping[str, Any]) -> None:
        self.start, self.end, self.said, self.count = shown.start, shown.end, said, 0
        self._sums: dict[str, dict[str, float]] = {name: defaultdict(float) for name in said}

    def add(self, shown: Shown) -> None:
        self.end, self.count = shown.end, self.count + 1
        for name, scores in shown.row["scores"].items():
            for label, score in scores.items():
                self._sums[name][label] += score

    def text(self) -> str:
        """A line for each target, with the mean of scores; "" where there is no answer."""
        lines = []
        for name, said in self.said.items():
            if said is None:
                return ""
            labels = said if isinstance(said, list) else [name if isinstance(said, int | float) else said]
            told = ", ".join(f"{label} {self._sums[name][label] / self.count:.2f}" for label in labels) or "none"
            lines.append(told if len(self.said) == 1 or labels == [name] else f"{name}: {told}")
        text = "\n".join(" ".join(line.split()) for line in lines)
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _runs(shown: Iterable[Shown], targets: Iterable[str]) -> Iterator[_Run]:
    run, targets = None, list(targets)
    for each in shown:
        said = {name: each.row[name] for name in targets}
        if run is None or said != run.said:
            if run is not None:
                yield run
            run = _Run(each, said)
        run.add(each)
    if run is not None:
        yield run

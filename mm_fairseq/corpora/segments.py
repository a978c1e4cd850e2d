"""AudioSet's segment csv and ontology (Gemmeke et al. 2017), and which files its rows are."""

import csv
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import MMFairseqError, named
from .records import read_utf8

COLUMNS = ("YTID", "start_seconds", "end_seconds", "positive_labels")
NAMES = (
    "<YTID>.mp4, <YTID>_<start>.mp4, <YTID>_<start>_<end>.mp4 (YTID: the 11 letters of the video; seconds or "
    "milliseconds), video_<row>_start_<start>_end_<end>.mp4 (rows of the segment csv from 0; seconds)"
)

_YTID = r"[\w-]{11}"
_NUMBERED = re.compile(r"video_(\d+)_start_(\d+)_end_(\d+)", re.ASCII)
_NAMED = re.compile(rf"({_YTID})(?:_\d+(?:\.\d+)?){{0,2}}", re.ASCII)


@dataclass(frozen=True)
class Segment:
    """One row of the csv: where it stands, its number from 0, the video, seconds, and the events' names or mids."""

    line: int
    number: int
    video: str
    start: float
    end: float
    events: tuple[str, ...]

    def stems(self) -> list[str]:
        """The names that its file may have, without the ending; the most telling first."""
        times = [(f"{time:g}", f"{time:.3f}", f"{round(1000 * time)}") for time in (self.start, self.end)]
        pairs = [f"{self.video}_{start}_{end}" for start, end in zip(*times, strict=True)]
        starts = [f"{self.video}_{start}" for start in (*times[0], f"{round(self.start):06}")]
        numbered = f"video_{self.number}_start_{int(self.start)}_end_{int(self.end)}"
        return list(dict.fromkeys([numbered, *pairs, *starts, self.video]))


def video_of(stem: str) -> str:
    """The video that a file shows: its YTID, or `video_<row>`; "" where the name is none of `NAMES`."""
    if match := _NUMBERED.fullmatch(stem):
        return f"video_{match[1]}"
    match = _NAMED.fullmatch(stem)
    return match[1] if match else ""


def read_ontology(file: Path) -> dict[str, str]:
    """{mid: name} of ontology.json, a list of objects with `id` and `name`.

    Raises:
        MMFairseqError: it is none, or an entry lacks one of the two.
    """
    try:
        entries = json.loads(file.read_bytes())
    except ValueError as error:
        raise MMFairseqError(f"{file}: not JSON: {error}") from None
    names: dict[str, str] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        known = entry if isinstance(entry, dict) else {}
        mid, name = known.get("id"), known.get("name")
        if not (isinstance(mid, str) and isinstance(name, str) and mid and name):
            raise MMFairseqError(
                f'{file}: entry {number}: expected a list of objects with "id" and "name", as AudioSet\'s ontology.json'
            )
        names[mid] = " ".join(name.split())
    return names


def read_segments(file: Path, ontology: dict[str, str] | None) -> list[Segment]:
    """Rows of a segment csv: comments, one of them the columns, then `YTID, 30.000, 40.000, "/m/09x0r,/m/04rlf"`.

    Args:
        file: the csv.
        ontology: {mid: name}; None leaves the mids as they are.

    Raises:
        MMFairseqError: `file:line` of what is wrong, and how it must be.
    """
    rows: list[Segment] = []
    places: dict[str, int] = {}
    columns = list(COLUMNS)
    for line, fields in _lines(file):
        if fields[0].lstrip("# ") == COLUMNS[0] or fields[0].startswith("#"):
            found = [fields[0].lstrip("# "), *fields[1:]]
            if COLUMNS[0] in found:
                columns = _columns(file, line, found)
            continue
        if len(fields) != len(columns):
            raise MMFairseqError(
                f"{file}:{line}: {len(fields)} fields instead of {len(columns)}: {', '.join(columns)}; "
                "several labels stand in one pair of quotation marks"
            )
        row = _segment(f"{file}:{line}", line, len(rows), dict(zip(columns, fields, strict=True)), ontology)
        key = f"{row.video} {row.start:g}"
        if key in places:
            raise MMFairseqError(
                f"{file}:{line}: YTID {row.video!r} from {row.start:g} s stands already in line {places[key]}"
            )
        places[key] = line
        rows.append(row)
    if not rows:
        raise MMFairseqError(f"{file}: holds no rows")
    return rows


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_utf8(file).splitlines(), start=1):
        if line.strip():
            try:
                yield number, [field.strip() for field in next(csv.reader([line], skipinitialspace=True, strict=True))]
            except csv.Error as error:
                raise MMFairseqError(
                    f"{file}:{number}: {error}; the labels stand in one pair of quotation marks"
                ) from None


def _columns(file: Path, line: int, found: list[str]) -> list[str]:
    if missing := [column for column in COLUMNS if column not in found]:
        raise MMFairseqError(f"{file}:{line}: no column {missing[0]!r}; columns: {', '.join(map(repr, found))}")
    return found


def _segment(place: str, line: int, number: int, fields: dict[str, str], ontology: dict[str, str] | None) -> Segment:
    video = fields["YTID"]
    if not re.fullmatch(_YTID, video, re.ASCII):
        raise MMFairseqError(f"{place}: YTID {video!r}: expected 11 letters, digits, '-' or '_'")
    times = []
    for column in ("start_seconds", "end_seconds"):
        if not re.fullmatch(r"\d+(\.\d+)?", fields[column], re.ASCII):
            raise MMFairseqError(f"{place}: {column} {fields[column]!r} is not a number of seconds")
        times.append(float(fields[column]))
    if times[1] <= times[0]:
        raise MMFairseqError(f"{place}: end_seconds {times[1]:g} is not behind start_seconds {times[0]:g}")
    mids = [mid.strip() for mid in fields["positive_labels"].split(",") if mid.strip()]
    if not mids:
        raise MMFairseqError(f"{place}: positive_labels is empty")
    if ontology is not None and (strange := [mid for mid in mids if mid not in ontology]):
        raise MMFairseqError(
            f"{place}: label {strange[0]!r} is not in the ontology, which has {len(ontology)} "
            f"({named(list(ontology))}); mend the row, or name the ontology that has it with --ontology"
        )
    events = dict.fromkeys(mids if ontology is None else (ontology[mid] for mid in mids))
    return Segment(line, number, video, times[0], times[1], tuple(events))


def match_files(
    rows: Collection[Segment], files: dict[str, Path], numbered: bool
) -> tuple[dict[int, Path], list[Segment], list[Path]]:
    """Rows and files that belong together.

    Args:
        rows: of one csv.
        files: {name without the ending: file}.
        numbered: whether `video_<row>_...` are names of this csv's rows.

    Returns:
        {number of the row: file}, the rows that have none, the files that no row has.
    """
    found: dict[int, Path] = {}
    left = dict(files)
    for row in rows:
        stems = [stem for stem in row.stems() if stem in files and (numbered or not _NUMBERED.fullmatch(stem))]
        if stems:
            found[row.number] = files[stems[0]]
        for stem in stems:
            left.pop(stem, None)
    return found, [row for row in rows if row.number not in found], list(left.values())

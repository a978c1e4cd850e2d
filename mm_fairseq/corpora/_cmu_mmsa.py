"""CMU-MOSI and CMU-MOSEI in the form of MMSA and as feature files, which have the sentiment alone.

- The form of MMSA (Yu et al. 2020, https://github.com/thuiar/MMSA): `label.csv` with the columns video_id, clip_id,
  text, label, mode and, where annotated, label_T, label_A, label_V (`annotation` says the sign of `label`), and
  `Raw/<video_id>/<clip_id>.mp4`. Names are texts: leading zeros and minus signs count.
- Feature files of MulT and MMSA (see `features`).
"""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ..errors import MMFairseqError
from ..targets import Target
from ._cmu_clips import RANGE, Clip, Recording, check_range
from .base import SPLIT_NAMES, ParsedCorpus, one_line
from .features import SINGLE, Features
from .records import read_columns

COLUMNS = ("video_id", "clip_id", "text", "label", "mode")
JOINT = "$_$"


def of_mmsa(raw: Path, single: bool) -> tuple[list[Clip], list[Target]]:
    """The clips of `label.csv`, and the targets.

    Raises:
        MMFairseqError: `label.csv:line` of a number that is none, a mode nobody knows, a name that is none.
    """
    file = raw / "label.csv"
    records = read_columns(file, COLUMNS, "comma")
    letters = {f"label_{letter}": name for letter, name in SINGLE.items()} if single else {}
    if absent := [column for column in letters if column not in records[0].fields]:
        raise MMFairseqError(f"--single-labels: {file}:1: no column {absent[0]!r}")
    clips = []
    for record in records:
        place, fields = f"{file}:{record.line}", record.fields
        video, clip = _names(place, fields["video_id"], fields["clip_id"])
        mode = fields["mode"].strip()
        if mode not in SPLIT_NAMES:
            raise MMFairseqError(f"{place}: column 'mode': {mode!r} is none of {', '.join(SPLIT_NAMES)}")
        numbers = {"sentiment": _number(place, "label", fields["label"])}
        numbers |= {name: _number(place, column, fields[column]) for column, name in letters.items()}
        both = Recording(f"Raw/{video}/{clip}.mp4", False)
        text = one_line(fields["text"])
        clips.append(Clip(place, record.line, video, clip, SPLIT_NAMES[mode], text, both, both, numbers))
    names = ["sentiment", *letters.values()]
    return clips, [Target(name, "regression") for name in names]


def _names(place: str, video: str, clip: str) -> tuple[str, str]:
    """Names of video and clip; a clip may be named with its video in front, `video$_$clip`."""
    video, clip = video.strip(), clip.strip()
    if JOINT in clip:
        first, _, clip = clip.rpartition(JOINT)
        if first != video:
            raise MMFairseqError(f"{place}: column 'clip_id' is of video {first!r}, column 'video_id' of {video!r}")
    for column, name in (("video_id", video), ("clip_id", clip)):
        if not name or name in (".", "..") or "/" in name or "\\" in name:
            raise MMFairseqError(f"{place}: column {column!r}: {name!r} is not the name of a folder or file")
    return video, clip


def _number(place: str, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise MMFairseqError(f"{place}: column {column!r}: {text.strip()!r} is no number") from None
    return check_range(place, f"column {column!r}:", value, RANGE)


def of_features(raw: Path, args: argparse.Namespace) -> ParsedCorpus:
    """The rows of a feature file, whose labels must be a sentiment from -3 to 3.

    Raises:
        MMFairseqError: as `features`, or the labels are others.
    """
    prepared = Features().parse(raw, args)
    if prepared.targets[0].name != "sentiment":
        raise MMFairseqError(f"{raw}: its labels are {prepared.targets[0].name}; expected a sentiment, one number each")
    places: Counter[str] = Counter()
    rows = []
    for row in prepared.manifest.utterances:
        place = f"{raw}: split {row.split!r}: row {places[row.split]}"
        places[row.split] += 1
        for target in prepared.targets:
            check_range(place, target.name, float(row.labels[target.name]), RANGE)
        clip = row.id.removeprefix(f"{row.dialogue}_") if row.dialogue else ""
        rows.append(replace(row, turn=clip) if clip.isdecimal() else row)
    prepared.manifest.utterances = rows
    return prepared

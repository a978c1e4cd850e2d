"""What CMU-MOSI and CMU-MOSEI have in common: options, targets, recordings, the form of MMSA and of feature files.

- The raw release: transcripts of segments, recordings of whole videos or of segments, and labels as a computational
  sequence (see `csd`). Each corpus reads its own.
- The form of MMSA (Yu et al. 2020, https://github.com/thuiar/MMSA): `label.csv` with the columns video_id, clip_id,
  text, label, mode and, where annotated, label_T, label_A, label_V (`annotation` says the sign of `label`), and
  `Raw/<video_id>/<clip_id>.mp4`. Names are texts: leading zeros and minus signs count.
- Feature files of MulT and MMSA (see `features`).
"""

import argparse
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ..errors import MMFairseqError
from ..manifest import MODALITIES, Manifest, Utterance
from ..targets import SEPARATOR, Target
from ._feature_files import SPLIT_NAMES
from .base import SPLITS, ParsedCorpus, check_row, named, one_line
from .features import SINGLE, Features, modalities_of
from .recordings import Faults, archive_hint, mp4_tracks
from .records import read_columns

RANGE = (-3.0, 3.0)
COLUMNS = ("video_id", "clip_id", "text", "label", "mode")
JOINT = "$_$"
CUT_OFF = "no index in it, as of an mp4 that was cut off: extract or fetch it again"


class Recording(NamedTuple):
    """A path below the root, and whether it is the whole video, to be cut."""

    path: str
    whole: bool


@dataclass
class Clip:
    """One labelled segment.

    Args:
        place: file and line of it, or file, video and row.
        line: of the file, for `check_row`.
        video, clip: their names; together the id.
        split: train, valid or test.
        text: the transcript.
        sound, picture: where they are.
        numbers: {target: value}, regressions.
        sets: {target: members}, multilabel.
        start, end: seconds in the whole video; None where they are not told.
    """

    place: str
    line: int
    video: str
    clip: str
    split: str
    text: str
    sound: Recording
    picture: Recording
    numbers: dict[str, float]
    sets: dict[str, Sequence[str]] = field(default_factory=dict)
    start: float | None = None
    end: float | None = None

    @property
    def id(self) -> str:
        return f"{self.video}_{self.clip}"


def add_arguments(parser: argparse.ArgumentParser, labels: str) -> None:
    """The options of both corpora; `labels` is the name of the label file."""
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help=f"raw form: the labels, relative to RAW (default: {labels}, in RAW or in labels/ or Labels/ of it)",
    )
    parser.add_argument(
        "--single-labels",
        action="store_true",
        help="MMSA and feature files: the sentiment of text, audio and video alone as further targets (label_T, ...)",
    )
    parser.add_argument(
        "--modalities",
        default=",".join(MODALITIES),
        metavar="LIST",
        help="which to take (default: %(default)s); of feature files without text, transcripts are to be tokenized",
    )
    parser.add_argument(
        "--number-ids", action="store_true", help="feature files: name utterances by split and number, for ids twice"
    )
    parser.add_argument(
        "--accept-missing",
        action="store_true",
        help="raw form and MMSA: go on with what there is of clips whose recording is missing, empty, cut off or a "
        "git-lfs pointer, and without labels that have no sentence",
    )
    parser.add_argument(
        "--accept-counts", action="store_true", help="go on where the splits have not the published sizes"
    )


def form_of(raw: Path, transcripts: str, args: argparse.Namespace, own: Sequence[str]) -> tuple[str, Path]:
    """("raw", "mmsa" or "features", the folder or file to read).

    Args:
        raw: what the user gave.
        transcripts: where the raw form has them.
        args: the options; one that the form does not know is an error.
        own: names of the options of the raw form alone.

    Raises:
        MMFairseqError: `raw` has none of the forms.
    """
    if raw.is_file() and (hint := archive_hint(raw)):
        raise MMFairseqError(f"{raw}{hint}")
    base = next((folder for folder in (raw, raw / "Raw") if (folder / transcripts).is_dir()), None)
    if raw.is_file() or (raw.is_dir() and any(raw.glob("*.parquet"))):
        form, found = "features", raw
    elif (raw / "label.csv").is_file():
        form, found = "mmsa", raw
    elif base:
        form, found = "raw", base
    else:
        raise MMFairseqError(
            f"{raw}: neither the raw release ({transcripts}) nor the form of MMSA (label.csv and Raw/) nor a feature "
            f"file{archive_hint(raw)}"
        )
    known = {"raw": {"labels", "accept_missing", *own}, "mmsa": {"single_labels", "accept_missing"}}
    known["features"] = {"single_labels", "number_ids"}
    for name in sorted(set().union(*known.values()) - known[form]):
        if getattr(args, name) not in (None, False):
            forms = " and ".join(each for each in known if name in known[each])
            raise MMFairseqError(f"--{name.replace('_', '-')}: is for {forms}; {raw} has the form {form}")
    return form, found


def find_labels(base: Path, raw: Path, asked: Path | None, name: str) -> Path:
    """The label file of the raw form.

    Raises:
        MMFairseqError: it is not there.
    """
    if asked:
        if not (raw / asked).is_file():
            raise MMFairseqError(f"--labels {asked}: {raw / asked}: no such file")
        return raw / asked
    places = [folder / each / name for folder in (raw, base) for each in ("", "labels", "Labels")]
    found = next((place for place in places if place.is_file()), None)
    if not found:
        raise MMFairseqError(
            f"{raw}: no {name}, the labels as the CMU-MultimodalSDK releases them; put it there or name it: "
            "--labels FILE (the csv files of single raters are not read)"
        )
    return found


def recordings(
    root: Path, sounds: Sequence[str], pictures: Sequence[str], video: str, clip: str
) -> tuple[Recording, Recording]:
    """Sound and picture of a clip, each of the first layout whose folder is there; sound else that of the picture."""

    def first(layouts: Sequence[str], otherwise: str) -> Recording:
        layout = next((layout for layout in layouts if (root / layout).parent.is_dir()), otherwise)
        return Recording(layout.replace("VIDEO", video).replace("CLIP", clip), "CLIP" not in layout)

    picture = first(pictures, pictures[0])
    return (first(sounds, "") if any((root / layout).parent.is_dir() for layout in sounds) else picture), picture


def tell_lost(file: Path, lost: Sequence[str], accept: bool, prepared: ParsedCorpus) -> None:
    """Raises MMFairseqError for labels that have no sentence, unless `accept`; counts them."""
    if not lost:
        return
    told = f"{file}: {len(lost)} labels have no sentence among the transcripts: {named(list(lost))}"
    if not accept:
        raise MMFairseqError(f"{told}; are all transcripts there? --accept-missing goes on without them")
    prepared.excluded["no sentence"] = len(lost)
    prepared.notes.append(f"accepted: {told}")


def check_range(place: str, name: str, value: float, bounds: tuple[float, float]) -> float:
    """`value` where it is inside.

    Raises:
        MMFairseqError: it is not, or no number.
    """
    if not bounds[0] <= value <= bounds[1] or math.isnan(value):
        raise MMFairseqError(f"{place}: {name} {value:g} is not a number from {bounds[0]:g} to {bounds[1]:g}")
    return value


def finish(
    root: Path,
    clips: Sequence[Clip],
    targets: list[Target],
    sizes: Sequence[int],
    args: argparse.Namespace,
    prepared: ParsedCorpus,
) -> ParsedCorpus:
    """Rows, targets, splits and counts of the clips; `prepared` has the notes so far.

    Raises:
        MMFairseqError: a row is not possible, two clips have one name, or recordings are missing and not accepted.
    """
    wanted = modalities_of(args.modalities)
    usable = _usable(root, clips, wanted, args.accept_missing, prepared)
    seen: dict[str, str] = {}
    rows: list[Utterance] = []
    for clip in clips:
        if clip.id in seen:
            raise MMFairseqError(f"{clip.place}: clip {clip.id!r} stands already in {seen[clip.id]}")
        seen[clip.id] = clip.place
        paths = {}
        for name, recording in (("audio", clip.sound), ("video", clip.picture)):
            fragment = "" if recording.whole or clip.start is None else "#t=0"
            paths[name] = f"{recording.path}{fragment}" if (name, recording.path) in usable else ""
        text = clip.text if "text" in wanted else ""
        if not (text or any(paths.values())):
            prepared.excluded["nothing there"] = prepared.excluded.get("nothing there", 0) + 1
            continue
        labels = {name: shown(value) for name, value in clip.numbers.items()}
        labels |= {name: SEPARATOR.join(members) or SEPARATOR for name, members in clip.sets.items()}
        row = Utterance(
            clip.id,
            clip.split,
            dialogue=clip.video,
            turn=clip.clip,
            start=clip.start,
            end=clip.end,
            text=text,
            labels=labels,
            **paths,
        )
        check_row(row, root, Path(clip.place.rsplit(":", 1)[0]), clip.line)
        rows.append(row)
    prepared.manifest = Manifest(root, [target.name for target in targets], rows)
    prepared.targets = targets
    prepared.protocols["official"] = {"1": {split: [row.id for row in rows if row.split == split] for split in SPLITS}}
    prepared.apart["official"] = ("dialogues",)
    compare(prepared, sizes)
    prepared.details["videos"] = len({row.dialogue for row in rows})
    if silent := [clip.id for clip in clips if not clip.text]:
        prepared.notes.append(f"{len(silent)} clips have no text: {named(silent)}")
    return prepared


def compare(prepared: ParsedCorpus, sizes: Sequence[int]) -> None:
    """Have the sizes of the splits compared with the published ones."""
    prepared.published = dict(zip(SPLITS, sizes, strict=True))
    prepared.seen = dict(Counter(row.split for row in prepared.manifest.utterances))


def shown(value: float) -> str:
    """A number as a manifest has it, to six digits."""
    return f"{round(value, 6) + 0.0:.6f}".rstrip("0").rstrip(".")


def _usable(
    root: Path, clips: Sequence[Clip], wanted: Sequence[str], accept: bool, prepared: ParsedCorpus
) -> set[tuple[str, str]]:
    """(modality, path) of the recordings that can be used; each file is looked at once."""
    faults = Faults()
    tracks: dict[str, set[str]] = {}
    usable: dict[tuple[str, str], bool] = {}
    for clip in clips:
        for name, recording in (("audio", clip.sound), ("video", clip.picture)):
            path = recording.path
            if name not in wanted or (name, path) in usable:
                continue
            if path not in tracks:
                tracks[path] = _tracks(root / path, faults)
            usable[name, path] = name in tracks[path]
            if tracks[path] and name not in tracks[path]:
                faults.add(
                    root / path, f"no {'sound' if name == 'audio' else 'picture'} in it: extract or fetch it again"
                )
    faults.settle(accept, prepared.notes, "with what there is")
    return {key for key, good in usable.items() if good}


def _tracks(file: Path, faults: Faults) -> set[str]:
    """What is in a file; none, and a fault, where it can't be used."""
    if not faults.check(file):
        return set()
    if file.suffix.lower() == ".wav":
        return {"audio"}
    tracks = mp4_tracks(file)
    if not tracks:
        faults.add(file, CUT_OFF if tracks is None else "neither sound nor picture in it: extract or fetch it again")
    return tracks or set()


# The form of MMSA


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


# Feature files


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


def excluded(prepared: ParsedCorpus, counts: Mapping[str, int]) -> None:
    """Count what was left out, by reason."""
    prepared.excluded |= {reason: count for reason, count in counts.items() if count}

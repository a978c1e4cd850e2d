"""Clips of CMU-MOSI and CMU-MOSEI, and the corpus that they become: rows, splits, what is missing."""

import argparse
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import MMFairseqError, named
from ..manifest import Manifest, Utterance
from ..targets import SEPARATOR, Target
from .base import SPLITS, ParsedCorpus, check_row
from .features import modalities_of, number_text
from .recordings import Faults, mp4_tracks

RANGE = (-3.0, 3.0)  # of a sentiment
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


def recordings(
    root: Path, sounds: Sequence[str], pictures: Sequence[str], video: str, clip: str
) -> tuple[Recording, Recording]:
    """Sound and picture of a clip, each of the first layout whose folder is there; sound else that of the picture."""

    def first(layouts: Sequence[str], otherwise: str) -> Recording:
        layout = next((layout for layout in layouts if (root / layout).parent.is_dir()), otherwise)
        return Recording(layout.replace("VIDEO", video).replace("CLIP", clip), "CLIP" not in layout)

    picture = first(pictures, pictures[0])
    return (first(sounds, "") if any((root / layout).parent.is_dir() for layout in sounds) else picture), picture


def check_range(place: str, name: str, value: float, bounds: tuple[float, float]) -> float:
    """`value` where it is inside.

    Raises:
        MMFairseqError: it is not, or no number.
    """
    if not bounds[0] <= value <= bounds[1] or math.isnan(value):
        raise MMFairseqError(f"{place}: {name} {value:g} is not a number from {bounds[0]:g} to {bounds[1]:g}")
    return value


def finish(
    clips: Sequence[Clip],
    targets: list[Target],
    sizes: Sequence[int],
    args: argparse.Namespace,
    prepared: ParsedCorpus,
) -> ParsedCorpus:
    """Rows, targets, splits and counts of the clips; `prepared` has the root and the notes so far.

    Raises:
        MMFairseqError: a row is not possible, two clips have one name, or recordings are missing and not accepted.
    """
    root = prepared.manifest.root
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
            prepared.excluded["nothing there"] += 1
            continue
        labels = {name: number_text(value) for name, value in clip.numbers.items()}
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

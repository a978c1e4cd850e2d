"""AudioSet (Gemmeke et al. 2017, https://research.google.com/audioset), as clips that lie in class folders.

`train/<class>/*.mp4` and `eval/<class>/*.mp4`; between `train` and the classes a folder `Output_clip_len_...` may
stand, as with Shirian et al. (https://arxiv.org/abs/2207.07935). One of the two folders is enough, or class folders
without any. The class of a clip is its folder. A clip that a downloader has copied into several class folders has
several events: it is left out, counted and told.

With `--multilabel` a clip has several events. They are those of AudioSet's segment csv (`balanced_train_segments.csv`,
`eval_segments.csv`) where there is one, with the names that `ontology.json` gives, or the mids without it; a row that
has no clip is counted and told, since many videos are gone. Without a csv they are the class folders of the clip.

A file is named `video_<row>_start_<s>_end_<e>.mp4`, with the row of the segment csv from 0, or by the video's YTID:
`<YTID>.mp4`, `<YTID>_<start>.mp4`, `<YTID>_<start>_<end>.mp4`, in seconds or milliseconds. All are clips; with
`--whole-videos` a plain `<YTID>.mp4` is the whole video, cut by the row's times. Sound and picture are both of the mp4.
In class folders a file may have any other name, too, and counts as a video of its own.

Splits: test is `eval`; valid an eighth of the clips in `train`, by the SHA-256 of the video, so that the clips of a
video stay together, and stratified (the original's ratios 0.7 to 0.1). Of one folder, 0.7, 0.1 and 0.2 in that way.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import MMFairseqError, named
from ..manifest import Manifest, Utterance
from ..targets import SEPARATOR, Target
from .base import CORPORA, Corpus, Fold, ParsedCorpus, one_line
from .draw import draw_by_class
from .recordings import Faults, archive_hint, mp4_tracks
from .segments import NAMES, Segment, match_files, read_ontology, read_segments, video_of

FOLDERS = {"train": "train", "eval": "test"}  # and what becomes of them
TWO, ONE = {"train": 7 / 8, "valid": 1 / 8}, {"train": 0.7, "valid": 0.1, "test": 0.2}
TABLES = {
    "train-csv": ("balanced_train_segments.csv", "segment csv of the clips to train on"),
    "eval-csv": ("eval_segments.csv", "segment csv of the clips to test on"),
    "ontology": ("ontology.json", "AudioSet's ontology"),
}

_BETWEEN = re.compile(r"Output_clip_len_.*")


@dataclass(frozen=True)
class Clip:
    """A file, the folder of `FOLDERS` that it is from ("" for none), its video, its events, and where it is cut."""

    file: Path
    part: str
    video: str
    events: tuple[str, ...]
    span: tuple[float | None, float | None] = (None, None)

    @property
    def id(self) -> str:
        cut = f"_{self.span[0] or 0:g}_{self.span[1]:g}" if self.span[1] else ""
        return "_".join(filter(None, [self.part, _name(self.file)])) + cut


@CORPORA.register("audioset")
class AudioSet(Corpus):
    """The parser; see the module for files and splits."""

    help = "AudioSet: sound events of mp4 clips in class folders, or by segment csv and ontology"
    raw = "the folder with train and eval, or with the class folders"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--multilabel",
            action="store_true",
            help="several events a clip: those of the segment csv, or all class folders that the clip lies in",
        )
        for option, (name, what) in TABLES.items():
            parser.add_argument(
                f"--{option}",
                type=Path,
                metavar="FILE",
                help=f"{what}, relative to RAW; for --multilabel (default: {name}, where it is)",
            )
        parser.add_argument(
            "--whole-videos",
            action="store_true",
            help="files named <YTID>.mp4 are whole videos, to be cut by the segment csv; for --multilabel",
        )
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help="go on without clips that are empty or git-lfs pointers, without classes that have no clip, without "
            "folders that have no segment csv, and with what there is of a clip without sound or without picture",
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        if not raw.is_dir():
            raise MMFairseqError(f"{raw}: no such folder; RAW must be {self.raw}{archive_hint(raw)}")
        prepared = ParsedCorpus(Manifest(raw, [], []), [], {})
        tables = _tables(raw, args)
        if args.multilabel and any(part in tables for part in FOLDERS):
            _check_tables(raw, tables, args.accept_missing, prepared)
            clips = self._by_segments(raw, tables, args.whole_videos, prepared)
        elif args.whole_videos:
            raise MMFairseqError("--whole-videos: needs --multilabel and a segment csv, which says where to cut")
        else:
            clips = self._by_folder(raw, args.multilabel, args.accept_missing, prepared)
        clips = sorted(clips, key=lambda clip: clip.id)
        rows = _usable(raw, clips, args.accept_missing, prepared)
        if not rows:
            raise MMFairseqError(f"{raw}: none of its {len(clips)} clips can be used: {'; '.join(prepared.notes)}")
        events = {clip.id: clip.events for clip in clips}
        parts = {clip.id: clip.part for clip in clips}
        name, kind = ("events", "multilabel") if args.multilabel else ("event", "single")
        prepared.manifest.extra = [name]
        for row in rows:
            row.labels[name] = SEPARATOR.join(sorted(events[row.id]))
        prepared.manifest.utterances = rows
        prepared.protocols["official"] = {"1": _split(rows, events, parts, prepared)}
        classes = _classes(prepared, events, args.multilabel, args.accept_missing)
        prepared.targets = [Target(name, kind, classes)]
        prepared.seen = {"clips": len(rows), "videos": len({row.dialogue for row in rows}), "classes": len(classes)}
        return prepared

    def _by_folder(self, raw: Path, multilabel: bool, accept: bool, prepared: ParsedCorpus) -> list[Clip]:
        """The clips of the class folders.

        Raises:
            MMFairseqError: a folder holds no clip, or a file lies in none.
        """
        parts = {part: raw / part for part in FOLDERS if (raw / part).is_dir()} or {"": raw}
        clips: dict[str, Clip] = {}
        for part, folder in parts.items():
            root = _class_root(folder)
            if loose := _mp4(root.glob("*")):
                raise MMFairseqError(
                    f"{loose[0]}: lies in no class folder; a clip's folder is its class; clips that lie together need "
                    "--multilabel and a segment csv"
                )
            classes = sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")
            if not any(_mp4(name.glob("*")) for name in classes):
                raise MMFairseqError(
                    f"{root}: no class folders with mp4 clips; RAW must be {self.raw}{archive_hint(root)}"
                )
            for name in classes:
                files = _mp4(name.glob("*"))
                if not files and not accept:
                    raise MMFairseqError(
                        f"{name}: a class folder without any mp4 clip; remove it or put clips there; "
                        "--accept-missing goes on without the class"
                    )
                if not files:
                    prepared.notes.append(f"accepted: {name.relative_to(raw)}: a class folder without any mp4 clip")
                for file in files:
                    clip = Clip(file, part, _video(file, part), (one_line(name.name),))
                    known = clips.setdefault(clip.id, clip)
                    if known is not clip:
                        clips[clip.id] = Clip(known.file, part, known.video, (*known.events, *clip.events))
        several = [name for name, clip in clips.items() if len(clip.events) > 1]
        if several and not multilabel:
            prepared.excluded["several class folders"] = len(several)
            prepared.notes.append(
                f"left out, {len(several)} clips that lie in several class folders, so have several events "
                f"(--multilabel takes them): {named(several)}"
            )
            clips = {name: clip for name, clip in clips.items() if len(clip.events) == 1}
        return list(clips.values())

    def _by_segments(self, raw: Path, tables: dict[str, Path], whole: bool, prepared: ParsedCorpus) -> list[Clip]:
        """The clips of the rows of the segment csvs.

        Raises:
            MMFairseqError: `file:line` in a csv, a file whose name is none of `NAMES`, or no row has a clip.
        """
        tables = dict(tables)
        ontology = tables.pop("ontology", None)
        names = read_ontology(ontology) if ontology else None
        if names is None:
            prepared.notes.append("no ontology.json: the events are mids, not names")
        clips: list[Clip] = []
        for part, table in tables.items():
            rows = read_segments(table, names)
            folder = raw / part if (raw / part).is_dir() else raw
            if folder == raw and len(tables) == 1:
                part = ""
            files = {file.stem: file for file in reversed(_mp4(folder.rglob("*")))}
            found, gone, strange = match_files(rows, files, numbered=folder != raw or len(tables) == 1)
            if not found:
                raise MMFairseqError(
                    f"{table}: none of its {len(rows)} rows has a clip below {folder}, where {len(files)} mp4 files "
                    f"are; files are named {NAMES}"
                )
            if folder != raw or len(tables) == 1:
                if unknown := [file for file in strange if not video_of(file.stem)]:
                    raise MMFairseqError(f"{unknown[0]}: not the name of a clip; clips are named {NAMES}")
                if strange:
                    prepared.excluded[f"in no row of {table.name}"] = len(strange)
                    prepared.notes.append(
                        f"left out, {len(strange)} clips that are in no row of {table.name}: "
                        f"{named([file.name for file in strange])}"
                    )
            if gone:
                prepared.excluded[f"missing clips of {table.name}"] = len(gone)
                told = named([f"{row.video} (line {row.line})" for row in gone])
                prepared.notes.append(f"missing: {len(gone)} of {len(rows)} rows of {table.name} have no clip: {told}")
            clips += [_clip(found[row.number], part, row, whole) for row in rows if row.number in found]
        _check_cuts(clips)
        return clips


def _tables(raw: Path, args: argparse.Namespace) -> dict[str, Path]:
    """The tables that are there: {"train", "eval" or "ontology": file}.

    Raises:
        MMFairseqError: one that was asked for is not, or does not count without `--multilabel`.
    """
    found = {}
    for option, (name, _) in TABLES.items():
        asked = getattr(args, option.replace("-", "_"))
        if asked and not args.multilabel:
            raise MMFairseqError(f"--{option} {asked}: counts with --multilabel only; else the class folders are read")
        file = raw / (asked or name)
        if asked and not file.is_file():
            raise MMFairseqError(f"--{option} {asked}: {file}: no such file")
        if file.is_file():
            found[option.removesuffix("-csv")] = file
    return found


def _check_tables(raw: Path, tables: dict[str, Path], accept: bool, prepared: ParsedCorpus) -> None:
    """Raises MMFairseqError for a folder of clips without its segment csv, unless `accept`; counts what is left out."""
    for part in FOLDERS:
        left = [] if part in tables else _mp4((raw / part).rglob("*"))
        if not left:
            continue
        told = f"{raw / part}: {len(left)} clips without a segment csv, {TABLES[f'{part}-csv'][0]}"
        if not accept:
            raise MMFairseqError(f"{told}; --{part}-csv FILE names it, --accept-missing goes on without them")
        prepared.notes.append(f"accepted: {told}")
        prepared.excluded["no segment csv"] = len(left)


def _clip(file: Path, part: str, row: Segment, whole: bool) -> Clip:
    cut = whole and file.stem == row.video
    return Clip(file, part, row.video, row.events, (row.start or None, row.end) if cut else (None, None))


def _check_cuts(clips: Sequence[Clip]) -> None:
    """Raises MMFairseqError where one file is the clip of two rows."""
    seen: set[str] = set()
    for clip in clips:
        if clip.id in seen:
            raise MMFairseqError(
                f"{clip.file}: the clip of two rows, segments of one video; name the files <YTID>_<start>_<end>.mp4, "
                "or say --whole-videos where it is the whole video"
            )
        seen.add(clip.id)


def _class_root(folder: Path) -> Path:
    between = sorted(path for path in folder.iterdir() if path.is_dir() and _BETWEEN.fullmatch(path.name))
    if len(between) > 1:
        raise MMFairseqError(f"{folder}: has {named([path.name for path in between])}; leave one of them there")
    return between[0] if between else folder


def _mp4(files: Iterable[Path]) -> list[Path]:
    return sorted(file for file in files if file.suffix.lower() == ".mp4" and file.name[0] != "." and not file.is_dir())


def _name(file: Path) -> str:
    """Of a clip: that of its file, with the class folder in front where the file has a name of its own."""
    return file.stem if video_of(file.stem) else re.sub(r"[^\w.-]+", "_", f"{file.parent.name}_{file.stem}")


def _video(file: Path, part: str) -> str:
    """The video of a clip; numbered ones are numbered apart in each part, a file with a name of its own is a video."""
    video = video_of(file.stem)
    if video and not video.startswith("video_"):
        return video
    return "_".join(filter(None, [part, video or _name(file)]))


def _usable(raw: Path, clips: Sequence[Clip], accept: bool, prepared: ParsedCorpus) -> list[Utterance]:
    """Rows of the clips that hold something.

    Raises:
        MMFairseqError: one is empty, a git-lfs pointer, or has no sound or no picture, and `accept` is False.
    """
    rows: list[Utterance] = []
    faults = Faults()
    for clip in clips:
        path = clip.file.relative_to(raw).as_posix()
        audio, video = path, path
        usable = faults.check(clip.file)
        tracks = mp4_tracks(clip.file) if usable else None
        if tracks is not None and not tracks:
            faults.add(clip.file, "neither sound nor picture in it: replace the clip")
            usable = False
        if not usable:
            prepared.excluded["nothing in the file"] += 1
        else:
            if tracks == {"video"}:
                faults.add(clip.file, "no sound in it: replace the clip")
                audio = ""
            elif tracks == {"audio"}:
                faults.add(clip.file, "no picture in it: replace the clip")
                video = ""
            start, end = clip.span
            rows.append(
                Utterance(id=clip.id, dialogue=clip.video, start=start, end=end, audio=audio, video=video, labels={})
            )
    faults.settle(accept, prepared.notes, "with what there is")
    return rows


def _split(
    rows: Sequence[Utterance], events: dict[str, tuple[str, ...]], parts: dict[str, str], prepared: ParsedCorpus
) -> Fold:
    fixed = [row for row in rows if FOLDERS.get(parts[row.id]) == "test"]
    drawn = [row for row in rows if FOLDERS.get(parts[row.id]) != "test"]
    two = bool(fixed and drawn)
    members = [(row.dialogue, row.id, events[row.id]) for row in (drawn if two else rows)]
    fold: Fold = draw_by_class(members, TWO if two else ONE)
    if two:
        fold["test"] = [row.id for row in fixed]
        both = {row.dialogue for row in fixed} & {row.dialogue for row in drawn}
        if both:
            prepared.notes.append(f"{len(both)} videos are both in train and in eval: {named(sorted(both))}")
    else:
        prepared.notes.append("one folder: train, valid and test are drawn from it, 0.7, 0.1 and 0.2")
    return fold


def _classes(
    prepared: ParsedCorpus, events: dict[str, tuple[str, ...]], multilabel: bool, accept: bool
) -> tuple[str, ...]:
    """Sorted names of all that train has, and of all there are where there are several events a clip.

    Raises:
        MMFairseqError: valid or test has a class that train lacks, of one event a clip, and `accept` is False.
    """
    fold = prepared.protocols["official"]["1"]
    known = {split: {event for name in ids for event in events[name]} for split, ids in fold.items()}
    for split in ("valid", "test"):
        if absent := sorted(known["train"] - known[split]):
            prepared.notes.append(f"{split} has no clip of {len(absent)} classes: {named(absent)}")
        strange = sorted(known[split] - known["train"])
        if strange and not (multilabel or accept):
            raise MMFairseqError(
                f"{split}: has clips of {named(strange)}, train has none; put some there, or remove the class; "
                "--accept-missing goes on"
            )
        if strange:
            prepared.notes.append(f"train has no clip of {len(strange)} classes that {split} has: {named(strange)}")
    return tuple(sorted(known["train"] | known["valid"] | known["test"]))

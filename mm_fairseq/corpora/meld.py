"""MELD (Poria et al. 2019, https://arxiv.org/abs/1810.02508), read from `MELD.Raw`.

`{train,dev,test}_sent_emo.csv` beside the folders of clips, `dia{D}_utt{U}.mp4`, one an utterance. Numbers of dialogues
begin anew in every split, so ids and dialogues here begin with its name: `train_dia0_utt0`. A folder with the tables
alone is a corpus of texts.

Two targets: emotion (seven classes) and sentiment (three), in the order of the release. 9,989 / 1,109 / 2,610
utterances. The six main characters speak in all three splits, and most episodes have dialogues in several of them.

`StartTime` and `EndTime` count in the episode; the clips are cut already, and are read whole (`#t=0`). Two clips are
known to be bad: the utterance is kept with its words. Some copies of the tables have the quotation marks of
Windows-1252 in the midst of UTF-8, as bytes or as the control characters U+0080 to U+009F: they are read as what they
stand for.
"""

import argparse
import codecs
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import MMFairseqError, named
from ..manifest import CONTEXT, Manifest, Utterance
from ..targets import Target
from .base import CORPORA, SPLITS, Corpus, ParsedCorpus, check_row, one_line
from .recordings import archive_hint, fault, mp4_tracks
from .records import read_columns

EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
SENTIMENTS = ("neutral", "positive", "negative")
NAMES = {"train": "train", "valid": "dev", "test": "test"}
FOLDERS = {"train": "train_splits", "valid": "dev_splits_complete", "test": "output_repeated_splits_test"}
PUBLISHED_EMOTIONS = {
    "train": (4710, 1205, 268, 683, 1743, 271, 1109),
    "valid": (470, 150, 40, 111, 163, 22, 153),
    "test": (1256, 281, 50, 208, 402, 68, 345),
}
PUBLISHED_SENTIMENTS = {"train": (4710, 2334, 2945), "valid": (470, 233, 406), "test": (1256, 521, 833)}
KNOWN_BAD = {
    "train_dia125_utt3": "the clip of the release cannot be decoded",
    "dev_dia110_utt7": "the release has no such clip",
}
COLUMNS = ("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID")
BETWEEN = " | "  # two utterances of a context
LONG = 60.0  # seconds; nobody says an utterance as long as that

_TIME = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})")
_WRONG = re.compile("[\x80-\x9f]")
_MENDED = "mm_fairseq_cp1252"


@dataclass(frozen=True)
class Line:
    """One record: its row, without a clip, and the place that errors name."""

    row: Utterance
    file: Path
    number: int

    @property
    def clip(self) -> str:
        """The name of its clip, without the ending."""
        return self.row.id.partition("_")[2]


@CORPORA.register("meld")
class Meld(Corpus):
    """The parser; see the module for files and counts."""

    help = "MELD: emotion and sentiment in the dialogues of a series; 7 and 3 classes"
    raw = (
        "MELD.Raw, the folder with train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv, and the folders of clips"
    )

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--context",
            type=int,
            default=0,
            metavar="N",
            help="a further column `context`: the N utterances before this one in its dialogue, the nearest last, each "
            f"as SPEAKER: WORDS, with {BETWEEN.strip()!r} between them",
        )
        parser.add_argument(
            "--context-in-text",
            action="store_true",
            help="with --context: the transcript is the context and, behind it, SPEAKER: WORDS of the utterance",
        )
        parser.add_argument(
            "--accept-missing", action="store_true", help="keep utterances whose clip is missing or broken, without it"
        )
        parser.add_argument(
            "--accept-counts", action="store_true", help="go on where the counts differ from the published ones"
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        if args.context < 0 or (args.context_in_text and not args.context):
            raise MMFairseqError(
                f"--context {args.context}: 1 or more utterances; 0 for none, without --context-in-text"
            )
        nested = raw / "MELD.Raw"
        root = nested if nested.is_dir() and not _table(raw, "train").is_file() else raw
        if not root.is_dir():
            raise MMFairseqError(f"{root}: no such folder; RAW must be {self.raw}{archive_hint(root)}")
        prepared = ParsedCorpus(
            Manifest(root, ["emotion", "sentiment", "season"], []),
            [Target("emotion", "single", EMOTIONS), Target("sentiment", "single", SENTIMENTS)],
            protocols={},
            published=_published(),
        )
        lines = {split: read_split(_table(root, split), split, prepared) for split in SPLITS}
        rows = _with_clips(root, lines, args.accept_missing, prepared)
        if args.context:
            rows = with_context(rows, args.context, args.context_in_text)
            prepared.manifest.extra.append(CONTEXT)
        prepared.manifest.utterances = rows
        for row in rows:
            for name in (row.split, *(f"{row.split} {name} {row.labels[name]}" for name in ("emotion", "sentiment"))):
                prepared.seen[name] = prepared.seen.get(name, 0) + 1
        for split in SPLITS:
            prepared.details[f"dialogues_{split}"] = len({row.dialogue for row in rows if row.split == split})
        prepared.protocols["official"] = {
            "1": {split: [row.id for row in rows if row.split == split] for split in SPLITS}
        }
        return prepared


def read_split(file: Path, split: str, prepared: ParsedCorpus) -> list[Line]:
    """The rows of one table, in its order; what was mended is told in `prepared`.

    Raises:
        MMFairseqError: `file:line: utterance 'id': column 'name': reason`, or an utterance that stands there twice.
    """
    if not file.is_file():
        raise MMFairseqError(f"{file}: no such file; RAW must be {Meld.raw}{archive_hint(file.parent)}")
    text, mended = decoded(file)
    if mended:
        prepared.notes.append(f"{file.name}: {mended} signs of Windows-1252 in UTF-8 were read as what they stand for")
    lines: dict[str, Line] = {}
    timeless, long = [], []
    for record in read_columns(file, COLUMNS, "comma", text):
        fields = {name: one_line(value) for name, value in record.fields.items()}
        place = f"{file}:{record.line}"
        for name in ("Dialogue_ID", "Utterance_ID"):
            if not fields[name].isdecimal():
                raise MMFairseqError(f"{place}: column {name!r}: {fields[name]!r} is not a number")
        dialogue, turn = (int(fields[name]) for name in ("Dialogue_ID", "Utterance_ID"))
        row_id = f"{NAMES[split]}_dia{dialogue}_utt{turn}"
        where = f"{place}: utterance {row_id!r}"
        if row_id in lines:
            raise MMFairseqError(f"{where}: stands already in line {lines[row_id].number}")
        for name, classes in (("Emotion", EMOTIONS), ("Sentiment", SENTIMENTS)):
            if fields[name] not in classes:
                raise MMFairseqError(f"{where}: column {name!r}: {fields[name]!r} is none of {', '.join(classes)}")
        if not fields["Utterance"]:
            raise MMFairseqError(f"{where}: column 'Utterance' is empty")
        start, end = (_seconds(fields.get(name, ""), name, where) for name in ("StartTime", "EndTime"))
        if start is None or end is None or end <= start:
            timeless.append(row_id)
            start = end = None
        elif end - start > LONG:
            long.append(row_id)
        season, episode = fields.get("Season", ""), fields.get("Episode", "")
        row = Utterance(
            id=row_id,
            split=split,
            speaker=fields["Speaker"],
            session=f"season{season}_episode{episode}" if season and episode else "",
            dialogue=f"{NAMES[split]}_dia{dialogue}",
            turn=str(turn),
            start=start,
            end=end,
            text=fields["Utterance"],
            labels={"emotion": fields["Emotion"], "sentiment": fields["Sentiment"], "season": season},
        )
        check_row(row, file.parent, file, record.line)
        lines[row_id] = Line(row, file, record.line)
    if timeless:
        prepared.notes.append(f"{file.name}: {len(timeless)} utterances have no usable times: {named(timeless)}")
    if long:
        prepared.notes.append(
            f"{file.name}: {len(long)} utterances are over {LONG:g} s long by their times, a slip of the release that "
            f"their clips were cut by: {named(long)}"
        )
    return list(lines.values())


def decoded(file: Path) -> tuple[str, int]:
    """The text of a table, UTF-8 but for single signs of Windows-1252, and how many of these there are.

    Raises:
        MMFairseqError: it holds NUL bytes, as UTF-16 does.
    """
    data = file.read_bytes()
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise MMFairseqError(f"{file}:{line}: a NUL byte: the table is UTF-16, or no table; save it as UTF-8")
    mended = 0

    def mend(error: UnicodeError) -> tuple[str, int]:
        nonlocal mended
        assert isinstance(error, UnicodeDecodeError)
        mended += 1
        return _windows(error.object[error.start]), error.start + 1

    codecs.register_error(_MENDED, mend)
    text, controls = _WRONG.subn(lambda sign: _windows(ord(sign[0])), data.decode("utf-8-sig", _MENDED))
    return text, mended + controls


def with_context(rows: Sequence[Utterance], count: int, in_text: bool = False) -> list[Utterance]:
    """Each row with the label column `context`: the `count` utterances before it in its dialogue, the nearest last.

    Args:
        rows: in any order; turns are numbers.
        count: at most so many.
        in_text: put context, speaker and words together as the transcript.
    """
    dialogues: dict[str, list[Utterance]] = {}
    for row in rows:
        dialogues.setdefault(row.dialogue, []).append(row)
    said: dict[str, str] = {}
    for members in dialogues.values():
        members.sort(key=lambda row: int(row.turn))
        for place, row in enumerate(members):
            said[row.id] = BETWEEN.join(map(_line, members[max(0, place - count) : place]))
    out = []
    for row in rows:
        text = BETWEEN.join(filter(None, (said[row.id], _line(row)))) if in_text else row.text
        out.append(replace(row, text=text, labels={**row.labels, CONTEXT: said[row.id]}))
    return out


def _line(row: Utterance) -> str:
    return f"{row.speaker}: {row.text}"


def _with_clips(root: Path, lines: dict[str, list[Line]], accept: bool, prepared: ParsedCorpus) -> list[Utterance]:
    """The rows, with their clips where there are folders of clips at all.

    Raises:
        MMFairseqError: folders of some splits, clips of some utterances are missing or hold nothing, and `accept` is
            False; an archive is not unpacked.
    """
    folders = {split: _folder(root, split) for split in SPLITS}
    rows: list[Utterance] = []
    told: list[str] = []
    for split, folder in folders.items():
        if folder is None:
            if reason := _no_folder(root, split, folders):
                told.append(reason)
            rows += [line.row for line in lines[split]]
            continue
        files = {file.stem: file for file in sorted(folder.glob("*.mp4")) if file.name[0] != "."}
        faults: dict[str, list[str]] = {}
        for line in lines[split]:
            path = files.pop(line.clip, None)
            if line.row.id in KNOWN_BAD and (path is None or split == "train"):
                prepared.known_bad[f"{line.row.id}.mp4"] = KNOWN_BAD[line.row.id]
                rows.append(line.row)
                continue
            reason = _broken(path) if path else "no such clip"
            if path is None or reason:
                faults.setdefault(reason, []).append(f"{folder / line.clip}.mp4 ({line.file.name}:{line.number})")
                rows.append(line.row)
                continue
            medium = f"{path.relative_to(root).as_posix()}#t=0"
            tracks = mp4_tracks(path) or set()
            row = replace(
                line.row, audio=medium if "audio" in tracks else "", video=medium if "video" in tracks else ""
            )
            check_row(row, root, line.file, line.number)
            rows.append(row)
        told += [f"{reason}: {named(clips)}" for reason, clips in faults.items()]
        prepared.details[f"without_clip_{split}"] = sum(map(len, faults.values()))
        if files:
            prepared.details[f"clips_in_no_row_{split}"] = len(files)
            prepared.notes.append(
                f"left out, {len(files)} clips of {folder.name} that are in no row: {named(list(files))}"
            )
    if told and not accept:
        raise MMFairseqError(f"{'; '.join(told)}; --accept-missing keeps these utterances without their clips")
    prepared.notes += [f"accepted: {each}" for each in told]
    if not any(folders.values()) and not told:
        prepared.notes.append(f"no clips: none of the folders {', '.join(FOLDERS.values())} is there; the texts alone")
    return rows


def _no_folder(root: Path, split: str, folders: dict[str, Path | None]) -> str:
    """What is amiss where a split has no folder of clips; "" where no split has one."""
    for ending in (".tar.gz", ".tar", ".tgz"):
        if (archive := root / f"{NAMES[split]}{ending}").is_file():
            return f"{archive}: not unpacked, there is no folder {FOLDERS[split]}"
    return f"{root / FOLDERS[split]}: no such folder, but other splits have theirs" if any(folders.values()) else ""


def _broken(file: Path) -> str:
    reason = fault(file)
    if not reason and not mp4_tracks(file):
        reason = "no index of sound and picture in it, as in a file that was cut off: unpack or fetch it again"
    return reason


def _folder(root: Path, split: str) -> Path | None:
    found = (root / NAMES[split] / FOLDERS[split], root / FOLDERS[split])
    return next((folder for folder in found if folder.is_dir()), None)


def _table(root: Path, split: str) -> Path:
    name = f"{NAMES[split]}_sent_emo.csv"
    inside = root / NAMES[split] / name
    return inside if inside.is_file() and not (root / name).is_file() else root / name


def _seconds(text: str, name: str, where: str) -> float | None:
    """`00:16:21,940` in seconds; None where there is none."""
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if not match:
        raise MMFairseqError(f"{where}: column {name!r}: {text!r} is not a time as 00:16:21,940")
    hours, minutes, seconds = (int(part) for part in match.groups()[:3])
    return 3600 * hours + 60 * minutes + seconds + float(f"0.{match[4]}")


def _windows(code: int) -> str:
    """The sign of a byte in Windows-1252; the five that it does not have stay control characters."""
    try:
        return bytes([code]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(code)


def _published() -> dict[str, int]:
    counts: Counter[str] = Counter()
    for split in SPLITS:
        counts[split] = sum(PUBLISHED_EMOTIONS[split])
        counts.update(
            {f"{split} emotion {name}": n for name, n in zip(EMOTIONS, PUBLISHED_EMOTIONS[split], strict=True)}
        )
        counts.update(
            {f"{split} sentiment {name}": n for name, n in zip(SENTIMENTS, PUBLISHED_SENTIMENTS[split], strict=True)}
        )
    return dict(counts)

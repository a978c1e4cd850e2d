"""Fluent Speech Commands (Lugosch et al. 2019, https://arxiv.org/abs/1904.03670), read from its release.

`data/{train,valid,test}_data.csv` with the columns `,path,speakerId,transcription,action,object,location` and
`wavs/speakers/<speakerId>/<uuid>.wav`. Copies without the index and without `speakerId` are read as well: the speaker
is the folder of the recording.

23,132 / 3,118 / 3,793 recordings of 97 speakers; 31 intents, triples of an action, an object and a location. The
official splits share no speaker but nearly all sentences: every transcript of validation stands in training too, always
with the same three labels, so that a table of transcripts answers all of them. Two further protocols ask for more:

- `unseen_speakers`: five folds by speaker;
- `unseen_phrasings`: no sentence of validation or test stands in training. Of each intent some sentences go to training
  (always one), to validation (where there are three) and to test (where there are two). Speakers are shared.
"""

import argparse
import hashlib
import os
import wave
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import MMFairseqError, named
from ..manifest import Manifest, Utterance, normalised
from ..targets import Target
from .base import CORPORA, SPLITS, Corpus, Fold, ParsedCorpus, check_row, one_line
from .draw import rotate
from .recordings import POINTER, archive_hint, is_pointer
from .records import read_columns

CLASSES = {
    "action": ("activate", "bring", "change language", "deactivate", "decrease", "increase"),
    "object": (
        *("Chinese", "English", "German", "Korean", "heat", "juice", "lamp", "lights"),
        *("music", "newspaper", "none", "shoes", "socks", "volume"),
    ),
    "location": ("bedroom", "kitchen", "none", "washroom"),
}
PUBLISHED = {"train": 23132, "valid": 3118, "test": 3793, "speakers": 97, "intents": 31}
FOLDS = 5
LEAST_FOLDS = 3
SHARE = 0.15  # of the sentences of an intent, for validation and for test
SMALL = 1024  # bytes; only of such a file is it asked whether it holds any sample


@dataclass(frozen=True)
class Line:
    """One record: its row, and the place that errors name."""

    row: Utterance
    split: str
    file: Path
    number: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.number}"

    @property
    def intent(self) -> tuple[str, ...]:
        return tuple(self.row.labels[name] for name in CLASSES)


@CORPORA.register("fluent_speech_commands")
class FluentSpeechCommands(Corpus):
    """The parser; see the module for files and protocols."""

    help = "Fluent Speech Commands: action, object and location of spoken commands; 97 speakers"
    raw = "fluent_speech_commands_dataset, the folder with data and wavs"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--csv",
            type=Path,
            default=Path("data"),
            metavar="DIR",
            help="folder of train_data.csv, valid_data.csv and test_data.csv, relative to RAW (default: data)",
        )
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help="go on without recordings that are missing, empty or git-lfs pointers",
        )
        parser.add_argument(
            "--accept-counts",
            action="store_true",
            help="go on where counts or labels differ from the published ones, or a csv but that of train is missing",
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        nested = raw / "fluent_speech_commands_dataset"
        root = nested if nested.is_dir() and not (raw / "wavs").is_dir() else raw
        prepared = ParsedCorpus(Manifest(root, list(CLASSES), []), [], {}, published=PUBLISHED)
        lines = [line for split in SPLITS for line in self._split(root, split, args, prepared)]
        _check_unique(lines)
        prepared.targets = self._targets(lines, args.accept_counts, prepared)
        prepared.manifest.utterances = _usable(lines, root, args.accept_missing, prepared)
        kept = {row.id for row in prepared.manifest.utterances}
        lines = [line for line in lines if line.row.id in kept]
        sizes = Counter(line.split for line in lines)
        speakers = sorted({line.row.speaker for line in lines})
        prepared.seen = {split: sizes[split] for split in SPLITS}
        prepared.seen |= {"speakers": len(speakers), "intents": len({line.intent for line in lines})}
        prepared.details["sentences"] = len({normalised(line.row.text) for line in lines} - {""})
        if silent := [line.row.id for line in lines if not line.row.text]:
            prepared.notes.append(f"{len(silent)} utterances have no transcript: {named(silent)}")
        prepared.protocols["official"] = {
            "1": {split: [line.row.id for line in lines if line.split == split] for split in SPLITS}
        }
        if len(speakers) < LEAST_FOLDS:
            prepared.notes.append(f"no protocol unseen_speakers: it needs {LEAST_FOLDS} speakers, not {len(speakers)}")
        else:
            members = ((line.row.speaker, line.row.id) for line in lines)
            prepared.protocols["unseen_speakers"] = rotate(members, speakers, min(FOLDS, len(speakers)))
            prepared.apart["unseen_speakers"] = ("speakers",)
        if fold := unseen_phrasings([line.row for line in lines], prepared.notes):
            prepared.protocols["unseen_phrasings"] = {"1": fold}
            prepared.apart["unseen_phrasings"] = ("words",)
        return prepared

    def _split(self, root: Path, split: str, args: argparse.Namespace, prepared: ParsedCorpus) -> list[Line]:
        """The rows of one csv, as they stand.

        Raises:
            MMFairseqError: `file:line`, and the column where one is at fault.
        """
        file = root / args.csv / f"{split}_data.csv"
        if not file.is_file() and split != "train":
            if not args.accept_counts:
                raise MMFairseqError(f"{file}: no such file; --accept-counts goes on without it")
            prepared.notes.append(f"accepted: {file}: no such file")
            return []
        if not file.is_file():
            raise MMFairseqError(
                f"{file}: no such file; RAW must be {self.raw}; --csv names another folder of tables"
                f"{archive_hint(root)}"
            )
        lines = []
        for record in read_columns(file, ("path", "transcription", *CLASSES), "comma"):
            place, fields = f"{file}:{record.line}", {name: one_line(text) for name, text in record.fields.items()}
            labels = {name: fields[name] for name in CLASSES}
            if empty := next((name for name in ("path", *CLASSES) if not fields[name]), ""):
                raise MMFairseqError(f"{place}: column {empty!r} is empty")
            for name, label in labels.items():
                if label not in CLASSES[name] and not args.accept_counts:
                    raise MMFairseqError(
                        f"{place}: column {name!r}: {label!r} is none of {', '.join(CLASSES[name])}; "
                        "--accept-counts takes further labels from train"
                    )
            path = os.path.normpath(fields["path"]).replace(os.sep, "/")
            row = Utterance(
                id="_".join(_below_speakers(path)),
                speaker=_speaker(path, fields.get("speakerId", ""), place),
                audio=path,
                text=fields["transcription"],
                labels=labels,
            )
            check_row(row, root, file, record.line)
            lines.append(Line(row, split, file, record.line))
        return lines

    def _targets(self, lines: Sequence[Line], accept: bool, prepared: ParsedCorpus) -> list[Target]:
        """Action, object and location: the published labels in their order, then others that train has.

        Raises:
            MMFairseqError: a label of valid or test that train lacks.
        """
        targets = []
        for name, published in CLASSES.items():
            known = {line.row.labels[name] for line in lines if line.split == "train"}
            further = sorted(known - set(published))
            for line in lines:
                if (label := line.row.labels[name]) not in known:
                    raise MMFairseqError(
                        f"{line.place}: column {name!r}: {label!r} does not occur in train, "
                        f"which has {', '.join(sorted(known))}"
                    )
            if further and accept:
                prepared.notes.append(f"accepted: {name}: labels that the corpus does not have: {', '.join(further)}")
            targets.append(Target(name, "single", (*published, *further)))
        return targets


def unseen_phrasings(rows: Sequence[Utterance], notes: list[str]) -> Fold | None:
    """A split whose validation and test have no sentence of training; the same on every machine.

    The sentences of an intent, normalised, are taken in the order of their SHA-256: a share for test, one for
    validation, the rest for training. What cannot be met is told in `notes`. None where nothing is left for a part.
    """
    spoken = [row for row in rows if normalised(row.text)]
    by_sentence: dict[str, Counter[tuple[str, ...]]] = {}
    for row in spoken:
        by_sentence.setdefault(normalised(row.text), Counter())[_intent(row)] += 1
    sentences: dict[tuple[str, ...], list[str]] = {}
    for sentence in sorted(by_sentence, key=lambda text: hashlib.sha256(text.encode()).digest()):
        intents = by_sentence[sentence]
        most = min(intents, key=lambda intent: (-intents[intent], intent))
        sentences.setdefault(most, []).append(sentence)
    part: dict[str, str] = {}
    for group in sentences.values():
        size = len(group)
        share = max(1, round(SHARE * size))
        ends = (share if size > 1 else 0, 2 * share if size > 2 else size - 1)
        for position, sentence in enumerate(group):
            part[sentence] = "test" if position < ends[0] else "valid" if position < ends[1] else "train"
    fold: Fold = {split: [row.id for row in spoken if part[normalised(row.text)] == split] for split in SPLITS}
    if empty := [split for split in SPLITS if not fold[split]]:
        notes.append(f"no protocol unseen_phrasings: too few sentences an intent, nothing for {', '.join(empty)}")
        return None
    notes += _wanting(spoken, part)
    if left := len(rows) - len(spoken):
        notes.append(f"unseen_phrasings: {left} utterances without a transcript are in no part")
    return fold


def _wanting(rows: Sequence[Utterance], part: dict[str, str]) -> list[str]:
    """What the parts of `unseen_phrasings` do not have."""
    notes = []
    of_split = {split: [row for row in rows if part[normalised(row.text)] == split] for split in SPLITS}
    intents = {split: {_intent(row) for row in found} for split, found in of_split.items()}
    for split in ("valid", "test"):
        if absent := sorted(" / ".join(intent) for intent in intents["train"] - intents[split]):
            notes.append(f"unseen_phrasings: too few sentences for {split}: {named(absent)}")
        for name in CLASSES:
            known = {row.labels[name] for row in of_split["train"]}
            if strange := sorted({row.labels[name] for row in of_split[split]} - known):
                notes.append(f"unseen_phrasings: train lacks labels of {split}: {name} {named(strange)}")
    known = {word for row in of_split["train"] for word in normalised(row.text).split()}
    words = {word for split in ("valid", "test") for row in of_split[split] for word in normalised(row.text).split()}
    if strange := sorted(words - known):
        notes.append(f"unseen_phrasings: words of valid and test that train lacks: {named(strange, 8)}")
    return notes


def _intent(row: Utterance) -> tuple[str, ...]:
    return tuple(row.labels[name] for name in CLASSES)


def _below_speakers(path: str) -> tuple[str, ...]:
    """`wavs/speakers/<speakerId>/<uuid>.wav`: the last two parts, without the ending."""
    return PurePosixPath(path).with_suffix("").parts[-2:]


def _speaker(path: str, column: str, place: str) -> str:
    parts = PurePosixPath(path).parts
    folder = parts[-2] if len(parts) > 2 and parts[-3] == "speakers" else ""
    if not (folder or column):
        raise MMFairseqError(
            f"{place}: column 'path': {path!r} names no speaker, as wavs/speakers/<speakerId>/<uuid>.wav does, and "
            "there is no column 'speakerId'"
        )
    if folder and column and folder != column:
        raise MMFairseqError(f"{place}: column 'speakerId': {column!r}, but the path is of speaker {folder!r}")
    return column or folder


def _check_unique(lines: Iterable[Line]) -> None:
    paths: dict[str, str] = {}
    ids: dict[str, Line] = {}
    for line in lines:
        path = line.row.audio
        if path in paths:
            raise MMFairseqError(f"{line.place}: column 'path': {path!r} stands already in {paths[path]}")
        paths[path] = line.place
        other = ids.setdefault(line.row.id, line)
        if other is not line:
            raise MMFairseqError(
                f"{line.place}: column 'path': {path!r} and {other.row.audio!r} ({other.place}) have the same speaker "
                "and file name"
            )


def _usable(lines: Sequence[Line], root: Path, accept: bool, prepared: ParsedCorpus) -> list[Utterance]:
    """The rows whose recording is there and holds samples.

    Raises:
        MMFairseqError: one is not, and `accept` is False; names `file:line` of the first.
    """
    faults: dict[str, list[Line]] = {"no such file": [], POINTER: [], "no samples in the file": []}
    kept: list[Line] = []
    for line in lines:
        fault = _fault(root / line.row.audio)
        (faults[fault] if fault else kept).append(line)
    for fault, found in faults.items():
        if not found:
            continue
        rest = f", and {len(found) - 1} more" if len(found) > 1 else ""
        told = f"{found[0].place}: column 'path': {found[0].row.audio!r}: {fault}{rest}"
        if not accept:
            raise MMFairseqError(f"{told}; --accept-missing goes on without")
        prepared.notes.append(f"accepted: {told}")
        prepared.excluded[fault.partition(",")[0]] = len(found)
    return [line.row for line in kept]


def _fault(file: Path) -> str:
    try:
        size = file.stat().st_size
    except OSError:
        return "no such file"
    if size > SMALL:
        return ""
    if is_pointer(file):
        return POINTER
    try:
        with wave.open(str(file)) as sound:
            return "" if sound.getnframes() else "no samples in the file"
    except (wave.Error, EOFError):
        return "" if size else "no samples in the file"  # another format: decoding will tell

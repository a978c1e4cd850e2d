"""What the lists of other toolkits (EmoBox, Kaldi, wav2vec) have in common: recordings, labels, perhaps splits.

Each reader makes `Entry`s; here they become a corpus of one target. A split that the lists do not have is drawn.
"""

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import MMFairseqError, named
from ..manifest import Manifest, Utterance
from ..targets import KINDS, SEPARATOR, Target, kind_of
from .base import CALLED, SPLITS, Fold, ParsedCorpus, check_row, hint_of_numbers, one_line
from .draw import draw_by_recording, draw_by_speaker, draw_validation
from .recordings import archive_hint, fault
from .records import read_utf8


@dataclass(frozen=True)
class Entry:
    """One utterance of a list.

    Args:
        row: id, split, speaker, times and text; its label under the target's name, its `audio` still empty.
        path: of the recording, as it stands in the list.
        file: the list.
        line: of the list.
    """

    row: Utterance
    path: str
    file: Path
    line: int

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}: utterance {self.row.id!r}"


def add_root(parser: argparse.ArgumentParser, default: str) -> None:
    """The options of all readers: `--root` and `--accept-missing`."""
    parser.add_argument(
        "--root", type=Path, metavar="DIR", help=f"the folder that relative paths begin in (default: {default})"
    )
    parser.add_argument(
        "--accept-missing",
        action="store_true",
        help="go on without utterances whose recording is missing, empty or a git-lfs pointer",
    )


def add_target(parser: argparse.ArgumentParser) -> None:
    """`--target` and `--classes`."""
    parser.add_argument(
        "--target",
        default="emotion",
        metavar="NAME[:KIND]",
        help=f"what the labels are; kinds: {', '.join(KINDS.names())} (default: emotion, of kind single)",
    )
    parser.add_argument(
        "--classes",
        metavar="A,B,C",
        help="the classes in the order of their numbers; any other label is then an error (default: those that occur, "
        "sorted)",
    )


def by_split(raw: Path, form: str) -> dict[str, Path]:
    """{split: file} of the parts that are there.

    Args:
        raw: the folder.
        form: path of a part's file, with NAME for what the split is called.

    Raises:
        MMFairseqError: two files are the same part.
    """
    found: dict[str, Path] = {}
    for split, names in CALLED.items():
        here = [file for name in names if (file := raw / form.replace("NAME", name)).is_file()]
        if len(here) > 1:
            raise MMFairseqError(f"{here[1]}: {here[0]} is the {split} part already; leave one of them there")
        if here:
            found[split] = here[0]
    return found


def named_lines(file: Path) -> Iterator[tuple[int, str, str]]:
    """Lines `NAME[ REST]` of a file of one line an utterance: number, name, rest; empty lines are passed over.

    Raises:
        MMFairseqError: the file is empty or not UTF-8, or a name stands twice.
    """
    seen: dict[str, int] = {}
    for number, line in enumerate(read_utf8(file).split("\n"), start=1):
        if not line.strip():
            continue
        name, _, rest = line.strip().replace("\t", " ").partition(" ")
        if name in seen:
            raise MMFairseqError(f"{file}:{number}: {name!r} stands already in line {seen[name]}")
        seen[name] = number
        yield number, name, rest.strip()
    if not seen:
        raise MMFairseqError(f"{file}: holds no lines")


def collect(entries: Sequence[Entry], root: Path, args: argparse.Namespace) -> ParsedCorpus:
    """A corpus without targets and protocols: ids are unique, recordings are there.

    Args:
        entries: in the order of the manifest.
        root: what relative paths begin in; the manifest's root too, unless paths lead out of it.
        args: with `accept_missing`.

    Raises:
        MMFairseqError: `file:line: utterance 'id': reason`.
    """
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        raise MMFairseqError(f"--root {root}: no such folder")
    paths = [os.path.normpath(root / entry.path) for entry in entries]
    if not all(Path(path).is_relative_to(root) for path in paths):
        root = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))
    prepared = ParsedCorpus(Manifest(root, [], []), [], {})
    seen: dict[str, Entry] = {}
    faults: dict[str, list[Entry]] = {}
    for entry, path in zip(entries, paths, strict=True):
        other = seen.setdefault(entry.row.id, entry)
        if other is not entry:
            raise MMFairseqError(
                f"{entry.where}: the id stands already in {other.file}:{other.line}; ids are unique over all splits"
            )
        file = Path(path)
        if reason := (fault(file) if file.is_file() else "no such file"):
            faults.setdefault(reason, []).append(entry)
            continue
        row = replace(entry.row, audio=file.relative_to(root).as_posix())
        check_row(row, root, entry.file, entry.line)
        prepared.manifest.utterances.append(row)
    told = [_told(reason, found) for reason, found in faults.items()]
    if told and not args.accept_missing:
        hint = archive_hint(root)
        raise MMFairseqError(
            f"{'; '.join(told)}; --root DIR reads them elsewhere, --accept-missing goes on without{hint}"
        )
    if told and not prepared.manifest.utterances:
        raise MMFairseqError(f"no recording is there: {'; '.join(told)}; --root DIR reads them elsewhere")
    prepared.notes += [f"accepted: {each}" for each in told]
    if faults:
        prepared.excluded["no recording"] = sum(map(len, faults.values()))
    return prepared


def _told(reason: str, found: Sequence[Entry]) -> str:
    rest = f" (and {len(found) - 1} more)" if found[1:] else ""
    return f"{found[0].where}: {found[0].path!r}: {reason}{rest}"


def complete(prepared: ParsedCorpus, entries: Iterable[Entry], args: argparse.Namespace) -> ParsedCorpus:
    """`prepared` with the target of `add_target`, as `set_target`, and the protocol, as `set_protocol`."""
    set_target(prepared, entries, args)
    set_protocol(prepared)
    return prepared


def set_target(prepared: ParsedCorpus, entries: Iterable[Entry], args: argparse.Namespace) -> None:
    """Make the target of `--target` and `--classes`, and check every label.

    Raises:
        MMFairseqError: a label that the target does not have, or no label at all; of given splits, where the classes
            are those that occur: valid or test has a label that train lacks. Names file, line and utterance.
    """
    name, _, kind = args.target.partition(":")
    rows = prepared.manifest.utterances
    kind = kind or "single"
    labels = [row.labels.get(name, "") for row in rows]
    if rows and not any(labels):
        raise MMFairseqError(f"target {name!r}: no utterance has a label")
    classes = tuple(one_line(label) for label in args.classes.split(",")) if args.classes else ()
    by_occurrence = bool(KINDS.get(kind).min_classes and not classes)
    if by_occurrence:
        classes = tuple(sorted({each for label in labels for each in _members(label, kind)}))
    target = Target(name, kind, classes)
    check = kind_of(target)
    kept = {row.id for row in rows}
    used = [entry for entry in entries if entry.row.id in kept]
    for entry in used:
        try:
            check.check(entry.row.labels.get(name, ""), "")
        except MMFairseqError as error:
            raise MMFairseqError(f"{entry.where}: {error}") from None
    prepared.targets, prepared.manifest.extra = [target], [name]
    if missing := [row.id for row in rows if not row.labels.get(name, "")]:
        prepared.notes.append(
            f"target {name!r}: {len(missing)} of {len(rows)} utterances have no label: {named(missing)}"
        )
    if by_occurrence:
        hint = hint_of_numbers(classes, f"--target {name}:regression")
        _check_learnable(used, name, kind, hint)
        prepared.notes += [f"target {name!r}: {hint}"] if hint else []


def _check_learnable(entries: Sequence[Entry], name: str, kind: str, hint: str) -> None:
    """Raises MMFairseqError where valid or test has a label that train lacks: it may be a slip of the pen."""
    labels = [set(_members(entry.row.labels.get(name, ""), kind)) for entry in entries]
    known = set().union(*(found for entry, found in zip(entries, labels, strict=True) if entry.row.split == "train"))
    for entry, found in zip(entries, labels, strict=True) if known else ():
        if entry.row.split and (strange := found - known):
            raise MMFairseqError(
                f"{entry.where}: label {min(strange)!r} stands in {entry.row.split} but nowhere in train, which has "
                f"{', '.join(sorted(known))}; correct it, or, to keep it, name all classes by --classes"
                f"{'; ' if hint else ''}{hint}"
            )


def _members(label: str, kind: str) -> list[str]:
    return [each for each in (label.split(SEPARATOR) if kind == "multilabel" else [label]) if each]


def set_protocol(prepared: ParsedCorpus) -> None:
    """The splits of the lists, or drawn ones: by speaker where every utterance has one and there are three or more."""
    rows = prepared.manifest.utterances
    given = {row.split for row in rows} - {""}
    if len(given) > 1:
        fold: Fold = {split: [row.id for row in rows if row.split == split] for split in SPLITS}
        if not fold["valid"] and len(fold["train"]) > 1:
            part, what = draw_validation([row for row in rows if row.split == "train"])
            fold |= part
            prepared.notes.append(f"no list of valid: 15 % of train were drawn for it by a hash of the {what}")
        prepared.protocols["official"] = {"1": fold}
    elif all(row.speaker for row in rows) and len({row.speaker for row in rows}) >= len(SPLITS):
        prepared.protocols["by_speaker"] = {"1": draw_by_speaker(rows, prepared.notes)}
        prepared.apart["by_speaker"] = ("speakers",)
    else:
        prepared.protocols["random"] = {"1": draw_by_recording(rows, prepared.notes)}

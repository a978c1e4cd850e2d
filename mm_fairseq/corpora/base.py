"""What every corpus shares: the result of parsing, the account of it, and the prepared folder on disk."""

import argparse
import glob
import json
import os
import re
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..errors import MMFairseqError
from ..manifest import COLUMNS, CONTEXT, FEATURES, MODALITIES, TEXT_ASR, Manifest, Utterance
from ..registry import Registry
from ..targets import SEPARATOR, Target, write_targets
from .votes import vote_account

SPLITS = ("train", "valid", "test")
CALLED = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "dev", "validation", "development"),
    "test": ("test", "eval", "testing", "evaluation"),
}
"""{split: what releases call it}."""
SPLIT_NAMES = {name: split for split, names in CALLED.items() for name in names}
FILES = "files"
APART = ("speakers", "sessions", "dialogues", "recordings", "transcripts", "words")
"""What a protocol may keep apart; `preprocessing.audit_overlaps` says what each of them is."""
PREPARED = frozenset({"manifest.tsv", "targets.json", "account.json", "audit.json", "account.html", "splits", FILES})
"""All that a prepared folder may hold."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Fold = dict[str, list[str]]
"""{split: ids}."""
Examine = Callable[[Path, dict[str, Any]], Mapping[str, str]]
"""From the folder that is being written, with its `FILES`, and the account to further files, {name: contents}."""


@dataclass
class ParsedCorpus:
    """A parsed corpus.

    Args:
        manifest: the rows.
        targets: what the label columns mean.
        protocols: {protocol: {fold: {split: ids}}}; the first protocol and its first fold are the default.
        excluded: what was left out of the manifest, {reason or label: count}.
        published: counts that the literature gives, {name: count}; compared with `seen`.
        seen: the same counts, as found.
        details: further counts of the corpus, for `account.json`.
        notes: sentences that the user must read.
        known_bad: {clip: what is wrong with it}, recordings known to be damaged or lost that were left out.
        apart: {protocol: what no two of its splits have in common}, of `APART`, where it promises that.
        same: {id: utterance}, where one utterance has several rows under different ids.
        files: {path below `FILES`: what writes that file}, for corpora whose recordings or features are not files; the
            manifest's root is then `FILES`, relative to the prepared folder.
    """

    manifest: Manifest
    targets: list[Target]
    protocols: dict[str, dict[str, Fold]]
    excluded: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    details: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    known_bad: dict[str, str] = field(default_factory=dict)
    apart: dict[str, tuple[str, ...]] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)
    files: Mapping[str, Callable[[Path], Any]] = field(default_factory=dict)


class Corpus:
    """One raw corpus. Subclasses are registered in `CORPORA` under the name that users type.

    `help` is the line of `mm-fairseq prepare --help`, `raw` says what the first argument is.
    """

    help = ""
    raw = ""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add the options of this corpus alone."""

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        """Read the corpus at `raw`.

        Raises:
            MMFairseqError: `file:line: utterance 'id': reason` for a fault in a file, else the option or folder.
        """
        raise AssertionError("a corpus defines parse")


CORPORA: Registry[type[Corpus]] = Registry("corpus")


def read_text(path: Path) -> str:
    """A text file of unknown age: UTF-8 (with or without a mark), else Windows-1252, else Latin-1 (any bytes)."""
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def one_line(text: str) -> str:
    """`text` with every run of white space as one space, as a manifest field needs it."""
    return " ".join(text.replace("\x00", "").split())


def named(ids: Sequence[str], shown: int = 3) -> str:
    """The first few of `ids` for a message: "a, b, c and 7 more"."""
    rest = f" and {len(ids) - shown} more" if len(ids) > shown else ""
    return ", ".join(ids[:shown]) + rest


def hint_of_numbers(labels: Sequence[str], option: str) -> str:
    """What to do where labels that were taken for classes are numbers; "" where they are not, or fewer than three.

    Args:
        labels: each once.
        option: that makes them numbers.
    """
    if len(labels) < 3 or not all(map(_NUMBER.fullmatch, labels)):
        return ""
    return f"all {len(labels)} labels are numbers: where they were measured and are no names, give {option}"


def check_row(row: Utterance, root: Path, file: Path, line: int) -> None:
    """Check one row where it was read, so that the error names `file:line`.

    Raises:
        MMFairseqError: the row has neither audio nor text nor video nor features, or `Manifest.check` refuses it.
    """
    Manifest(root, [], [row]).check(str(file), first_line=line)
    if not (row.audio or row.text or row.video or row.features):
        raise MMFairseqError(f"{file}:{line}: utterance {row.id!r}: has no audio, no text and no video")


def check_counts(prepared: ParsedCorpus, accept: bool = False) -> None:
    """Compare what was found with the published counts.

    Raises:
        MMFairseqError: they differ and `accept` is False.
    """
    wrong = [
        f"{name} {prepared.seen.get(name, 0)} instead of {count}"
        for name, count in prepared.published.items()
        if prepared.seen.get(name, 0) != count
    ]
    if wrong and not accept:
        raise MMFairseqError(
            f"the counts differ from the published ones: {'; '.join(wrong)}; is the corpus complete? "
            "--accept-counts goes on all the same"
        )
    if wrong:
        prepared.notes.append(f"accepted: counts differ from the published ones: {'; '.join(wrong)}")


def account(name: str, prepared: ParsedCorpus) -> dict[str, Any]:
    """Everything countable about a prepared corpus, as `account.json` holds it."""
    rows = prepared.manifest.utterances
    by_id = {row.id: row for row in rows}
    attributes = attribute_names(prepared.manifest, prepared.targets)
    media = [*MODALITIES, *([FEATURES] if any(row.features for row in rows) else [])]
    return {
        "corpus": name,
        "utterances": len(rows),
        "excluded": dict(sorted(prepared.excluded.items())),
        "modalities": _counted(media, rows),
        "targets": {target.name: label_counts(target, rows) for target in prepared.targets},
        "votes": {target.name: vote_account(target, rows) for target in prepared.targets if target.votes},
        "attributes": {
            name: dict(sorted(Counter(row.labels.get(name, "") for row in rows).items())) for name in attributes
        },
        "speakers": dict(sorted(Counter(row.speaker for row in rows if row.speaker).items())),
        "sessions": dict(sorted(Counter(row.session for row in rows if row.session).items())),
        "dialogues": len({row.dialogue for row in rows} - {""}),
        "protocols": [{"name": protocol, "folds": list(folds)} for protocol, folds in prepared.protocols.items()],
        "splits": {
            protocol: {
                fold: {
                    split: _split_account(prepared.targets, [by_id[i] for i in ids], media)
                    for split, ids in splits.items()
                }
                for fold, splits in folds.items()
            }
            for protocol, folds in prepared.protocols.items()
        },
        "published": prepared.published,
        "seen": prepared.seen,
        "details": prepared.details,
        "known_bad": prepared.known_bad,
        "notes": prepared.notes,
    }


def attribute_names(manifest: Manifest, targets: Sequence[Target]) -> list[str]:
    """The manifest's further columns that are neither labels nor votes nor a transcript nor the context."""
    taken = {TEXT_ASR, CONTEXT, *(name for target in targets for name in (target.name, target.votes))}
    return [name for name in manifest.extra if name not in taken]


def label_counts(target: Target, rows: Sequence[Utterance]) -> dict[str, float]:
    """Count of each class, and of "" for rows without a label; for numbers their count, least, mean and greatest.

    Of sets of labels every member counts; `|` is the count of the empty set, where it occurs.
    """
    labels = [row.labels.get(target.name, "") for row in rows]
    counts: dict[str, float] = {}
    if target.kind == "multilabel":
        members = Counter(label for text in labels for label in text.split(SEPARATOR))
        counts.update({label: members[label] for label in target.classes})
        if SEPARATOR in labels:
            counts[SEPARATOR] = labels.count(SEPARATOR)
    elif target.classes:
        counts.update({label: labels.count(label) for label in target.classes})
    else:
        values = [float(label) for label in labels if label]
        counts["labelled"] = len(values)
        if values:
            counts.update(min=min(values), mean=round(sum(values) / len(values), 6), max=max(values))
    if "" in labels:
        counts[""] = labels.count("")
    return counts


def _counted(media: Sequence[str], rows: Sequence[Utterance]) -> dict[str, int]:
    return {name: sum(bool(getattr(row, name)) for row in rows) for name in media}


def _split_account(targets: Sequence[Target], rows: Sequence[Utterance], media: Sequence[str]) -> dict[str, Any]:
    return {
        "utterances": len(rows),
        "modalities": _counted(media, rows),
        "speakers": len({row.speaker for row in rows if row.speaker}),
        "targets": {target.name: label_counts(target, rows) for target in targets},
    }


def write(
    name: str, prepared: ParsedCorpus, out: Path, overwrite: bool = False, examine: Examine | None = None
) -> dict[str, Any]:
    """Write the prepared folder in one step: it appears complete or not at all. Returns the account.

    Args:
        name: the corpus, as registered.
        prepared: what the corpus parsed.
        out: the folder; new, empty, or with `overwrite` one that this function wrote.
        examine: a last look at what is to be written; it may add to the account, or raise an error.

    Raises:
        MMFairseqError: `out` is taken, a column or the protocols do not fit the manifest, or as `examine`.
    """
    out = Path(os.path.abspath(out))
    check_free(out, overwrite)
    _check_columns(prepared)
    _check_protocols(prepared)
    counts = account(name, prepared)
    own = f".{out.name}.{socket.gethostname()}"
    temporary = out.with_name(f"{own}.{os.getpid()}.tmp")
    old = out.with_name(f"{own}.{os.getpid()}.old")
    _sweep(out.parent, own)
    temporary.mkdir(parents=True)
    try:
        _write_files(temporary / FILES, prepared.files)
        for file, text in (examine(temporary, counts) if examine else {}).items():
            (temporary / file).write_text(text, encoding="utf-8")
        for protocol, folds in prepared.protocols.items():
            for fold, splits in folds.items():
                folder = temporary / "splits" / protocol / fold
                folder.mkdir(parents=True)
                for split in SPLITS:
                    (folder / split).write_text("".join(f"{i}\n" for i in splits.get(split, [])), encoding="utf-8")
        write_targets(temporary / "targets.json", prepared.targets)
        (temporary / "account.json").write_text(
            json.dumps(counts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        prepared.manifest.write(temporary / "manifest.tsv")
        if out.exists():
            out.rename(old)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not out.exists() and old.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    return counts


def _write_files(folder: Path, files: Mapping[str, Callable[[Path], Any]]) -> None:
    for name, write_to in tqdm(files.items(), desc="prepare", unit="file", disable=None if files else True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_to(path)


def _sweep(folder: Path, own: str) -> None:
    """Remove what runs that were killed had begun on this host; another's processes can't be asked about."""
    for path in folder.glob(f"{glob.escape(own)}.*.tmp"):
        number = path.name.split(".")[-2]
        if not number.isdecimal():
            continue
        try:
            os.kill(int(number), 0)  # asks whether there is such a process
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except (PermissionError, OverflowError):
            continue


def check_free(out: Path, overwrite: bool) -> None:
    """Raises MMFairseqError where writing `out` would replace something that it must not."""
    if not out.exists():
        return
    if not out.is_dir():
        raise MMFairseqError(f"{out}: is a file; the output must be a folder")
    found = {path.name for path in out.iterdir()}
    foreign = sorted(found - PREPARED)
    if foreign:
        raise MMFairseqError(f"{out}: holds other files ({named(foreign)}); give a new or empty folder")
    if found and not overwrite:
        raise MMFairseqError(f"{out}: is already a prepared folder; --overwrite replaces it")


def _check_columns(prepared: ParsedCorpus) -> None:
    """See that no label, vote or attribute would stand in a column that means something else."""
    fixed = (*COLUMNS, FEATURES)
    labels = [name for target in prepared.targets for name in (target.name, target.votes) if name]
    for name in prepared.manifest.extra + labels:
        if name in fixed:
            raise MMFairseqError(
                f"column {name!r}: a target or an attribute can't have the name of a column of every manifest "
                f"({', '.join(fixed)}); give it another name"
            )
    for name in labels:
        if name in (CONTEXT, TEXT_ASR):
            raise MMFairseqError(
                f"column {name!r}: no target can be called so: the column holds "
                f"{'what was said before' if name == CONTEXT else 'what a recogniser heard'}; give it another name"
            )
    if twice := [name for name, count in Counter(prepared.manifest.extra).items() if count > 1]:
        raise MMFairseqError(f"column {twice[0]!r}: two targets or attributes have this name")


def _check_protocols(prepared: ParsedCorpus) -> None:
    known = {row.id for row in prepared.manifest.utterances}
    if not known:
        raise MMFairseqError("no utterance is left: the corpus is empty, or every label is outside the classes")
    if promises := {*prepared.apart} - {*prepared.protocols} | {*chain(*prepared.apart.values())} - {*APART}:
        raise AssertionError(f"a corpus promises what nobody knows: {promises}")
    for protocol, folds in prepared.protocols.items():
        for fold, splits in folds.items():
            where = f"protocol {protocol!r}, fold {fold!r}"
            if not all(re.fullmatch(r"\w[\w.-]*", part) for part in (protocol, fold)):
                raise MMFairseqError(f"{where}: a name consists of letters, digits, '_', '-' and '.'")
            if unknown := sorted(set(splits) - set(SPLITS)):
                raise MMFairseqError(f"{where}: unknown splits {named(unknown)}; allowed: {', '.join(SPLITS)}")
            times = Counter(i for ids in splits.values() for i in ids)
            if twice := [i for i, count in times.items() if count > 1]:
                raise MMFairseqError(f"{where}: {len(twice)} utterances stand in two splits: {named(twice)}")
            if strange := sorted(set(times) - known):
                raise MMFairseqError(f"{where}: {len(strange)} ids are not in the manifest: {named(strange)}")
            if empty := [split for split in SPLITS if not splits.get(split)]:
                prepared.notes.append(f"{where}: no utterances in {', '.join(empty)}")

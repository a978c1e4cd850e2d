"""What every corpus shares: the result of parsing, the account of it, and the prepared folder on disk."""

import argparse
import codecs
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError
from ..manifest import Manifest, Utterance
from ..registry import Registry
from ..targets import Target

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

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Fold = dict[str, list[str]]
"""{split: ids}."""


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
    excluded: Counter[str] = field(default_factory=Counter)
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
    """A text file of unknown age: UTF-8 or UTF-16 by its mark, else UTF-8, else Windows-1252, else Latin-1 (any bytes).

    Raises:
        MMFairseqError: there is no such file.
    """
    if not path.is_file():
        raise MMFairseqError(f"{path}: no such file, or none that can be read")
    data = path.read_bytes()
    wide = ("utf-16",) if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ()
    for encoding in (*wide, "utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def one_line(text: str) -> str:
    """`text` with every run of white space as one space, as a manifest field needs it."""
    return " ".join(text.replace("\x00", "").split())


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

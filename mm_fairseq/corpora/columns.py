"""What the options of `prepare table` say of a table's columns: fields, targets, votes and attributes."""

import argparse
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import MMFairseqError, named
from ..manifest import COLUMNS, FEATURES, TEXT_ASR, Utterance
from ..targets import KINDS, SEPARATOR, Target
from .base import one_line
from .records import Record
from .votes import votes_text

FIELDS = (*COLUMNS, FEATURES, TEXT_ASR)


@dataclass
class Wish:
    """A `--target NAME=COLUMN[:KIND]`, and what other options say of it.

    Args:
        name: of the target.
        column: of the table, with the labels.
        kind: a name of `KINDS`.
        separator: stands between the labels of a set.
        classes: as given; empty where they are to be those that occur.
        weight: factor of the target's loss.
        votes: the column of the table with votes as text, or {class: column with its number of votes}.
    """

    name: str
    column: str
    kind: str = "single"
    separator: str = SEPARATOR
    classes: tuple[str, ...] = ()
    weight: float = 1.0
    votes: str | dict[str, str] = field(default_factory=dict)

    @property
    def votes_name(self) -> str:
        """The manifest's column of the votes; "" where there are none."""
        return f"{self.name}_votes" if self.votes else ""

    def labels(self, record: Record, where: str) -> dict[str, str]:
        """The manifest's fields of this target: label and votes.

        Raises:
            MMFairseqError: a number of votes is none.
        """
        text = one_line(record.fields[self.column])
        if self.kind == "multilabel" and text:
            text = self._members(text, where)
        if not self.votes:
            return {self.name: text}
        return {self.name: text, self.votes_name: self._votes(record, where)}

    def _members(self, text: str, where: str) -> str:
        members = list(dict.fromkeys(filter(None, map(str.strip, text.split(self.separator)))))
        if strange := [member for member in members if SEPARATOR in member]:
            raise MMFairseqError(
                f"{where}: column {self.column!r}: label {strange[0]!r} must not contain {SEPARATOR!r}"
            )
        return SEPARATOR.join(members) or SEPARATOR

    def _votes(self, record: Record, where: str) -> str:
        if isinstance(self.votes, str):
            return one_line(record.fields[self.votes])
        numbers: dict[str, float] = {}
        for label, column in self.votes.items():
            if text := record.fields[column].strip():
                numbers[label] = _number(text)
                if not 0 <= numbers[label] < math.inf:
                    raise MMFairseqError(f"{where}: column {column!r}: {text!r} is not a number of votes, 0 or more")
        if self.kind != "multilabel":  # of a set, 0 says that nobody named the class
            numbers = {label: number for label, number in numbers.items() if number}
        return votes_text(numbers)

    def members(self, rows: Iterable[Utterance]) -> set[str]:
        """The labels that occur; none of numbers."""
        if not KINDS.get(self.kind).min_classes:
            return set()
        fields = {row.labels[self.name] for row in rows}
        several = (text.split(SEPARATOR) if self.kind == "multilabel" else [text] for text in fields)
        return {label for labels in several for label in labels} - {""}

    def target(self, rows: Sequence[Utterance]) -> Target:
        """The target; classes that were not given are those that occur among the labels, sorted.

        Raises:
            MMFairseqError: it cannot be, or `--votes` names a class that it has not.
        """
        classes = self.classes or tuple(sorted(self.members(rows)))
        target = Target(self.name, self.kind, classes, self.weight, self.votes_name)
        if isinstance(self.votes, dict) and (strange := [label for label in self.votes if label not in classes]):
            raise MMFairseqError(
                f"--votes {self.name}: {named(strange)} is none of the classes {', '.join(classes)}; "
                "--classes can name more than occur"
            )
        return target


def parse_columns(texts: Iterable[str], header: Sequence[str], file: Path) -> dict[str, str]:
    """`--columns` as {manifest column: column of the table}."""
    form = f"FIELD=COLUMN with one of the fields {', '.join(FIELDS)}"
    columns = _pairs("--columns", form, texts, header, file, lambda name: name in FIELDS)
    if not {"audio", "text", "video"} & set(columns):
        raise MMFairseqError("--columns: name a column for at least one of audio, text, video")
    if TEXT_ASR in columns and "text" not in columns:
        raise MMFairseqError(
            f"--columns: {TEXT_ASR} is what a recogniser heard, beside the transcripts: name text=COLUMN too, or take "
            f"it for the transcripts, text={columns[TEXT_ASR]}"
        )
    return columns


def parse_attributes(texts: Iterable[str], wishes: Sequence[Wish], header: Sequence[str], file: Path) -> dict[str, str]:
    """`--attributes` as {manifest column: column of the table}."""
    taken = [*FIELDS, *_extra(wishes)]
    form = f"NAME=COLUMN; a name is a word of letters, digits and '_', and none of {', '.join(taken)}"
    return _pairs("--attributes", form, texts, header, file, lambda name: _word(name) and name not in taken)


def parse_wishes(args: argparse.Namespace, header: Sequence[str], file: Path) -> list[Wish]:
    """The targets that are wished for: `--target` with `--classes`, `--label-separator`, `--weight` and `--votes`.

    Raises:
        MMFairseqError: an option that is not understood, and what is allowed.
    """
    wishes = [_wish(text, header, file) for text in args.target]
    if len(names := _extra(wishes)) > len(set(names)):
        raise MMFairseqError(f"--target: two targets have the same name: {', '.join(names)}")
    for name, classes in _classes(args.classes, wishes).items():
        _named(wishes, name).classes = classes
    sets = [wish for wish in wishes if wish.kind == "multilabel"]
    if args.label_separator and not sets:
        raise MMFairseqError("--label-separator: no target is of kind multilabel, --target NAME=COLUMN:multilabel")
    for wish in sets:
        wish.separator = args.label_separator or SEPARATOR
    for wish, text in _of_targets("--weight", "NUMBER", args.weight, wishes):
        wish.weight = _number(text)
        if math.isnan(wish.weight):
            raise MMFairseqError(f"--weight {wish.name}={text}: {text!r} is not a number")
    for wish, text in _of_targets("--votes", "COLUMN or TARGET=CLASS:COLUMN,CLASS:COLUMN", args.votes, wishes):
        wish.votes = text if text in header else _vote_columns(wish, text, header, file)
    if len(names := _extra(wishes)) > len(set(names)):
        raise MMFairseqError(f"--target: two columns of the manifest would have the same name: {', '.join(names)}")
    return wishes


def _wish(text: str, header: Sequence[str], file: Path) -> Wish:
    name, _, column = (piece.strip() for piece in text.partition("="))
    if not _word(name) or name in FIELDS or not column:
        raise MMFairseqError(
            f"--target {text!r}: expected NAME=COLUMN[:KIND]; a name is a word of letters, digits and '_', "
            f"and none of {', '.join(FIELDS)}"
        )
    kind = "single"
    if column not in header and ":" in column:
        column, _, kind = column.rpartition(":")
        KINDS.get(kind)
    return Wish(name, _column(column, header, file), kind)


def _classes(texts: Iterable[str], wishes: Sequence[Wish]) -> dict[str, tuple[str, ...]]:
    """`--classes` as {target: classes}; without a name they belong to the one target that has classes."""
    names = [wish.name for wish in wishes if KINDS.get(wish.kind).min_classes]
    out: dict[str, tuple[str, ...]] = {}
    for text in texts:
        head, sign, tail = text.partition("=")
        if sign and head.strip() in names:
            name, text = head.strip(), tail
        elif len(names) == 1:
            name = names[0]
        else:
            raise MMFairseqError(
                f"--classes {text!r}: write TARGET=A,B,C with one of the targets {', '.join(names) or '(none)'}"
            )
        if name in out:
            raise MMFairseqError(f"--classes: the classes of {name!r} are given twice")
        out[name] = tuple(one_line(label) for label in text.split(","))
    return out


def _vote_columns(wish: Wish, text: str, header: Sequence[str], file: Path) -> dict[str, str]:
    columns: dict[str, str] = {}
    for part in text.split(","):
        label, sign, column = (piece.strip() for piece in part.rpartition(":"))
        if not sign:
            raise MMFairseqError(
                f"--votes {wish.name}={text}: {column!r} is neither a column nor CLASS:COLUMN; "
                f"columns of {file}: {', '.join(header)}"
            )
        if label in columns:
            raise MMFairseqError(f"--votes {wish.name}={text}: class {label!r} is given twice")
        columns[label] = _column(column, header, file)
    return columns


def _of_targets(option: str, form: str, texts: Iterable[str], wishes: Sequence[Wish]) -> list[tuple[Wish, str]]:
    """`OPTION TARGET=TEXT`, given any number of times, as pairs of target and text."""
    names = [wish.name for wish in wishes]
    pairs: dict[str, str] = {}
    for text in texts:
        name, _, rest = (piece.strip() for piece in text.partition("="))
        if not rest or name not in names:
            raise MMFairseqError(
                f"{option} {text!r}: expected TARGET={form} with one of the targets {', '.join(names)}"
            )
        if name in pairs:
            raise MMFairseqError(f"{option}: {name!r} is given twice")
        pairs[name] = rest
    return [(_named(wishes, name), rest) for name, rest in pairs.items()]


def _pairs(
    option: str,
    form: str,
    texts: Iterable[str],
    header: Sequence[str],
    file: Path,
    fits: Callable[[str], bool],
) -> dict[str, str]:
    """`NAME=COLUMN,NAME=COLUMN`, given any number of times, as {name: column}."""
    columns: dict[str, str] = {}
    for part in (part for text in texts for part in text.split(",")):
        name, sign, column = (piece.strip() for piece in part.partition("="))
        if not sign or not fits(name):
            raise MMFairseqError(f"{option} {part!r}: expected {form}")
        if name in columns:
            raise MMFairseqError(f"{option}: {name!r} is given twice")
        columns[name] = _column(column, header, file)
    return columns


def _extra(wishes: Sequence[Wish]) -> list[str]:
    """The manifest's columns of the targets: labels and votes."""
    return [name for wish in wishes for name in (wish.name, wish.votes_name) if name]


def _column(name: str, header: Sequence[str], file: Path) -> str:
    if name not in header:
        raise MMFairseqError(f"{file}: no column {name!r}; columns: {', '.join(header)}")
    return name


def _named(wishes: Sequence[Wish], name: str) -> Wish:
    return next(wish for wish in wishes if wish.name == name)


def _word(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z]\w*", name))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan

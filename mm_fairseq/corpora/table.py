"""Anybody's own corpus: a csv or tsv file with one utterance a record."""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ..errors import MMFairseqError, named
from ..manifest import FEATURES, TEXT_ASR, Manifest, Medium, Utterance
from ..targets import KINDS, kind_of
from .base import CORPORA, SPLIT_NAMES, SPLITS, Corpus, ParsedCorpus, check_row, hint_of_numbers, one_line
from .columns import FIELDS, Wish, parse_attributes, parse_columns, parse_wishes
from .draw import draw_by_recording, draw_by_speaker, draw_validation, rotate
from .recordings import Faults, fault
from .records import DELIMITERS, Record, read_table

MEDIA = ("audio", "video", FEATURES)

_CONTROL = re.compile(r"[\t\n\r\x00]")
_FRAGMENT = re.compile(r"#(t|xywh)=.*$")


@CORPORA.register("table")
class Table(Corpus):
    """The parser."""

    help = "any corpus listed in a csv or tsv file"
    raw = "the file, csv or tsv, UTF-8, with a header line"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--columns",
            action="append",
            required=True,
            metavar="FIELD=COLUMN,...",
            help=f"which column holds which field; fields: {', '.join(FIELDS)}",
        )
        parser.add_argument(
            "--target",
            action="append",
            required=True,
            metavar="NAME=COLUMN[:KIND]",
            help=f"what to predict; kinds: {', '.join(KINDS.names())} (default: single); may be given several times",
        )
        parser.add_argument(
            "--classes",
            action="append",
            default=[],
            metavar="[TARGET=]A,B,C",
            help="the classes of a target in the order of their numbers (default: those that occur, sorted)",
        )
        parser.add_argument(
            "--label-separator",
            metavar="SIGN",
            help="what stands between the labels of a set, kind multilabel (default: |); "
            "a field with nothing but SIGN is the empty set, an empty field a missing label",
        )
        parser.add_argument(
            "--votes",
            action="append",
            default=[],
            metavar="TARGET=COLUMN",
            help="the votes of annotators, for soft labels: a column with 'neu=2|fru=1', or one column a class, "
            "TARGET=CLASS:COLUMN,CLASS:COLUMN (of a set: the share of annotators who named the class)",
        )
        parser.add_argument(
            "--weight",
            action="append",
            default=[],
            metavar="TARGET=NUMBER",
            help="factor of a target's loss (default: 1)",
        )
        parser.add_argument(
            "--attributes",
            action="append",
            default=[],
            metavar="NAME=COLUMN,...",
            help="further columns to keep, by which a report slices its figures",
        )
        parser.add_argument("--root", type=Path, help="the folder that paths are relative to (default: the file's)")
        parser.add_argument(
            "--delimiter",
            choices=["auto", *DELIMITERS],
            default="auto",
            help="auto: tab in a .tsv, else seen in the header",
        )
        parser.add_argument(
            "--protocol",
            choices=["auto", "official", "by_speaker", "random"],
            default="auto",
            help="official: the split column; by_speaker, random: 70/15/15 drawn from a hash, no speaker or no "
            "recording in two splits; auto: the first of them that the columns allow",
        )
        parser.add_argument(
            "--folds",
            type=int,
            default=1,
            metavar="N",
            help="with --protocol by_speaker: N folds (3 or more), each tests on another part of the speakers, "
            "validates on the next one and trains on the others (default: one fold)",
        )
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help="go on without recordings that are missing, empty, git-lfs pointers or folders: rows keep what else "
            "they have, and those that have nothing else are left out",
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        root = Path(os.path.abspath(args.root or raw.parent))
        if not root.is_dir():
            raise MMFairseqError(f"--root {root}: no such folder")
        header, records = read_table(raw, args.delimiter)
        columns = parse_columns(args.columns, header, raw)
        wishes = parse_wishes(args, header, raw)
        attributes = parse_attributes(args.attributes, wishes, header, raw)
        notes: list[str] = []
        listed = self._rows(raw, root, records, columns, wishes, attributes)
        rows = _without_missing(raw, root, listed, [record.line for record in records], args.accept_missing, notes)
        kept = {row.id for row in rows}
        records = [record for record, row in zip(records, listed, strict=True) if row.id in kept]
        targets = [wish.target(rows) for wish in wishes]
        kinds = [kind_of(target) for target in targets]
        for record, row in zip(records, rows, strict=True):
            for target, kind in zip(targets, kinds, strict=True):
                try:
                    kind.check(row.labels[target.name], row.labels.get(target.votes, ""))
                except MMFairseqError as error:
                    raise MMFairseqError(f"{raw}:{record.line}: utterance {row.id!r}: {error}") from None
        prepared = ParsedCorpus(Manifest(root, list(rows[0].labels), rows), targets, {}, notes=notes)
        if len(rows) < len(listed):
            prepared.excluded["no recording"] = len(listed) - len(rows)
        for wish in wishes:
            if not wish.classes and (hint := _hint(wish, rows)):
                prepared.notes.append(f"target {wish.name!r}: {hint}")
        for target in targets:
            if missing := sum(not row.labels[target.name] for row in rows):
                prepared.notes.append(f"target {target.name!r}: {missing} of {len(rows)} utterances have no label")
        _tell_twice(rows, [record.line for record in records], prepared)
        self._protocols(args.protocol, args.folds, columns, prepared)
        if "official" in prepared.protocols:
            places = {row.id: f"{raw}:{record.line}" for record, row in zip(records, rows, strict=True)}
            _check_learnable([wish for wish in wishes if not wish.classes], prepared, places)
        return prepared

    def _rows(
        self,
        raw: Path,
        root: Path,
        records: Sequence[Record],
        columns: dict[str, str],
        wishes: Sequence[Wish],
        attributes: dict[str, str],
    ) -> list[Utterance]:
        values = [
            {
                name: (str.strip if name in MEDIA else one_line)(record.fields[column])
                for name, column in columns.items()
            }
            for record in records
        ]
        ids = [value["id"] for value in values] if "id" in columns else make_ids(values)
        lines: dict[str, int] = {}
        rows = []
        for record, value, name in zip(records, values, ids, strict=True):
            where = f"{raw}:{record.line}: utterance {name!r}"
            if name in lines:
                raise MMFairseqError(
                    f"{where}: the id stands already in line {lines[name]}; ids are unique over all splits"
                )
            lines[name] = record.line
            if "split" in columns:
                value["split"] = _split(value["split"], f"{where}: column {columns['split']!r}")
            for field in MEDIA:
                value[field] = relative(value.get(field, ""), root, where)
            labels: dict[str, str] = {}
            for wish in wishes:
                labels |= wish.labels(record, where)
            labels |= {name: one_line(record.fields[column]) for name, column in attributes.items()}
            if TEXT_ASR in columns:
                labels[TEXT_ASR] = value.pop(TEXT_ASR)
            row = Utterance(
                **{**value, "id": name, "start": _seconds(value, "start", where), "end": _seconds(value, "end", where)},  # type: ignore[arg-type]
                labels=labels,
            )
            check_row(row, root, raw, record.line)
            rows.append(row)
        return rows

    def _protocols(self, protocol: str, folds: int, columns: dict[str, str], prepared: ParsedCorpus) -> None:
        rows = prepared.manifest.utterances
        speakers = {row.speaker for row in rows} - {""}
        if protocol == "auto":
            protocol = "official" if "split" in columns else "by_speaker" if len(speakers) >= len(SPLITS) else "random"
        if folds != 1 and (protocol != "by_speaker" or not 3 <= folds <= len(speakers)):
            raise MMFairseqError(
                f"--folds {folds}: 3 or more, at most one a speaker (here {len(speakers)}), and with "
                "--protocol by_speaker"
            )
        if protocol == "official":
            if "split" not in columns:
                raise MMFairseqError("--protocol official: name the split column, --columns split=COLUMN")
            fold = {split: [row.id for row in rows if row.split == split] for split in SPLITS}
            if len(fold["train"]) > 1 and not fold["valid"]:
                part, what = draw_validation([row for row in rows if row.split == "train"])
                prepared.notes.append(
                    f"the split column has no valid: 15 % of train were drawn for it by a hash of the {what}"
                )
                fold |= part
        elif protocol == "by_speaker":
            if silent := [row.id for row in rows if not row.speaker]:
                raise MMFairseqError(
                    f"--protocol by_speaker: {len(silent)} utterances have no speaker: {named(silent)}; "
                    "give --columns speaker=COLUMN, a split column, or --protocol random"
                )
            prepared.apart[protocol] = ("speakers",)
            if folds > 1:
                prepared.notes.append(f"the speakers were dealt to {folds} parts by a hash; fold k tests on part k")
                prepared.protocols[protocol] = rotate(((row.speaker, row.id) for row in rows), speakers, folds)
                return
            fold = draw_by_speaker(rows, prepared.notes)
        else:
            fold = draw_by_recording(rows, prepared.notes)
        prepared.protocols[protocol] = {"1": fold}


def _without_missing(
    raw: Path, root: Path, rows: Sequence[Utterance], lines: Sequence[int], accept: bool, notes: list[str]
) -> list[Utterance]:
    """The rows without recordings that are not there; those that have nothing else are left out.

    Each path is looked at once.

    Args:
        raw: the table.
        root: what paths are relative to.
        rows: all.
        lines: of the table, one a row.
        accept: whether to go on.
        notes: gets what was accepted.

    Raises:
        MMFairseqError: something is missing and `accept` is False, or nothing is left.
    """
    reasons: dict[str, str] = {}
    found: dict[str, list[tuple[int, str]]] = {}
    kept, hurt = [], 0
    for row, line in zip(rows, lines, strict=True):
        media = {"audio": row.medium("audio"), "video": row.medium("video"), FEATURES: Medium(row.features)}
        gone = []
        for name, path in ((name, medium.path) for name, medium in media.items() if medium and medium.path):
            if path not in reasons:
                reasons[path] = fault(root / path)
                if reasons[path]:
                    found.setdefault(reasons[path], []).append((line, f"utterance {row.id!r}: {name} {path!r}"))
            gone += [name] if reasons[path] else []
        hurt += bool(gone)
        row = replace(row, **dict.fromkeys(gone, "")) if gone else row  # type: ignore[arg-type]
        if not gone or row.audio or row.text or row.video or row.features:
            kept.append(row)
    faults = Faults()
    for reason, places in found.items():
        others = named([f"line {line}" for line, _ in places[1:]])
        rest = f" (and {len(places) - 1} more: {others})" if others else ""
        faults.say(f"{raw}:{places[0][0]}: {places[0][1]}: {reason}{rest}")
    faults.settle(accept, notes, "without them; --root DIR reads them elsewhere")
    if hurt:
        notes.append(
            f"{hurt} of {len(rows)} rows lack such a file; left out, with nothing else: {len(rows) - len(kept)}"
        )
    if not kept:
        raise MMFairseqError(f"{raw}: no row has a recording or a text; --root DIR reads recordings elsewhere")
    return kept


def _check_learnable(wishes: Sequence[Wish], prepared: ParsedCorpus, places: dict[str, str]) -> None:
    """See that no label of valid or test is one that train lacks: it may be a slip of the pen.

    Args:
        wishes: those whose classes are the labels that occur.
        prepared: its utterances have the splits that the table names.
        places: id to `file:line`.

    Raises:
        MMFairseqError: names file, line, utterance and column.
    """
    rows = prepared.manifest.utterances
    for wish in wishes:
        known = wish.members(row for row in rows if row.split == "train")
        for row in rows if known else ():
            if row.split and (strange := wish.members([row]) - known):
                hint = _hint(wish, rows)
                raise MMFairseqError(
                    f"{places[row.id]}: utterance {row.id!r}: column {wish.column!r}: label {min(strange)!r} stands in "
                    f"{row.split} but nowhere in train, which has {', '.join(sorted(known))}; to keep it, name all "
                    f"classes by --classes{f'; {hint}' if hint else ''}"
                )


def _hint(wish: Wish, rows: Sequence[Utterance]) -> str:
    return hint_of_numbers(sorted(wish.members(rows)), f"--target {wish.name}={wish.column}:regression")


def _tell_twice(rows: Sequence[Utterance], lines: Sequence[int], prepared: ParsedCorpus) -> None:
    """Note rows that name the same part of the same recordings as another one."""
    first: dict[tuple[object, ...], int] = {}
    twice = []
    for row, line in zip(rows, lines, strict=True):
        what = (row.audio, row.video, row.features, row.start, row.end)
        if any(what[:3]) and first.setdefault(what, line) != line:
            twice.append(f"line {line} as line {first[what]}")
    if twice:
        prepared.notes.append(f"{len(twice)} rows name the recording of another row and the same times: {named(twice)}")


def make_ids(values: Sequence[dict[str, str]]) -> list[str]:
    """Ids for a table without them: names of the files, else their paths, whichever is unique, else row numbers."""
    paths = [_FRAGMENT.sub("", value.get("audio") or value.get("video") or "") for value in values]
    for form in (lambda path: PurePosixPath(path).stem, lambda path: os.path.splitext(path)[0]):
        ids = [form(path) for path in paths]
        if all(ids) and len(set(ids)) == len(ids):
            return ids
    return [f"row{number:06d}" for number in range(1, len(values) + 1)]


def relative(path: str, root: Path, where: str) -> str:
    """`path` (with its media fragment) relative to `root`, with forward slashes; "" stays "".

    Raises:
        MMFairseqError: an absolute path outside `root`, or a sign that no path in a manifest can have.
    """
    if not path:
        return ""
    if _CONTROL.search(path):
        raise MMFairseqError(f"{where}: {path!r}: a path must hold no tab, line break or zero byte")
    if os.path.isabs(path):
        inside = os.path.relpath(path, root)
        if inside.split(os.sep)[0] == os.pardir:
            raise MMFairseqError(
                f"{where}: {path!r} lies outside the root {str(root)!r}; give --root DIR, a folder above all files"
            )
        path = inside
    return os.path.normpath(path)


def _split(value: str, where: str) -> str:
    if value.lower() not in SPLIT_NAMES:
        raise MMFairseqError(f"{where}: split {value!r} is none of {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES[value.lower()]


def _seconds(value: dict[str, str], name: str, where: str) -> float | None:
    text = value.get(name, "")
    try:
        return float(text) if text else None
    except ValueError:
        raise MMFairseqError(f"{where}: {name} {text!r} is not a number of seconds") from None

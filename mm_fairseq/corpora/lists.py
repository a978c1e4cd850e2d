"""The original trimodal system's lists: `<split>_{a,t,v}.tsv` and `label_file_<split>.csv` in one folder.

Line 1 of a list is a folder, every further line a file in it; line n of the three lists is the same utterance. A
label file has the columns `FileName` and `Emotion` (a class) or `sentiment_score` (a number), in any order of rows. A
text file holds the transcript, or the token ids that the original binarized it to (RoBERTa's, from 0 to 2).
"""

import argparse
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..errors import MMFairseqError, named
from ..manifest import Manifest, Utterance
from ..targets import Target, kind_of
from .base import CORPORA, SPLITS, Corpus, ParsedCorpus, check_row, one_line, read_text
from .recordings import POINTER, Faults, archive_hint, is_pointer
from .records import read_table

LETTERS = {"a": "audio", "t": "text", "v": "video"}
PRESETS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "iemocap": (("neu", "sad", "ang", "hap"), {"exc": "hap"}),
    "meld": (("neutral", "sadness", "anger", "joy", "surprise", "fear", "disgust"), {}),
}
TARGETS = {"emotion": ("emotion", "single"), "sentiment_score": ("sentiment", "regression")}

_SUFFIX = re.compile(r"\.(wav|flac|mp3|ogg|opus|m4a|aac|pt|txt|mp4|avi|mkv|mov|webm|mpe?g|flv)$", re.IGNORECASE)

Decoder = Callable[[Sequence[int]], str]


class Entry(NamedTuple):
    """One line of a list."""

    path: Path
    stem: str
    where: str


class Label(NamedTuple):
    """A label as it stands in the file, and the place for messages."""

    text: str
    where: str


class Labels(NamedTuple):
    """A label file: the column, in small letters, and {stem: label}."""

    column: str
    of: dict[str, Label]


@CORPORA.register("lists")
class Lists(Corpus):
    """The parser."""

    help = "the original system's lists, <split>_{a,t,v}.tsv and label_file_<split>.csv"
    raw = "the folder that holds the lists"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--classes",
            metavar="A,B,C|" + "|".join(PRESETS),
            help="the classes in the order of their numbers; "
            + "; ".join(f"{name} = {','.join(classes)}" for name, (classes, _) in PRESETS.items())
            + " (default: the names that occur, sorted)",
        )
        parser.add_argument(
            "--map", default="", metavar="OLD=NEW,...", help="rename labels; with nothing behind the = leave them out"
        )
        parser.add_argument(
            "--root", type=Path, help="read the files here instead of in the folder of each list's first line"
        )
        parser.add_argument(
            "--gpt2",
            type=Path,
            metavar="DIR",
            help="dict.txt and encoder.json of RoBERTa, to turn token ids into transcripts",
        )
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help="go on without recordings and transcripts that are missing or git-lfs pointers, and recordings that "
            "are empty: utterances keep what else they have, and those that have nothing else are left out",
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        found = {split: lists for split in SPLITS if (lists := read_lists(raw, split, args.root))}
        if not found:
            raise MMFairseqError(
                f"{raw}: no lists here; expected files such as train_a.tsv, train_t.tsv, train_v.tsv{archive_hint(raw)}"
            )
        stems = {split: [entry.stem for entry in next(iter(lists.values()))] for split, lists in found.items()}
        times = Counter(stem for names in stems.values() for stem in names)
        twice = [stem for stem, count in times.items() if count > 1]
        labels = {split: read_labels(raw / f"label_file_{split}.csv") for split in found}
        target, rename = make_target(labels, args.classes, args.map)
        folders = {
            str(entry.path.parent) for lists in found.values() for entries in lists.values() for entry in entries
        }
        if not folders:
            raise MMFairseqError(f"{raw}: the lists name no files")
        prepared = ParsedCorpus(Manifest(Path(os.path.commonpath(folders)), [target.name], []), [target], {})
        if twice:
            prepared.notes.append(f"{len(twice)} names stand in two splits; ids are SPLIT/NAME: {named(twice)}")
            prepared.same = _same(found)
        decode = gpt2_decoder(args.gpt2) if args.gpt2 else None
        rows = prepared.manifest.utterances
        faults = Faults()
        for split, lists in found.items():
            for row in _rows(split, lists, decode, prepared.manifest.root, faults):
                if row is None:
                    prepared.excluded["no recording"] += 1
                    continue
                label = _label(row.id, split, labels[split], raw, target, rename)
                if label is None:
                    prepared.excluded[labels[split].of[row.id].text] += 1
                    continue
                name = f"{split}/{row.id}" if twice else row.id
                rows.append(replace(row, id=name, labels={target.name: label}))
            if strange := sorted(set(labels[split].of) - set(stems[split])):
                prepared.notes.append(
                    f"{split}: {len(strange)} labels belong to no utterance of the lists: {named(strange)}"
                )
        faults.settle(args.accept_missing, prepared.notes, "without them; --root DIR reads them elsewhere")
        prepared.protocols["official"] = {
            "1": {split: [row.id for row in rows if row.split == split] for split in SPLITS}
        }
        return prepared


def _same(found: dict[str, dict[str, list[Entry]]]) -> dict[str, str]:
    """{SPLIT/NAME: NAME} where two splits list one file under that name; else names only begin anew in every split."""
    first: dict[Path, str] = {}
    shared: set[str] = set()
    for split, lists in found.items():
        for entry in (entry for entries in lists.values() for entry in entries):
            if first.setdefault(entry.path, split) != split:
                shared.add(entry.stem)
    return {
        f"{split}/{entry.stem}": entry.stem
        for split, lists in found.items()
        for entry in next(iter(lists.values()))
        if entry.stem in shared
    }


def read_lists(folder: Path, split: str, root: Path | None = None) -> dict[str, list[Entry]]:
    """{modality: entries} of one split, in the same order for every modality; a modality without a list is not there.

    Raises:
        MMFairseqError: the lists differ in length or order, or name an utterance twice.
    """
    files = {modality: folder / f"{split}_{letter}.tsv" for letter, modality in LETTERS.items()}
    lists = {modality: read_list(file, root) for modality, file in files.items() if file.is_file()}
    if not lists:
        return {}
    modality, first = next(iter(lists.items()))
    seen: dict[str, str] = {}
    for entry in first:
        if entry.stem in seen:
            raise MMFairseqError(f"{entry.where}: {entry.stem!r} stands already in {seen[entry.stem]}")
        seen[entry.stem] = entry.where
    for other, entries in lists.items():
        for mine, entry in zip(first, entries, strict=False):
            if mine.stem != entry.stem:
                raise MMFairseqError(
                    f"{entry.where}: {entry.stem!r} is another utterance than {mine.stem!r} in {mine.where}; "
                    "the lists must have the same order"
                )
        if len(entries) != len(first):
            raise MMFairseqError(f"{files[other]}: {len(entries)} files, but {files[modality].name} has {len(first)}")
    return lists


def read_list(file: Path, root: Path | None = None) -> list[Entry]:
    """The files of one list; `root` replaces the folder in its first line.

    Raises:
        MMFairseqError: there is no such folder, or a file lies outside it.
    """
    if is_pointer(file):
        raise MMFairseqError(f"{file}: {POINTER}")
    lines = read_text(file).splitlines()
    if not lines or not lines[0].strip():
        raise MMFairseqError(f"{file}:1: expected the folder of the files")
    folder = Path(os.path.abspath(root or file.parent / lines[0].strip()))
    if not folder.is_dir():
        raise MMFairseqError(f"{file}:1: {str(folder)!r} is no folder here; correct the line, or give --root DIR")
    entries = []
    for number, line in enumerate(lines[1:], start=2):
        name = line.split("\t")[0].strip()
        if name:
            path, where = Path(os.path.normpath(folder / name)), f"{file}:{number}"
            stem = _SUFFIX.sub("", path.name)
            if not path.is_relative_to(folder):
                raise MMFairseqError(f"{where}: utterance {stem!r}: {name!r} leads out of the folder {str(folder)!r}")
            entries.append(Entry(path, stem, where))
    return entries


def gpt2_decoder(folder: Path) -> Decoder:
    """From RoBERTa's token ids to text, by `dict.txt` (id to GPT-2 id) and `encoder.json` (GPT-2 token to GPT-2 id).

    Byte-level BPE writes each byte of UTF-8 as one printable character: the printable ones as themselves, the others in
    the order of their values from U+0100 (Radford et al. 2019).

    Raises:
        MMFairseqError: a file is missing or is of another kind.
    """
    try:
        lines = (folder / "dict.txt").read_text(encoding="utf-8").splitlines()
        tokens = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
        token_of = {str(number): token for token, number in tokens.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise MMFairseqError(f"--gpt2 {folder}: expected dict.txt and encoder.json of RoBERTa: {error}") from error
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}

    def decode(ids: Sequence[int]) -> str:
        tokens = (token_of[lines[i - 4].split()[0]] for i in ids if i > 2)
        return bytes(byte_of[letter] for token in tokens for letter in token).decode("utf-8", "replace")

    return decode


def transcript(path: Path, where: str, decode: Decoder | None) -> str:
    """The text of one utterance; token ids go through `decode`.

    Raises:
        MMFairseqError: the file holds token ids and there is no `decode`, or `decode` does not know them.
    """
    words = read_text(path).split()
    if not (len(words) > 1 and words[0] == "0" and words[-1] == "2" and all(word.isdecimal() for word in words)):
        return one_line(" ".join(words))
    if decode is None:
        raise MMFairseqError(
            f"{where}: {path.name} holds token ids, not a transcript; "
            "give --gpt2 DIR, the folder with dict.txt and encoder.json"
        )
    try:
        return one_line(decode([int(word) for word in words]))
    except (LookupError, ValueError) as error:
        raise MMFairseqError(
            f"{where}: {path.name}: the token ids do not belong to the files of --gpt2: {error}"
        ) from error


def read_labels(file: Path) -> Labels:
    """One label file.

    Raises:
        MMFairseqError: the columns are others, or a file name has two labels.
    """
    header, records = read_table(file)
    columns = {name.lower(): name for name in header}
    column = next((columns[name] for name in TARGETS if name in columns), None)
    if "filename" not in columns or column is None:
        raise MMFairseqError(f"{file}:1: expected FileName and Emotion or sentiment_score, found {', '.join(header)}")
    labels = Labels(column.lower(), {})
    for record in records:
        stem = _SUFFIX.sub("", record.fields[columns["filename"]].strip())
        label = Label(one_line(record.fields[column]), f"{file}:{record.line}: utterance {stem!r}")
        if labels.of.setdefault(stem, label).text != label.text:
            raise MMFairseqError(
                f"{label.where}: label {label.text!r}, but {labels.of[stem].text!r} in an earlier line"
            )
    return labels


def make_target(labels: dict[str, Labels], classes: str | None, renames: str) -> tuple[Target, dict[str, str]]:
    """The target of the label files, and what labels are renamed to ("" = left out).

    Args:
        labels: of each split.
        classes: the option `--classes`, a name of `PRESETS` or a list.
        renames: the option `--map`.

    Raises:
        MMFairseqError: the splits have different columns, an option is not understood, or numbers lack names.
    """
    columns = sorted({each.column for each in labels.values()})
    if len(columns) > 1:
        raise MMFairseqError(f"the label files have different columns: {', '.join(columns)}")
    name, kind = TARGETS[columns[0]]
    names, rename = PRESETS.get(classes or "", (tuple(filter(None, map(one_line, (classes or "").split(",")))), {}))
    rename = dict(rename)
    for part in filter(None, renames.split(",")):
        old, sign, new = (piece.strip() for piece in part.partition("="))
        if not sign or not old:
            raise MMFairseqError(f"--map {part!r}: expected OLD=NEW, or OLD= to leave a label out")
        rename[old] = new
    if kind == "regression":
        return Target(name, kind), {}
    if not names:
        seen = {rename.get(label.text, label.text) for each in labels.values() for label in each.of.values()} - {""}
        if any(text.isdecimal() for text in seen):
            raise MMFairseqError(
                f"the labels are numbers ({named(sorted(seen))}): give --classes, their names in order, "
                f"or one of {', '.join(PRESETS)}"
            )
        names = tuple(sorted(seen))
    return Target(name, kind, names), rename


def _rows(
    split: str, lists: dict[str, list[Entry]], decode: Decoder | None, root: Path, faults: Faults
) -> Iterator[Utterance | None]:
    """The utterances of one split without what is missing; None for one of which nothing is there."""
    for entries in zip(*lists.values(), strict=True):
        here = dict(zip(lists, entries, strict=True))
        stem, where = entries[0].stem, entries[0].where
        if "audio" in here and here["audio"].path.suffix == ".pt":
            here["audio"] = _sound_beside(here["audio"])
        there = {m: entry for m, entry in here.items() if faults.check(entry.path, may_be_empty=m == "text")}
        if not there:
            yield None
            continue
        fields = {m: entry.path.relative_to(root).as_posix() for m, entry in there.items() if m != "text"}
        if "text" in there:
            fields["text"] = transcript(there["text"].path, there["text"].where, decode)
        row = Utterance(id=stem, split=split, **fields)
        file, _, line = where.rpartition(":")
        check_row(row, root, Path(file), int(line))
        yield row


def _label(stem: str, split: str, labels: Labels, raw: Path, target: Target, rename: dict[str, str]) -> str | None:
    """The label of an utterance in the words of `target`; None where it is to be left out."""
    if stem not in labels.of:
        raise MMFairseqError(f"{raw / f'label_file_{split}.csv'}: utterance {stem!r}: no line with this FileName")
    text, where = labels.of[stem]
    text = rename.get(text, text)
    if text.isdecimal() and text not in target.classes and int(text) < len(target.classes):
        text = target.classes[int(text)]
    if not text and labels.of[stem].text:
        return None
    try:
        kind_of(target).encode(text)
    except MMFairseqError as error:
        raise MMFairseqError(f"{where}: {error}") from None
    return text


def _sound_beside(entry: Entry) -> Entry:
    for suffix in (".wav", ".flac"):
        if (path := entry.path.with_suffix(suffix)).is_file():
            return entry._replace(path=path)
    raise MMFairseqError(
        f"{entry.where}: {entry.path.name} is a saved tensor, not sound; list the wav or flac files that it was made "
        "from, or lay them beside it under the same name"
    )

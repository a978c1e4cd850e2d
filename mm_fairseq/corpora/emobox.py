"""EmoBox's lists (Ma et al. 2024, https://arxiv.org/abs/2406.07162), `data/<corpus>` of its repository.

`fold_K/<corpus>_{train,valid,test}_fold_K.jsonl`, one JSON object a line: `key`, `wav`, `emo`, and what else is there
(`type`, `length` in seconds, `sample_rate`; `start_time` and `end_time` where a recording holds several utterances).
`label_map.json` says which class a label counts as; one that it maps to "" or null is left out. `wav` is relative to
the folder above `data`, which holds `downloads`. Speakers, where they are told, stand in `data.seg.wrd.stm`.

All folds are kept, as protocol `emobox`. Where a fold has no valid list, a fifth of its train list is drawn for it:
EmoBox takes a random fifth too. One `.jsonl` file alone is a corpus whose splits are drawn.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError, named
from ..manifest import Utterance
from ..targets import Target
from .base import CORPORA, SPLITS, Corpus, Fold, ParsedCorpus, one_line
from .draw import draw_validation
from .recordings import archive_hint
from .records import read_utf8
from .speech_lists import Entry, add_root, collect, set_protocol

VALID_SHARE = 0.2
LATEST = 1e9  # seconds; no recording is that long
TARGET = "emotion"

_FOLD = re.compile(r"(.+)_(train|valid|test)_fold_([\w-]+)")
_SPEAKER = re.compile(r"<id=(?P<id>.*?),lang=.*?,spk=(?P<speaker>.*),emotion=")


@CORPORA.register("emobox")
class EmoBox(Corpus):
    """The parser; see the module for the files."""

    help = "EmoBox's lists of 32 corpora of speech: jsonl with folds, and a label map"
    raw = (
        "data/<corpus> of EmoBox, the folder with fold_1 and label_map.json, or EmoBox with one corpus, or a jsonl file"
    )

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_root(parser, "two folders above RAW, as downloads lies beside data")

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        raw = _corpus(raw)
        lists = {("", ""): raw} if raw.is_file() else _fold_lists(raw)
        folder = raw.parent if raw.is_file() else raw
        labels = _label_map(folder / "label_map.json")
        speakers = _speakers(folder / "data.seg.wrd.stm")
        entries: dict[str, Entry] = {}
        folds: dict[str, dict[str, list[Entry]]] = {}
        for (fold, split), file in lists.items():
            listed = folds.setdefault(fold, {}).setdefault(split, [])
            for entry in _entries(file, speakers):
                known = entries.setdefault(entry.row.id, entry)
                if (known.row, known.path) != (entry.row, entry.path):
                    raise MMFairseqError(f"{entry.where}: differs from {known.file}:{known.line}, the same key")
                listed.append(entry)
        used, left_out = _mapped(entries.values(), labels)
        prepared = collect(used, args.root or folder.parent.parent, args)
        prepared.excluded += left_out
        rows = prepared.manifest.utterances
        prepared.manifest.extra = [TARGET]
        found = {row.labels[TARGET] for row in rows}
        classes = [name for name in dict.fromkeys(labels.values()) if name] if labels else sorted(found)
        prepared.targets = [Target(TARGET, "single", tuple(classes))]
        if unused := [name for name in classes if name not in found]:
            prepared.notes.append(f"no utterance of the classes {named(unused)} of label_map.json")
        if raw.is_file():
            set_protocol(prepared)
        else:
            _set_folds(prepared, folds, getattr(args, "accept_leaks", False))
        return prepared


def _corpus(raw: Path) -> Path:
    """`raw`, or what lies below it where it is a whole EmoBox with one corpus."""
    inside = sorted({fold.parent for fold in raw.glob("data/*/fold_*")})
    if not inside or any(raw.glob("fold_*")):
        return raw
    if inside[1:]:
        raise MMFairseqError(f"{raw}: has lists of several corpora; name one: {named(list(map(str, inside)))}")
    return inside[0]


def _fold_lists(raw: Path) -> dict[tuple[str, str], Path]:
    """{(fold, split): file}, folds in the order of their numbers."""
    if not raw.is_dir():
        raise MMFairseqError(f"{raw}: no such folder; RAW must be {EmoBox.raw}{archive_hint(raw)}")
    found: dict[tuple[str, str], Path] = {}
    for file in sorted(
        raw.glob("fold_*/*.jsonl"), key=lambda file: (len(file.parent.name), file.parent.name, file.name)
    ):
        match = _FOLD.fullmatch(file.stem)
        if not match or file.parent.name != f"fold_{match[3]}":
            raise MMFairseqError(f"{file}: expected a name as {file.parent.name}/CORPUS_train_{file.parent.name}.jsonl")
        other = found.setdefault((match[3], match[2]), file)
        if other is not file:
            raise MMFairseqError(f"{file}: {other.name} is the {match[2]} list of this fold already")
    for fold in dict.fromkeys(fold for fold, _ in found):
        for split in ("train", "test"):
            if (fold, split) not in found:
                raise MMFairseqError(f"{raw / f'fold_{fold}'}: no {split} list, *_{split}_fold_{fold}.jsonl")
    if not found:
        raise MMFairseqError(f"{raw}: no fold_1/*_train_fold_1.jsonl; RAW must be {EmoBox.raw}{archive_hint(raw)}")
    return found


def _entries(file: Path, speakers: dict[str, str]) -> Iterator[Entry]:
    seen: dict[str, int] = {}
    for number, line in enumerate(read_utf8(file).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{file}:{number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise MMFairseqError(f"{place}: not a JSON object: {error}") from None
        key, path, label = (_text(record, name, place) for name in ("key", "wav", "emo"))
        if key in seen:
            raise MMFairseqError(f"{place}: utterance {key!r}: stands already in line {seen[key]}")
        seen[key] = number
        if record.get("type", "raw") != "raw":
            raise MMFairseqError(f"{place}: utterance {key!r}: type {record['type']!r}; only recordings (raw) are read")
        start, end = (_seconds(record, name, f"{place}: utterance {key!r}") for name in ("start_time", "end_time"))
        row = Utterance(
            id=key, speaker=speakers.get(key, ""), start=start or None, end=end, labels={TARGET: one_line(label)}
        )
        yield Entry(row, path, file, number)
    if not seen:
        raise MMFairseqError(f"{file}: holds no utterances")


def _text(record: Any, name: str, place: str) -> str:
    value = record.get(name) if isinstance(record, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise MMFairseqError(f"{place}: expected an object with key, wav and emo; {name!r} is {value!r}, no text")
    return value.strip()


def _seconds(record: dict[str, Any], name: str, where: str) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
        told = f"{value!r}"
        told = told if len(told) <= 40 else f"{told[:40]}..."
        raise MMFairseqError(f"{where}: {name} {told} is not a number of seconds, from 0 to {LATEST:g}")
    return float(value)


def _label_map(file: Path) -> dict[str, str]:
    """{label: class}, "" for one that is left out; empty where there is no such file."""
    if not file.is_file():
        return {}
    try:
        labels = json.loads(read_utf8(file))
    except (ValueError, RecursionError) as error:
        raise MMFairseqError(f"{file}: not JSON: {error}") from None
    if not isinstance(labels, dict) or not all(value is None or isinstance(value, str) for value in labels.values()):
        raise MMFairseqError(f"{file}: expected an object of label and class, both texts")
    return {one_line(label): one_line(value or "") for label, value in labels.items()}


def _mapped(entries: Iterable[Entry], labels: dict[str, str]) -> tuple[list[Entry], Counter[str]]:
    """The entries with their classes, and counts of those that are left out."""
    used, left_out = [], Counter[str]()
    for entry in entries:
        label = entry.row.labels[TARGET]
        if labels and label not in labels:
            raise MMFairseqError(
                f"{entry.where}: emo {label!r} is none of label_map.json, which has {', '.join(labels)}"
            )
        if labels and not labels[label]:
            left_out[label] += 1
            continue
        used.append(replace(entry, row=replace(entry.row, labels={TARGET: labels.get(label, label)})))
    return used, left_out


def _speakers(file: Path) -> dict[str, str]:
    """{key: speaker} of the stm file; empty where there is none."""
    lines = read_utf8(file).split("\n") if file.is_file() else []
    found = (_SPEAKER.search(line) for line in lines)
    return {match["id"]: one_line(match["speaker"]) for match in found if match}


def _set_folds(prepared: ParsedCorpus, folds: dict[str, dict[str, list[Entry]]], accept: bool) -> None:
    """Make the protocol of what is left of the lists.

    An utterance that stands in two lists of one fold has a row for each, where that is accepted.

    Raises:
        MMFairseqError: there is one, and `accept` is False; names both files and lines.
    """
    rows = {row.id: row for row in prepared.manifest.utterances}
    drawn = []
    for name, lists in folds.items():
        places: dict[str, Entry] = {}
        fold: Fold = {each: [] for each in SPLITS}
        for split, entry in ((each, entry) for each in SPLITS for entry in lists.get(each, [])):
            key = entry.row.id
            if key not in rows:
                continue
            other = places.setdefault(key, entry)
            if other is not entry:
                told = f"{entry.where}: stands in {other.file}:{other.line} too, another list of fold {name}"
                if not accept:
                    raise MMFairseqError(
                        f"{told}: what is tested would be trained on; take the line out of one of them, or give "
                        "--accept-leaks to go on all the same"
                    )
                key = f"{split}/{key}"
                rows.setdefault(key, replace(rows[entry.row.id], id=key))
                prepared.same |= dict.fromkeys((key, entry.row.id), entry.row.id)
            fold[split].append(key)
        if not fold["valid"] and len(fold["train"]) > 1:
            part, what = draw_validation([rows[key] for key in fold["train"]], VALID_SHARE)
            fold |= part
            drawn.append(f"fold {name} by a hash of the {what}")
        prepared.protocols.setdefault("emobox", {})[name] = fold
    if further := [key for key in rows if prepared.same.get(key, key) != key]:
        prepared.notes.append(f"{len(further)} further rows are of utterances in two lists of a fold: {named(further)}")
    prepared.manifest.utterances = list(rows.values())
    if drawn:
        prepared.notes.append(f"no valid list: a fifth of train was drawn for it: {named(drawn)}")

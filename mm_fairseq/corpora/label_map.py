"""Label sets merged, renamed or cut down by a small file (TOML) that a person writes, for any corpus.

```
[emotion]                 # a target; as many tables as targets are to be changed
exc = "hap"               # counted as hap
fru = "angry or worse"    # renamed
oth = ""                  # left out
classes = ["neu", "hap", "sad", "angry or worse"]    # the order; without it that of the corpus
```

All names of a table are changed at once, and those that it does not name stay. Names with anything but letters,
digits, `-` and `_` stand in quotation marks. An utterance that has no label left is left out and counted; one that has
a label of another target stays, without this one. Of a set of labels the members are mapped, and of one whose
members are all left out the empty set remains.

Votes go along: those of merged classes are added up (of sets they are shares of the annotators, and 1 is the most),
those of classes that are left out are dropped.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError
from ..manifest import Manifest, Utterance
from ..targets import KINDS, SEPARATOR, Target
from .base import ParsedCorpus, one_line
from .votes import votes_text

CLASSES = "classes"

_TABLE = re.compile(r"\s*\[\s*(.+?)\s*\]\s*(#.*)?$")
_KEY = re.compile(r"""\s*("[^"]*"|'[^']*'|[\w-]+)\s*=""", re.ASCII)


@dataclass(frozen=True)
class LabelMap:
    """What the file says.

    Args:
        path: the file.
        names: {target: {old label: new label, "" to leave it out}}.
        classes: {target: the new labels in order}, for those that name one.
    """

    path: Path
    names: Mapping[str, Mapping[str, str]]
    classes: Mapping[str, tuple[str, ...]]

    def where(self, target: str, key: str = "") -> str:
        """`file:line` of a table or of a name in it; the file alone where it is written in another way."""
        table = ""
        for number, line in enumerate(self.path.read_text(encoding="utf-8-sig").splitlines(), start=1):
            if match := _TABLE.match(line):
                table = match[1].strip("\"'")
                if table == target and not key:
                    return f"{self.path}:{number}"
            elif table == target and key and (match := _KEY.match(line)) and match[1].strip("\"'") == key:
                return f"{self.path}:{number}"
        return str(self.path)


def read(path: Path) -> LabelMap:
    """Read a label map.

    Raises:
        MMFairseqError: the file is missing, is not TOML, or holds anything but tables of names.
    """
    if path.is_dir():
        raise MMFairseqError(f"--label-map {path}: is a folder; give the file")
    if not path.is_file():
        raise MMFairseqError(f"--label-map {path}: no such file")
    try:
        found = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise MMFairseqError(f"{path}:{line}: byte 0x{error.object[error.start]:02x} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise MMFairseqError(
            f'{path}: {error}; expected TOML: [TARGET], then lines OLD = "NEW", OLD in quotation marks where it is '
            "more than letters, digits, - and _"
        ) from None
    names: dict[str, dict[str, str]] = {}
    classes: dict[str, tuple[str, ...]] = {}
    label_map = LabelMap(path, names, classes)
    for target, table in found.items():
        if not isinstance(table, dict):
            raise MMFairseqError(f"{path}: {target!r} stands in no table; begin with [TARGET], as [emotion]")
        names[target] = {}
        for old, new in table.items():
            if old == CLASSES and isinstance(new, list):
                classes[target] = tuple(_label(label_map, target, old, label) for label in new)
            else:
                names[target][old] = _label(label_map, target, old, new, empty=True)
    if not names:
        raise MMFairseqError(f"{path}: changes nothing; begin with [TARGET], as [emotion]")
    if empty := [target for target in names if not names[target] and target not in classes]:
        raise MMFairseqError(
            f'{label_map.where(empty[0])}: [{empty[0]}] changes nothing; below it stand lines OLD = "NEW", or '
            f"{CLASSES} = [...] in another order"
        )
    return label_map


def apply(parsed: ParsedCorpus, label_map: LabelMap) -> ParsedCorpus:
    """The corpus with other labels; `parsed` stays as it is.

    Args:
        parsed: its published counts are no longer of use, and are best compared before.
        label_map: as `read`.

    Raises:
        MMFairseqError: `file:line`: a target or a label that the corpus does not have, numbers in place of labels,
            classes that do not come out, or too few of them.
    """
    targets = {target.name: target for target in parsed.targets}
    changed: dict[str, Target] = {}
    notes = []
    for name in label_map.names:
        if name not in targets:
            raise MMFairseqError(f"{label_map.where(name)}: no target {name!r}; targets: {', '.join(targets)}")
        changed[name] = _target(targets[name], label_map)
        told = (f"{old} as {new}" if new else f"{old} left out" for old, new in label_map.names[name].items())
        notes.append(f"{label_map.path.name}: {name}: {', '.join(told) or 'classes in another order'}")
    rows, excluded = [], parsed.excluded.copy()
    for row in parsed.manifest.utterances:
        labels = dict(row.labels)
        for name in changed:
            labels |= _mapped(targets[name], label_map.names[name], row)
        before, after = ({name: text for name in targets if (text := each.get(name))} for each in (row.labels, labels))
        if before and not after:
            excluded[f"label map: {next(before[name] for name in changed if name in before)}"] += 1
        else:
            rows.append(replace(row, labels=labels))
    kept = {row.id for row in rows}
    used = {medium.path for row in rows for medium in (row.medium("audio"), row.medium("video")) if medium}
    used |= {row.features for row in rows}
    return replace(
        parsed,
        manifest=Manifest(parsed.manifest.root, list(parsed.manifest.extra), rows),
        targets=[changed.get(target.name, target) for target in parsed.targets],
        protocols={
            protocol: {
                fold: {split: [name for name in ids if name in kept] for split, ids in splits.items()}
                for fold, splits in folds.items()
            }
            for protocol, folds in parsed.protocols.items()
        },
        excluded=excluded,
        notes=[*parsed.notes, *notes],
        files={path: writer for path, writer in parsed.files.items() if path in used},
    )


def _label(label_map: LabelMap, target: str, old: str, label: Any, empty: bool = False) -> str:
    if not isinstance(label, str) or label != one_line(label) or not (label or empty):
        allowed = "a label in quotation marks" + (', or "" to leave it out' if empty else "")
        raise MMFairseqError(f"{label_map.where(target, old)}: {old!r}: expected {allowed}, not {label!r}")
    return label


def _target(target: Target, label_map: LabelMap) -> Target:
    """The target with its new classes."""
    names, where = label_map.names[target.name], label_map.where(target.name)
    if not KINDS.get(target.kind).min_classes:
        raise MMFairseqError(f"{where}: target {target.name!r} is of kind {target.kind!r}: it has numbers, no labels")
    for old in names:
        if old not in target.classes:
            raise MMFairseqError(
                f"{label_map.where(target.name, old)}: label {old!r} is none of {', '.join(target.classes)}"
            )
    classes = tuple(filter(None, dict.fromkeys(names.get(label, label) for label in target.classes)))
    asked = label_map.classes.get(target.name, classes)
    if sorted(asked) != sorted(classes):
        raise MMFairseqError(
            f"{label_map.where(target.name, CLASSES)}: classes {', '.join(asked)}; the labels that come out are "
            f"{', '.join(classes)}"
        )
    try:
        return replace(target, classes=asked)
    except MMFairseqError as error:
        raise MMFairseqError(f"{where}: {error}") from None


def _mapped(target: Target, names: Mapping[str, str], row: Utterance) -> dict[str, str]:
    """The fields of one target in the new labels: the label, and the votes where there are some."""
    text = row.labels.get(target.name, "")
    sets = KINDS.get(target.kind).sets
    if sets and text:
        members = (names.get(label, label) for label in text.split(SEPARATOR))
        text = SEPARATOR.join(filter(None, dict.fromkeys(members))) or SEPARATOR
    else:
        text = names.get(text, text)
    if not target.votes:
        return {target.name: text}
    if row.labels.get(target.name) and not text:
        return {target.name: "", target.votes: ""}  # votes for what was not meant
    votes: Counter[str] = Counter()
    for part in filter(None, row.labels.get(target.votes, "").split(SEPARATOR)):
        label, _, number = part.rpartition("=")
        if new := names.get(label, label):
            votes[new] += float(number)  # type: ignore[assignment]
    most = 1.0 if sets else float("inf")
    return {target.name: text, target.votes: votes_text({label: min(most, number) for label, number in votes.items()})}

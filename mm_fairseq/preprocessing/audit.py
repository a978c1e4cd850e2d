"""Whether a corpus can be trusted: what its splits have in common, how long it is, what a model has to beat.

`audit` is all that callers need; `mm-fairseq prepare` writes its result as `audit.json`, and stops where splits leak.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..baselines import Coded, Items, constants, from_train
from ..corpora import ParsedCorpus
from ..errors import MMFairseqError
from ..manifest import Utterance, normalised
from ..targets import SEPARATOR, Kind, Target, kind_of
from .audit_files import Files, compare, durations, headers, rounded, seconds
from .audit_overlaps import Overlap, named_paths, overlaps

Baselines = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""{protocol: {fold: {split: {baseline: {"metrics": ...}}}}}."""


class Leak(MMFairseqError):
    """Splits have in common what they must not; the message has a sentence for each pair."""


@dataclass
class Audit:
    """What was found.

    Args:
        overlaps: what splits have in common.
        durations: see `audit_files.durations`; with `splits` and `targets`, seconds of each split and label.
        baselines: on valid and test of every fold, see `baselines`.
        files: what was compared.
        accepted: whether the user has accepted the leaks.
    """

    overlaps: list[Overlap]
    durations: dict[str, Any]
    baselines: Baselines
    files: Files
    accepted: bool = False

    @property
    def leaks(self) -> list[str]:
        """A sentence for each; files of the same bytes are not told again where they are the same utterances."""
        told = {
            (each.protocol, each.fold, each.splits): each.items for each in self.overlaps if each.what == "utterances"
        }
        return [
            each.sentence()
            for each in self.overlaps
            if each.leak
            and not (each.what == "file_hashes" and told.get((each.protocol, each.fold, each.splits)) == each.items)
        ]

    def to_json(self) -> dict[str, Any]:
        """As `audit.json` holds it."""
        return {
            "leaks": self.leaks,
            "accepted": self.accepted,
            "overlaps": [each.to_json() for each in self.overlaps],
            "baselines": self.baselines,
            "files": self.files.to_json(),
            "durations": self.durations,
        }


def audit(prepared: ParsedCorpus, root: Path | None = None) -> Audit:
    """Examine a parsed corpus; files are opened only where sizes leave doubt, or headers are needed.

    Args:
        prepared: the corpus.
        root: the folder that its paths are relative to; None is that of its manifest.
    """
    root = prepared.manifest.root if root is None else root
    rows = prepared.manifest.utterances
    files = compare(root, named_paths(rows))
    headed = headers(root, rows)
    lengths = seconds(root, rows, headed)
    found = durations(rows, lengths)
    known = np.array([0.0 if isinstance(length, str) else length for length in lengths])
    found["splits"] = {
        protocol: {
            fold: {split: rounded(known[part].sum()) for split, part in splits.items()}
            for fold, splits in folds.items()
        }
        for protocol, folds in _parts(prepared).items()
    }
    found["targets"] = {target.name: _by_label(target, rows, known) for target in prepared.targets if target.classes}
    ends = {path: length for (path, _), length in headed.items() if not isinstance(length, str)}
    return Audit(overlaps(prepared, files, ends), found, baselines(prepared), files)


def _parts(prepared: ParsedCorpus) -> dict[str, dict[str, dict[str, np.ndarray]]]:
    """{protocol: {fold: {split: row numbers}}}."""
    number = {row.id: n for n, row in enumerate(prepared.manifest.utterances)}
    return {
        protocol: {
            fold: {split: np.array([number[i] for i in ids], np.int64) for split, ids in splits.items()}
            for fold, splits in folds.items()
        }
        for protocol, folds in prepared.protocols.items()
    }


def _by_label(target: Target, rows: Sequence[Utterance], known: np.ndarray) -> dict[str, float]:
    """Seconds of each class, and of "" for rows without a label; of sets every member, `|` of the empty ones."""
    out, sets = dict.fromkeys(target.classes, 0.0), kind_of(target).sets
    for row, length in zip(rows, known, strict=True):
        text = row.labels.get(target.name, "")
        for label in text.split(SEPARATOR) if sets and text.strip(SEPARATOR) else (text,):
            out[label] = out.get(label, 0.0) + length
    return {label: rounded(total) for label, total in out.items()}


def baselines(prepared: ParsedCorpus) -> Baselines:
    """Majority, look-up and constants (see `mm_fairseq.baselines`) on valid and test of every fold."""
    rows = prepared.manifest.utterances
    kinds = {target.name: kind_of(target) for target in prepared.targets}
    truths = {name: _coded(kind, rows) for name, kind in kinds.items()}
    texts = np.array([normalised(row.text) for row in rows], object)

    def items(part: np.ndarray) -> Items:
        own = {name: Coded(truth.forms, truth.numbers[part]) for name, truth in truths.items()}
        return Items(own, list(texts[part]))

    out: Baselines = {}
    for protocol, folds in _parts(prepared).items():
        for fold, splits in folds.items():
            train = items(splits.get("train", np.array([], np.int64)))
            for split in ("valid", "test"):
                if len(splits.get(split, ())):
                    part = items(splits[split])
                    found = from_train(kinds, train, part) | constants(kinds, train, part)
                    out.setdefault(protocol, {}).setdefault(fold, {})[split] = found
    return out


def _coded(kind: Kind, rows: Sequence[Utterance]) -> Coded:
    number: dict[str, int] = {}
    numbers = [number.setdefault(row.labels.get(kind.target.name, ""), len(number)) for row in rows]
    return Coded(np.array([kind.encode(label) for label in number]), np.array(numbers, np.int64))

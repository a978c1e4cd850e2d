"""What is in a prepared corpus, counted: `account.json`."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..manifest import CONTEXT, FEATURES, MODALITIES, TEXT_ASR, Manifest, Utterance
from ..targets import SEPARATOR, Target
from .base import ParsedCorpus
from .votes import vote_account


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

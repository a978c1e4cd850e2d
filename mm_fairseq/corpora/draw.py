"""Splits for a corpus that has none: the same on every machine, whatever the order of rows."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..errors import MMFairseqError
from ..manifest import Utterance
from .base import Fold

SHARES = {"train": 0.70, "valid": 0.15, "test": 0.15}


def draw(members: Iterable[tuple[str, str]], what: str, shares: Mapping[str, float] = SHARES) -> Fold:
    """A split of ids that keeps each group whole, near `shares`, the same on every machine and for every order of rows.

    Groups are taken in the order of their SHA-256; each goes where most ids are wanting, and no split stays empty.

    Args:
        members: pairs of group and id.
        what: the groups' name for the error.
        shares: split to its share of the ids.

    Raises:
        MMFairseqError: there are fewer groups than splits.
    """
    members = list(members)
    groups: dict[str, list[str]] = {}
    for group, name in members:
        groups.setdefault(group, []).append(name)
    if len(groups) < len(shares):
        raise MMFairseqError(
            f"{len(groups)} {what} cannot be divided into {', '.join(shares)}; "
            "give a split column, --columns split=COLUMN"
        )
    total = sum(map(len, groups.values()))
    chosen: dict[str, str] = {}
    counts = dict.fromkeys(shares, 0)
    order = _shuffled(groups)
    for position, group in enumerate(order):
        empty = [split for split in shares if not counts[split]]
        wanting: Sequence[str] = empty if len(order) - position <= len(empty) else list(shares)
        chosen[group] = max(wanting, key=lambda split: shares[split] * total - counts[split])
        counts[chosen[group]] += len(groups[group])
    return {split: [name for group, name in members if chosen[group] == split] for split in shares}


def draw_by_class(members: Iterable[tuple[str, str, Sequence[str]]], shares: Mapping[str, float]) -> Fold:
    """A split of ids that keeps each group whole and each class near `shares`; the same for every order of rows.

    Classes are taken from the rarest on, and of each the groups not yet placed, in the order of their SHA-256: each
    goes where most of the class are wanting (Sechidis et al. 2011, https://doi.org/10.1007/978-3-642-23808-6_10).

    Args:
        members: group, id and classes of each row, one class at least.
        shares: split to its share, 1 in all. None stays empty where there are as many groups as splits.
    """
    members = list(members)
    groups: dict[str, Counter[str]] = {}
    for group, _, classes in members:
        groups.setdefault(group, Counter()).update(classes)
    order = _shuffled(groups)
    totals = sum(groups.values(), Counter[str]())
    placed: dict[str, str] = {}
    counts: dict[str, Counter[str]] = {split: Counter() for split in shares}
    sizes = dict.fromkeys(shares, 0)
    for label in sorted(totals, key=lambda name: (totals[name], name)):
        for position, group in enumerate(order, start=1):
            if group in placed or not groups[group][label]:
                continue
            best = max(
                shares,
                key=lambda split: (
                    round(shares[split] * totals[label] - counts[split][label], 9),
                    shares[split] * position - sizes[split],
                ),
            )
            placed[group] = best
            counts[best].update(groups[group])
            sizes[best] += 1
    for split in shares:  # a share too small for any group gets one all the same
        fullest = max(shares, key=lambda each: sizes[each])
        if not sizes[split] and sizes[fullest] > 1:
            last = next(group for group in reversed(order) if placed.get(group) == fullest)
            placed[last] = split
            sizes[split], sizes[fullest] = 1, sizes[fullest] - 1
    return {split: [name for group, name, _ in members if placed[group] == split] for split in shares}


def draw_by_speaker(rows: Sequence[Utterance], notes: list[str]) -> Fold:
    """As `draw`, no speaker in two splits; says so in `notes`."""
    notes.append("train, valid and test were drawn by a hash of the speaker (70/15/15): no speaker is in two of them")
    return draw(((row.speaker, row.id) for row in rows), "speakers")


def draw_by_recording(rows: Sequence[Utterance], notes: list[str]) -> Fold:
    """As `draw`, no dialogue, or else no file, in two splits; says so in `notes`."""
    notes.append(
        "train, valid and test were drawn by a hash of the recording (70/15/15): "
        "a speaker may be in several of them, and figures then look better than they are"
    )
    return draw(((_recording(row), row.id) for row in rows), "recordings")


def draw_validation(rows: Sequence[Utterance], share: float = 0.15) -> tuple[Fold, str]:
    """Train and valid out of a training part: whole speakers where there are three or more, else single utterances.

    Returns:
        The fold, without test, and what was kept whole: "speaker" or "utterance".
    """
    what, groups = "speaker", [row.speaker for row in rows]
    if "" in groups or len(set(groups)) < 3:
        what, groups = "utterance", [row.id for row in rows]
    members = zip(groups, (row.id for row in rows), strict=True)
    return draw(members, f"{what}s of train", {"train": 1 - share, "valid": share}), what


def deal(names: Iterable[str], parts: int) -> dict[str, int]:
    """`names` in the order of their SHA-256, dealt to `parts` like cards: {name: part, from 0}, none larger by two."""
    return {name: position % parts for position, name in enumerate(_shuffled(names))}


def rotate(members: Iterable[tuple[str, str]], groups: Iterable[str], parts: int) -> dict[str, Fold]:
    """Folds that keep each group whole: fold k tests on part k of them, validates on the next, trains on the others.

    Args:
        members: pairs of group and id.
        groups: all groups there are, dealt by `deal`; `members` may be of some of them.
        parts: number of folds, at least 3.
    """
    part = deal(groups, parts)
    folds: dict[str, Fold] = {str(k + 1): {"train": [], "valid": [], "test": []} for k in range(parts)}
    for group, name in members:
        for k in range(parts):
            turn = (part[group] - k) % parts
            folds[str(k + 1)][("test", "valid")[turn] if turn < 2 else "train"].append(name)
    return folds


def _recording(row: Utterance) -> str:
    medium = row.medium("audio") or row.medium("video")
    return row.dialogue or (medium.path if medium else row.id)


def _shuffled(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())

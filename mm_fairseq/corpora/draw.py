"""Splits for a corpus that has none: the same on every machine, whatever the order of rows."""

import hashlib
from collections.abc import Iterable, Sequence

from ..errors import MMFairseqError
from .base import SPLITS, Fold

SHARES = {"train": 0.70, "valid": 0.15, "test": 0.15}


def draw(members: Iterable[tuple[str, str]], what: str) -> Fold:
    """A split of ids that keeps each group whole, near `SHARES`, the same on every machine and for every order of rows.

    Groups are taken in the order of their SHA-256; each goes where most ids are wanting, and no split stays empty.

    Args:
        members: pairs of group and id.
        what: the groups' name for the error.

    Raises:
        MMFairseqError: there are fewer than three groups.
    """
    members = list(members)
    groups: dict[str, list[str]] = {}
    for group, name in members:
        groups.setdefault(group, []).append(name)
    if len(groups) < len(SHARES):
        raise MMFairseqError(
            f"{len(groups)} {what} cannot be divided into train, valid and test; "
            "give a split column, --columns split=COLUMN"
        )
    total = sum(map(len, groups.values()))
    chosen: dict[str, str] = {}
    counts = dict.fromkeys(SPLITS, 0)
    order = sorted(groups, key=lambda group: hashlib.sha256(group.encode()).digest())
    for position, group in enumerate(order):
        empty = [split for split in SPLITS if not counts[split]]
        wanting: Sequence[str] = empty if len(order) - position <= len(empty) else SPLITS
        chosen[group] = max(wanting, key=lambda split: SHARES[split] * total - counts[split])
        counts[chosen[group]] += len(groups[group])
    return {split: [name for group, name in members if chosen[group] == split] for split in SPLITS}

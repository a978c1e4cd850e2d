"""The metrics of parts of a split: by modalities, transcript, length, attributes, session and speaker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .predictions import Prediction
from .summary import Summary

UNKNOWN = "not known"


@dataclass(frozen=True)
class Slice:
    """A split, cut by one property of its utterances.

    Args:
        name: of the property, as in the csv: "speaker".
        title: of the table: "By speaker".
        parts: value -> numbers of the utterances that have it, in the order of the table.
    """

    name: str
    title: str
    parts: dict[str, list[int]]

    def rows(self, summary: Summary) -> Iterator[tuple[str, dict[str, float], int]]:
        """Each value, its metrics and its number of utterances."""
        for value, chosen in self.parts.items():
            yield value, {name: summary.measure(name, chosen) for name in summary.main}, len(chosen)


def cut(items: Sequence[Prediction]) -> tuple[list[Slice], list[tuple[str, str]]]:
    """Cut by every property that utterances differ in.

    Args:
        items: those with a true label.

    Returns:
        The slices, and the properties that are the same for all: name and value.
    """
    attributes = dict.fromkeys(name for item in items for name in item.attributes)
    lengths, length_names = _lengths(items)
    seen = {True: "in train too", False: "new", None: ""}
    properties = [
        ("modalities", "modalities present", [" + ".join(item.modalities) for item in items]),
        ("transcript", "transcript seen in train", [seen[item.seen] for item in items]),
        ("length", "length", lengths),
        *((name, name, [item.attributes.get(name, "") for item in items]) for name in attributes),
        ("session", "session", [item.session for item in items]),
        ("speaker", "speaker", [item.speaker for item in items]),
    ]
    slices, same = [], []
    for name, title, values in properties:
        known = sorted(set(values) - {""}, key=length_names.index if name == "length" else _order)
        if len(known) > 1:
            parts = {value: [number for number, own in enumerate(values) if own == value] for value in (*known, "")}
            named = {value or UNKNOWN: chosen for value, chosen in parts.items() if chosen}
            slices.append(Slice(name, f"By {title}", named))
        elif known and "" not in values:
            same.append((title, known[0]))
    return slices, same


def _lengths(items: Sequence[Prediction]) -> tuple[list[str], list[str]]:
    """Short, middle or long of each item, a third of the utterances each as far as ties allow; and the three names."""
    known = [item.seconds for item in items if item.seconds is not None]
    low, high = np.quantile(known, [1 / 3, 2 / 3]) if known else (0.0, 0.0)
    names = [f"short (up to {low:.1f} s)", f"middle (up to {high:.1f} s)", f"long (over {high:.1f} s)"]
    return [
        "" if item.seconds is None else names[int(item.seconds > low) + int(item.seconds > high)] for item in items
    ], names


def _order(value: str) -> tuple[int, float, str]:
    """Numbers by size, then the rest by name."""
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value

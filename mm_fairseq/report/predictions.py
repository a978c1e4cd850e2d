"""Reading predictions: JSON lines, one an utterance and target, checked and grouped."""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError

NEEDED = ("id", "name", "target", "prediction")
SPLIT_ORDER = ("test", "valid", "train")
REGRESSION = "regression"


@dataclass(frozen=True)
class Prediction:
    """What a model said about one target of one utterance.

    Args:
        id: of the utterance.
        target: the true label (a number for regression); None where it is not known.
        prediction: the predicted label (a number for regression).
        scores: label -> probability; empty for regression.
        modalities: names of those present, sorted.
    """

    id: str
    target: str | float | None
    prediction: str | float
    scores: dict[str, float]
    modalities: tuple[str, ...]


@dataclass
class Group:
    """All predictions of one target on one split."""

    name: str
    split: str
    kind: str
    items: list[Prediction] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.split

    @property
    def labelled(self) -> list[Prediction]:
        """Items whose true label is known, in the order of their ids."""
        return sorted((item for item in self.items if item.target is not None), key=lambda item: item.id)

    @property
    def classes(self) -> list[str]:
        """Labels in the order the model has them, then those that only occur as truth or prediction."""
        labels = {label: None for item in self.items[:1] for label in item.scores}
        rest = {label for item in self.items for label in (*item.scores, item.prediction, item.target)}
        return [*labels, *sorted(str(label) for label in rest if label is not None and label not in labels)]


def find_files(path: str | os.PathLike) -> list[Path]:
    """The prediction files that `path` names.

    Args:
        path: a file, or a folder: then the `*predictions*.jsonl` below it, or every `*.jsonl` where there is none.

    Raises:
        MMFairseqError: there is no such file, or none in the folder.
    """
    path = Path(path)
    if not path.exists():
        raise MMFairseqError(f"{path}: no such file or folder")
    if path.is_file():
        return [path]
    found = sorted(path.rglob("*predictions*.jsonl")) or sorted(path.rglob("*.jsonl"))
    if not found:
        raise MMFairseqError(f"{path}: no predictions (*.jsonl) in this folder; `fairseq-validate` writes them")
    return found


def read(path: str | os.PathLike) -> list[Group]:
    """Read and group predictions.

    Args:
        path: see `find_files`.

    Returns:
        One group a target and split, test first, targets in the order of their first line.

    Raises:
        MMFairseqError: a line is malformed, an utterance occurs twice, or there is no line at all.
    """
    groups: dict[tuple[str, str], Group] = {}
    places: dict[tuple[str, str, str], str] = {}
    for file in find_files(path):
        for place, row in _rows(file):
            name, split = str(row["name"]), str(row.get("split") or "all")
            group = groups.setdefault((name, split), Group(name, split, str(row.get("kind") or "single")))
            item = _item(place, row, group.kind)
            first = places.setdefault((name, split, item.id), place)
            if first is not place:
                raise MMFairseqError(
                    f"{place}: utterance {item.id!r} has a second prediction for target {name!r} (the first is at "
                    f"{first}); one report shows one run: give its file, and other runs by --compare"
                )
            group.items.append(item)
    if not groups:
        raise MMFairseqError(f"{path}: no predictions in it")
    order = {split: rank for rank, split in enumerate(SPLIT_ORDER)}
    return sorted(groups.values(), key=lambda group: order.get(group.split, len(order)))


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            place = f"{file}:{number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise MMFairseqError(f"{place}: not a line of JSON ({error.msg} at column {error.colno})") from error
            missing = [name for name in NEEDED if name not in row] if isinstance(row, dict) else list(NEEDED)
            if missing:
                raise MMFairseqError(f"{place}: not a prediction, it has no {', '.join(map(repr, missing))}")
            yield place, row


def _item(place: str, row: dict[str, Any], kind: str) -> Prediction:
    scores = row.get("scores") or {}
    values = [row["prediction"]] if row["target"] is None else [row["prediction"], row["target"]]
    numbers = values if kind == REGRESSION else list(scores.values()) if isinstance(scores, dict) else [None]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers):
        what = "target and prediction" if kind == REGRESSION else "scores"
        raise MMFairseqError(f"{place}: utterance {row['id']!r}: {what} must be finite numbers, got {numbers}")
    if kind != REGRESSION and not all(isinstance(value, str) for value in values):
        raise MMFairseqError(f"{place}: utterance {row['id']!r}: target and prediction must be labels, got {values}")
    return Prediction(
        id=str(row["id"]),
        target=row["target"],
        prediction=row["prediction"],
        scores=scores,
        modalities=tuple(sorted(row.get("modalities") or ())),
    )

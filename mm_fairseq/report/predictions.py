"""Reading predictions: JSON lines, one an utterance and target, checked and grouped."""

import json
import logging
import math
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ..errors import MMFairseqError

logger = logging.getLogger(__name__)

NEEDED = ("id", "name", "target", "prediction")
SPLIT_ORDER = ("test", "valid", "train")
MULTILABEL, REGRESSION = "multilabel", "regression"
KINDS = ("single", "binary_each", MULTILABEL, REGRESSION)

Label = str | float | tuple[str, ...]


@dataclass(frozen=True)
class Prediction:
    """What a model said about one target of one utterance, and what is known of the utterance.

    Args:
        id: of the utterance.
        target: the true label (a number for regression, all labels for multilabel); None where it is not known.
        prediction: the predicted one, of the same type.
        scores: label -> probability; empty for regression, and where the file has none.
        modalities: names of those present, sorted.
        speaker: who speaks; "" where it is not known, as for the next three.
        session: of the corpus.
        dialogue: that the utterance is a part of.
        text: what is said.
        seconds: length of the utterance; None where it is not known.
        seen: whether a training utterance has the same transcript; None where there is nothing to compare.
        attributes: further columns of the manifest.
    """

    id: str
    target: Label | None
    prediction: Label
    scores: dict[str, float]
    modalities: tuple[str, ...] = ()
    speaker: str = ""
    session: str = ""
    dialogue: str = ""
    text: str = ""
    seconds: float | None = None
    seen: bool | None = None
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Truth and prediction as labels; none for regression."""
        values = [value if isinstance(value, tuple) else (value,) for value in (self.target, self.prediction)]
        return tuple(label for value in values for label in value if isinstance(label, str))

    @property
    def right(self) -> bool:
        """Whether the prediction is the truth; for multilabel the whole set."""
        if isinstance(self.target, tuple) and isinstance(self.prediction, tuple):
            return set(self.target) == set(self.prediction)
        return self.target == self.prediction


@dataclass
class Group:
    """All predictions of one target on one split; `file` is the first that has one."""

    name: str
    split: str
    kind: str
    file: Path
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
        """Labels in the order of the model; sorted where the file has no scores."""
        scored = next((item for item in self.items if item.scores), None)
        return list(scored.scores) if scored else sorted({label for item in self.items for label in item.labels})


def find_files(path: str | os.PathLike) -> list[Path]:
    """The prediction files that `path` names.

    Args:
        path: a file, or a folder: then the `*predictions*.jsonl` below it, or every `*.jsonl` where there is none. Of
            those only the least deep: a run's folder may hold other evaluations further down.

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
    depth = min(len(file.parts) for file in found)
    read = [file for file in found if len(file.parts) == depth]
    if len(read) < len(found):
        logger.info("%s: %d files of predictions further down are not read", path, len(found) - len(read))
    return read


def read(path: str | os.PathLike) -> list[Group]:
    """Read and group predictions.

    Args:
        path: see `find_files`.

    Returns:
        One group a target and split, test first, targets in the order of their first line.

    Raises:
        MMFairseqError: a line is malformed or disagrees with the lines before it, an utterance occurs twice, or there
            is no line at all.
    """
    groups: dict[tuple[str, str], Group] = {}
    places: dict[tuple[str, str, str], str] = {}
    for file in find_files(path):
        for place, row in _rows(file):
            name, split, kind = str(row["name"]), str(row.get("split") or "all"), row.get("kind") or KINDS[0]
            line = _Line(place, row)
            group = groups.setdefault((name, split), Group(name, split, kind, file))
            if kind not in KINDS:
                line.fault(f"kind {kind!r} is none of {', '.join(KINDS)}")
            if kind != group.kind:
                line.fault(f"kind {kind!r}, but target {name!r} is {group.kind!r} in the lines before")
            item = line.item(kind)
            first = places.setdefault((name, split, item.id), place)
            if first is not place:
                raise MMFairseqError(
                    f"{place}: utterance {item.id!r} has a second prediction for target {name!r} (the first is at "
                    f"{first}); one report shows one run: give its file, and other runs by --compare"
                )
            group.items.append(item)
    if not groups:
        raise MMFairseqError(f"{path}: no predictions in it")
    for group in groups.values():
        _check_classes(group, places)
    order = {split: rank for rank, split in enumerate(SPLIT_ORDER)}
    return sorted(groups.values(), key=lambda group: order.get(group.split, len(order)))


def _check_classes(group: Group, places: dict[tuple[str, str, str], str]) -> None:
    """Scores of one target name the same classes in every line, and labels are among them; one class at least."""
    classes = group.classes
    if not classes and group.kind != REGRESSION:
        raise MMFairseqError(f"{group.file}: target {group.name!r}: no label and no score names a class")
    for item in group.items:
        fault = None
        if item.scores and set(item.scores) != set(classes):
            fault = (
                f"scores for {_listed(item.scores)}, but for {_listed(classes)} in other lines; they name every class"
            )
        elif unknown := [label for label in item.labels if label not in classes]:
            fault = f"label {unknown[0]!r} is none of the classes that scores name: {_listed(classes)}"
        if fault:
            raise MMFairseqError(f"{places[group.name, group.split, item.id]}: utterance {item.id!r}: {fault}")


def _listed(labels: Collection[str]) -> str:
    return ", ".join(labels)


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


@dataclass(frozen=True)
class _Line:
    """One line and where it stands: every fault names file, line and utterance."""

    place: str
    row: dict[str, Any]

    def fault(self, what: str) -> NoReturn:
        raise MMFairseqError(f"{self.place}: utterance {self.row['id']!r}: {what}")

    def item(self, kind: str) -> Prediction:
        row = self.row
        if isinstance(row["id"], bool) or not isinstance(row["id"], str | int):
            self.fault("id must be a text")
        attributes = row.get("attributes") or {}
        if not isinstance(attributes, dict):
            self.fault(f"attributes must be column: value, got {attributes!r}")
        seconds, seen = row.get("seconds"), row.get("transcript_in_train")
        if seconds is not None and not (_finite(seconds) and seconds >= 0):
            self.fault(f"seconds must be a number of 0 or more, or null, got {seconds!r}")
        if not isinstance(seen, bool | None):
            self.fault(f"transcript_in_train must be true, false or null, got {seen!r}")
        return Prediction(
            id=str(row["id"]),
            target=None if row["target"] is None else self._label("target", kind),
            prediction=self._label("prediction", kind),
            scores=self._scores() if kind != REGRESSION else {},
            modalities=tuple(sorted(self._labels("modalities", row.get("modalities") or []))),
            speaker=self._text("speaker"),
            session=self._text("session"),
            dialogue=self._text("dialogue"),
            text=self._text("text"),
            seconds=seconds,
            seen=seen,
            attributes={str(name): "" if value is None else str(value) for name, value in attributes.items()},
        )

    def _label(self, name: str, kind: str) -> Label:
        value = self.row[name]
        if kind == MULTILABEL:
            return self._labels(name, value)
        if kind == REGRESSION:
            if not _finite(value):
                self.fault(f"{name} must be a finite number, got {value!r}")
            return float(value)
        if not isinstance(value, str):
            self.fault(f"{name} must be a label, got {value!r}")
        return value

    def _labels(self, name: str, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
            self.fault(f"{name} must be a list of labels, got {value!r}")
        return tuple(dict.fromkeys(value))

    def _scores(self) -> dict[str, float]:
        scores = self.row.get("scores") or {}
        if not isinstance(scores, dict):
            self.fault(f"scores must be label: probability, got {scores!r}")
        for label, value in scores.items():
            if not (_finite(value) and -1e-6 <= value <= 1 + 1e-6):
                self.fault(f"scores must be probabilities, finite numbers from 0 to 1, got {label}: {value!r}")
        return scores

    def _text(self, name: str) -> str:
        value = self.row.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            self.fault(f"{name} must be a text, got {value!r}")
        return "" if value is None else str(value)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

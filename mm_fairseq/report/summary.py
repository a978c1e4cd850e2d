"""One target on one split as arrays, and every metric of it, of any part of it.

Notation: N utterances with a true label, K classes; a confusion matrix has the truth in its rows.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import multilabel_confusion_matrix

from .. import metrics, resampling
from .predictions import MULTILABEL, REGRESSION, Group, Prediction

Array = npt.NDArray[Any]

MAIN = {
    MULTILABEL: ("map", "wf1", "mf1", "subset_acc"),
    REGRESSION: ("mae", "corr", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc7"),
}
MAIN_OF_CLASSES = ("wa", "ua", "wf1", "mf1")
MAIN_OF_RATINGS = ("mae", "corr", "ccc")
OF_SCORES = ("map", "auc", "ece")


@dataclass(frozen=True)
class Summary:
    """One target on one split.

    Args:
        group: its predictions.
        items: those with a true label, in the order of their ids; rows of the arrays below.
        classes: labels in the order of their numbers; empty for regression.
        truth: (N,) class numbers or values, (N, K) 0/1 for multilabel.
        said: the predictions as scores: (N, K) 0/1, or (N,) values for regression.
        scores: (N, K) probabilities; None where an utterance has none, and for regression.
    """

    group: Group
    items: list[Prediction]
    classes: list[str]
    truth: Array
    said: Array
    scores: Array | None
    _seen: dict[bytes, dict[str, float]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.group.kind

    @property
    def unlabelled(self) -> int:
        """Number of utterances without a true label."""
        return len(self.group.items) - len(self.items)

    @property
    def speakers(self) -> list[str]:
        """The speaker of each item."""
        return [item.speaker for item in self.items]

    @property
    def main(self) -> tuple[str, ...]:
        """The few metrics that tables of parts, intervals and lines for scripts show."""
        return MAIN_OF_RATINGS if self._rated else MAIN.get(self.kind, MAIN_OF_CLASSES)

    @property
    def headline(self) -> tuple[str, ...]:
        """All metrics of the target that are not of one class; without scores, those that do not need them."""
        of_classes = {f"{metric}_{label}" for metric in ("acc", "f1") for label in self.classes}
        undefined = metrics.SENTIMENT if self._rated else ()
        found = [name for name in self._functions if name not in {*of_classes, *undefined}]
        return tuple(name for name in found if self.scores is not None or not self._of_scores(name))

    @cached_property
    def values(self) -> dict[str, float]:
        """Every metric; NaN where it is not defined, or needs scores that the file does not have."""
        return {name: self.measure(name) for name in self._functions}

    def measure(self, metric: str, chosen: Sequence[int] | Array | None = None) -> float:
        """A metric of some items.

        Args:
            metric: one of `metrics.names`.
            chosen: their numbers; all when None.
        """
        answers = self.scores if self._of_scores(metric) else self.said
        if answers is None:
            return float("nan")
        if chosen is None:
            return self._functions[metric](self.truth, answers)
        return self._functions[metric](self.truth[chosen], answers[chosen])

    def constant(self) -> tuple[str, dict[str, float]]:
        """What a model that always gives the best constant answer would reach: its name and the headline metrics."""
        if self.kind == REGRESSION:
            middle = float(np.median(self.truth))
            name, answer = f"always the median ({middle:.2f})", np.full_like(self.said, middle)
        elif self.kind == MULTILABEL:
            sets, counts = np.unique(self.truth, axis=0, return_counts=True)
            name, answer = "always the commonest set", np.tile(sets[counts.argmax()], (len(self.truth), 1))
        else:
            common = np.bincount(self.truth).argmax()
            name, answer = "always the commonest class", np.zeros_like(self.said)
            answer[:, common] = 1
        known = [metric for metric in self.headline if not self._of_scores(metric)]
        return name, {metric: self._functions[metric](self.truth, answer) for metric in known}

    def intervals(self, resamples: int = 1000) -> dict[str, tuple[float, float]]:
        """95 % bootstrap interval over speakers of each main metric."""
        return {name: resampling.interval(self._resampled(name), self.speakers, resamples) for name in self.main}

    def against(self, other: "Summary", resamples: int = 1000) -> dict[str, resampling.Difference]:
        """This minus another model's main metrics on the utterances that both have."""
        mine, theirs = self.common(other)
        speakers = [self.items[number].speaker for number in mine]
        return {
            name: resampling.paired(
                lambda chosen, metric=name: other._resampled(metric)(theirs[chosen]),  # type: ignore[misc]
                lambda chosen, metric=name: self._resampled(metric)(mine[chosen]),  # type: ignore[misc]
                speakers,
                resamples,
            )
            for name in self.main
        }

    def common(self, other: "Summary") -> tuple[Array, Array]:
        """Numbers of the utterances that both have, in this and in the other summary."""
        numbers = {item.id: number for number, item in enumerate(other.items)}
        both = [(number, numbers[item.id]) for number, item in enumerate(self.items) if item.id in numbers]
        mine, theirs = np.array(both, np.int64).reshape(-1, 2).T
        return mine, theirs

    @cached_property
    def matrix(self) -> Array | None:
        """Confusion counts, shape (K, K); None where an utterance has no single class."""
        if self.kind in (MULTILABEL, REGRESSION):
            return None
        return metrics.confusion(self.truth, self.said.argmax(1) if self.items else [], len(self.classes))

    @property
    def rates(self) -> Array:
        """Share of each true class's items, shape (K, K); 0 where a class has none."""
        assert self.matrix is not None
        return self.matrix / np.maximum(self.matrix.sum(1, keepdims=True), 1)

    @cached_property
    def decisions(self) -> Array | None:
        """Counts of the yes/no decisions, shape (K, 2, 2): class, truth, prediction; None where there are none."""
        if self.kind == MULTILABEL:
            answers: Array | None = self.said
        elif self.kind == "binary_each":
            answers = self.scores
        else:
            answers = None
        if answers is None or not self.items:
            return None
        return multilabel_confusion_matrix(self.yes, answers > 0.5, labels=range(len(self.classes)))

    @property
    def yes(self) -> Array:
        """Whether each class is true of each item, shape (N, K)."""
        return self.truth > 0 if self.kind == MULTILABEL else np.eye(len(self.classes), dtype=bool)[self.truth]

    def calibration(self) -> dict[str, Array] | None:
        """`metrics.reliability`, of what `ece` is over; None without scores."""
        if self.scores is None or not self.items:
            return None
        if self.kind == "single":
            return metrics.reliability(self.scores.max(1), self.scores.argmax(1) == self.truth)
        return metrics.reliability(self.scores.ravel(), self.yes.ravel())

    @cached_property
    def _rated(self) -> bool:
        """Whether these are numbers, but no sentiment around 0."""
        return self.kind == REGRESSION and not metrics.is_sentiment(self.truth)

    @cached_property
    def _functions(self) -> dict[str, Callable[[Array, Array], float]]:
        return metrics.functions(self.kind, self.classes)

    def _of_scores(self, metric: str) -> bool:
        return metric in OF_SCORES or (self.kind == "binary_each" and metric not in MAIN_OF_CLASSES)

    def _resampled(self, metric: str) -> Callable[[Array], float]:
        """A main metric of drawn items; all of them are computed at once, and once a drawing for every comparison."""

        def value(chosen: Array) -> float:
            key = hashlib.blake2b(chosen.tobytes(), digest_size=16).digest()
            if key not in self._seen:
                self._seen[key] = self._main_of(chosen)
            return self._seen[key][metric]

        return value

    def _main_of(self, chosen: Array) -> dict[str, float]:
        if self.kind in MAIN:
            return {name: self.measure(name, chosen) for name in self.main}
        answers = self.said[chosen].argmax(1) if len(chosen) else []
        return metrics.from_confusion(metrics.confusion(self.truth[chosen], answers, len(self.classes)))


def summarise(group: Group) -> Summary:
    """The arrays of one target on one split."""
    items, classes = group.labelled, group.classes
    if group.kind == REGRESSION:
        truth, said = (np.array([getattr(item, side) for item in items], float) for side in ("target", "prediction"))
        return Summary(group, items, [], truth, said, None)
    index = {label: number for number, label in enumerate(classes)}
    sets = [_numbers(item.prediction, index) for item in items]
    truths = [_numbers(item.target, index) for item in items]
    scores = None
    if items and all(item.scores for item in items):
        scores = np.array([[item.scores[label] for label in classes] for item in items], float).clip(0, 1)
    truth = _rows(truths, len(classes)) if group.kind == MULTILABEL else np.array(truths, np.int64).reshape(-1)
    return Summary(group, items, classes, truth, _rows(sets, len(classes)), scores)


def _numbers(label: Any, index: dict[str, int]) -> list[int]:
    return [index[each] for each in (label if isinstance(label, tuple) else (label,))]


def _rows(sets: Sequence[Sequence[int]], n: int) -> Array:
    rows = np.zeros((len(sets), n))
    for row, numbers in zip(rows, sets, strict=True):
        row[numbers] = 1
    return rows


def exact_match(summaries: Sequence[Summary], split: str) -> tuple[float, int] | None:
    """Share of utterances right in every target, and their number; None with fewer than two targets of classes."""
    chosen = [summary for summary in summaries if summary.group.split == split and summary.kind != REGRESSION]
    if len(chosen) < 2:
        return None
    right = [{item.id: item.right for item in summary.items} for summary in chosen]
    common = sorted(set.intersection(*(set(each) for each in right)))
    return metrics.exact_match([[each[name] for name in common] for each in right]), len(common)

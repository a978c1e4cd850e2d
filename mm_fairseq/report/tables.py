"""Numbers of a report: metrics, confusion, counts by modality and errors, as plain tables.

Notation: K classes; a confusion matrix has the truth in its rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import metrics
from .predictions import REGRESSION, Group, Prediction

HEADLINE = ("wa", "ua", "wf1", "mf1")
NAMES = {
    "wa": "accuracy (weighted: every item counts the same)",
    "ua": "mean recall (unweighted: every class counts the same)",
    "wf1": "F1, classes weighted by their items",
    "mf1": "F1, every class counts the same",
    "mae": "mean absolute error",
    "corr": "Pearson correlation",
    "acc7": "seven classes, rounded within [-3, 3]",
    "acc5": "five classes, rounded within [-2, 2]",
    "acc3": "three classes, rounded within [-1, 1]",
    "acc2_has0": "negative against the rest, all items",
    "acc2_non0": "negative against positive, items that are not 0",
    "f1_has0": "weighted F1 of acc2_has0",
    "f1_non0": "weighted F1 of acc2_non0",
}


@dataclass(frozen=True)
class Table:
    """A titled table of text; the first column names the row, the others are numbers where `numeric` says so."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: bool = True


@dataclass(frozen=True)
class Summary:
    """One target on one split: all that the report shows of it."""

    group: Group
    scores: dict[str, float]
    items: int
    unlabelled: int
    classes: list[str]
    matrix: npt.NDArray[np.int64] | None
    tables: list[Table]

    @property
    def rates(self) -> npt.NDArray[np.float64]:
        """Shape (K, K): share of each true class's items; 0 where a class has none."""
        assert self.matrix is not None
        return self.matrix / np.maximum(self.matrix.sum(1, keepdims=True), 1)


def summarise(group: Group, errors: int = 20) -> Summary:
    """All numbers of one target on one split.

    Args:
        group: its predictions.
        errors: how many of the gravest errors to list.
    """
    items = group.labelled
    if group.kind == REGRESSION:
        classes, matrix = [], None
        tables = [_by_modalities(group.kind, items, ("mae", "corr")), _largest_errors(items, errors)]
    else:
        classes = group.classes
        matrix = _confusion(items, classes)
        tables = [_per_class(classes, matrix)]
        if group.kind == "binary_each":
            tables.append(_binary(items, classes))
        tables += [_by_modalities(group.kind, items, HEADLINE), _confident_errors(items, errors)]
    return Summary(
        group, _scores(group.kind, items), len(items), len(group.items) - len(items), classes, matrix, tables
    )


def headline(runs: Sequence[tuple[str, Sequence[Summary]]], key: tuple[str, str]) -> Table:
    """Runs side by side on one target and split.

    Args:
        runs: name and summaries; those that lack the target or split are left out.
        key: target name and split.
    """
    found = [(name, summary) for name, summaries in runs for summary in summaries if summary.group.key == key]
    first = found[0][1]
    columns = tuple(first.scores)
    rows = [(name, *(number(s.scores.get(column)) for column in columns), f"{s.items:,}") for name, s in found]
    if first.matrix is not None and first.items:
        rows.append(("always the commonest class", *map(number, _majority(first.matrix).values()), f"{first.items:,}"))
    return Table(f"{key[0]} on {key[1]}", ("run", *columns, "n"), rows)


def different_items(runs: Sequence[tuple[str, Sequence[Summary]]], key: tuple[str, str]) -> list[str]:
    """Names of the runs that were not scored on the same utterances as the first run."""
    ids = {
        name: {item.id for item in summary.group.labelled}
        for name, summaries in runs
        for summary in summaries
        if summary.group.key == key
    }
    first = next(iter(ids.values()))
    return [name for name, seen in ids.items() if seen != first]


def confusion_table(summary: Summary) -> Table:
    """Counts with each row's share, as text."""
    assert summary.matrix is not None
    rows = [
        (label, *(f"{count} ({rate:.0%})" if count else "0" for count, rate in zip(counts, rates, strict=True)))
        for label, counts, rates in zip(summary.classes, summary.matrix.tolist(), summary.rates.tolist(), strict=True)
    ]
    return Table("Confusion (rows: truth, columns: prediction)", ("", *summary.classes), rows)


def class_scores(summary: Summary) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support by class; empty for regression."""
    if summary.matrix is None:
        return {}
    scores = metrics.per_class(summary.matrix)
    return {label: {name: float(scores[name][k]) for name in scores} for k, label in enumerate(summary.classes)}


def number(value: float | None) -> str:
    """A metric as the tables print it: three decimals, a dash where it is not defined."""
    return "-" if value is None or np.isnan(value) else f"{value:.3f}"


def exact_match(summaries: Sequence[Summary], split: str) -> tuple[float, int] | None:
    """Share of utterances right in every target, and their number; None with fewer than two targets of classes."""
    chosen = [summary for summary in summaries if summary.group.split == split and summary.matrix is not None]
    if len(chosen) < 2:
        return None
    right = [{item.id: item.target == item.prediction for item in summary.group.labelled} for summary in chosen]
    common = sorted(set.intersection(*(set(each) for each in right)))
    return metrics.exact_match([[each[name] for name in common] for each in right]), len(common)


def _scores(kind: str, items: Sequence[Prediction]) -> dict[str, float]:
    if kind == REGRESSION:
        return metrics.regression([float(item.target) for item in items], [float(item.prediction) for item in items])  # type: ignore[arg-type]
    classes = sorted({str(label) for item in items for label in (item.target, item.prediction)})
    return metrics.from_confusion(_confusion(items, classes))


def _confusion(items: Sequence[Prediction], classes: Sequence[str]) -> npt.NDArray[np.int64]:
    index = {label: position for position, label in enumerate(classes)}
    truth = [index[str(item.target)] for item in items]
    return metrics.confusion(truth, [index[str(item.prediction)] for item in items], len(classes))


def _majority(matrix: npt.NDArray[np.int64]) -> dict[str, float]:
    constant = np.zeros_like(matrix)
    constant[:, matrix.sum(1).argmax()] = matrix.sum(1)
    return metrics.from_confusion(constant)


def _per_class(classes: Sequence[str], matrix: npt.NDArray[np.int64]) -> Table:
    scores = metrics.per_class(matrix)
    columns = ("precision", "recall", "f1")
    rows = [
        (label, *(number(scores[column][k]) for column in columns), str(scores["support"][k]), str(matrix[:, k].sum()))
        for k, label in enumerate(classes)
    ]
    return Table("Each class", ("class", *columns, "items", "predicted"), rows)


def _binary(items: Sequence[Prediction], classes: Sequence[str]) -> Table:
    truth = np.array([[item.target == label for label in classes] for item in items], bool).reshape(-1, len(classes))
    said = np.array([[item.scores.get(label, 0) > 0.5 for label in classes] for item in items], bool)
    scores = metrics.binary_each(metrics.binary_counts(truth, said.reshape(-1, len(classes))))
    rows = [
        (label, number(acc), number(f1)) for label, acc, f1 in zip(classes, scores["acc"], scores["f1"], strict=True)
    ]
    rows.append(("mean", number(scores["acc"].mean()), number(scores["f1"].mean())))
    return Table("Each class as a yes/no decision", ("class", "accuracy", "weighted f1"), rows)


def _by_modalities(kind: str, items: Sequence[Prediction], columns: Sequence[str]) -> Table:
    groups: dict[tuple[str, ...], list[Prediction]] = {}
    for item in items:
        groups.setdefault(item.modalities, []).append(item)
    ordered = sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    rows = [
        (
            " + ".join(present) or "none named",
            *(number(_scores(kind, chosen)[name]) for name in columns),
            f"{len(chosen):,}",
        )
        for present, chosen in ordered
    ]
    return Table("By the modalities that an utterance has", ("present", *columns, "n"), rows)


def _confident_errors(items: Sequence[Prediction], limit: int) -> Table:
    wrong = [(item.scores.get(str(item.prediction), 0.0), item) for item in items if item.target != item.prediction]
    wrong.sort(key=lambda pair: (-pair[0], pair[1].id))
    rows = [(item.id, str(item.target), str(item.prediction), number(score)) for score, item in wrong[:limit]]
    return Table(
        f"Most confident errors ({len(rows)} of {len(wrong)})", ("id", "truth", "prediction", "score"), rows, False
    )


def _largest_errors(items: Sequence[Prediction], limit: int) -> Table:
    gaps = [(float(item.prediction) - float(item.target), item) for item in items if item.target is not None]
    gaps.sort(key=lambda pair: (-abs(pair[0]), pair[1].id))
    rows = [(i.id, f"{i.target:.2f}", f"{i.prediction:.2f}", f"{gap:+.2f}") for gap, i in gaps[:limit]]
    return Table("Largest errors", ("id", "truth", "prediction", "difference"), rows, False)

"""Numbers of a report as plain tables of text: the same in the page, in Markdown and in the terminal.

Notation: K classes; a confusion matrix has the truth in its rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score

from .. import metrics
from ..resampling import Difference
from ..tables import Table, number
from .slices import Slice
from .summary import Summary


@dataclass(frozen=True)
class Change:
    """How much better this run is than another one by one metric, on `items` utterances that both have."""

    run: str
    metric: str
    difference: Difference
    items: int

    @property
    def verdict(self) -> str:
        """`better`, `worse`, or nothing where the interval holds 0 or is not known, or p is above 0.05."""
        low, high = self.difference.low, self.difference.high
        if not (low > 0 or high < 0) or self.difference.p > 0.05:
            return ""
        return "better" if (low > 0) != metrics.lower_is_better(self.metric) else "worse"


def headline(runs: Sequence[tuple[str, Summary]]) -> Table:
    """Runs side by side on one target and split, with what a constant answer would reach.

    Args:
        runs: name and summary, the run of the report first.
    """
    group, columns = runs[0][1].group, runs[0][1].headline
    rows = [
        (name, *(number(summary.values.get(column)) for column in columns), f"{len(summary.items):,}")
        for name, summary in runs
    ]
    if runs[0][1].items:
        name, values = runs[0][1].constant()
        rows.append((name, *(number(values.get(column)) for column in columns), rows[0][-1]))
    return Table(f"{group.name} on {group.split}", ("run", *columns, "n"), rows)


def different_items(runs: Sequence[tuple[str, Summary]]) -> list[str]:
    """Names of the runs that were not scored on the same utterances as the first run."""
    first, *others = [(name, {item.id for item in summary.items}) for name, summary in runs]
    return [name for name, ids in others if ids != first[1]]


def changes(name: str, found: Sequence[Change]) -> Table:
    """The paired differences between this run, `name`, and others."""
    rows = [
        (
            f"{change.run}: {change.metric}",
            signed(change.difference.value),
            "-"
            if np.isnan(change.difference.low)
            else f"{signed(change.difference.low)} to {signed(change.difference.high)}",
            p_value(change.difference.p),
            f"{change.items:,}",
        )
        for change in found
    ]
    return Table(f"{name} minus the others", ("run: metric", "difference", "95 % interval", "p", "n"), rows)


def signed(value: float) -> str:
    """A difference with its sign; a dash where it is not defined."""
    return "-" if np.isnan(value) else f"{value:+.3f}"


def p_value(p: float) -> str:
    """A p as text; a dash where it is not defined."""
    return "-" if np.isnan(p) else f"{p:.3f}" if p >= 0.001 else "< 0.001"


def confusion(summary: Summary) -> Table:
    """Counts with each row's share, as text."""
    assert summary.matrix is not None
    rows = [
        (label, *(f"{count} ({rate:.0%})" if count else "0" for count, rate in zip(counts, rates, strict=True)))
        for label, counts, rates in zip(summary.classes, summary.matrix.tolist(), summary.rates.tolist(), strict=True)
    ]
    return Table("Confusion (rows: truth, columns: prediction)", ("", *summary.classes), rows)


def class_scores(summary: Summary) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support by class, and the average precision of yes/no decisions; no regression."""
    scores: dict[str, np.ndarray] = {}
    if summary.matrix is not None:
        scores |= metrics.per_class(summary.matrix)
    if summary.decisions is not None:
        if summary.matrix is None:
            each = [metrics.per_class(matrix) for matrix in summary.decisions]
            scores |= {name: np.array([one[name][1] for one in each]) for name in each[0]}
        scores["acc"] = np.array([summary.values[f"acc_{label}"] for label in summary.classes])
        scores["weighted_f1"] = np.array([summary.values[f"f1_{label}"] for label in summary.classes])
        if summary.scores is not None:
            pairs = zip(summary.yes.T, summary.scores.T, strict=True)
            scores["ap"] = np.array([average_precision_score(yes, p) if yes.any() else np.nan for yes, p in pairs])
    return {label: {name: float(scores[name][k]) for name in scores} for k, label in enumerate(summary.classes)}


def classes(summary: Summary) -> list[Table]:
    """Each class: as one of K, and as a yes/no decision where the kind has these."""
    scores, found = class_scores(summary), []
    if not summary.items or not scores:
        return []
    columns = ("precision", "recall", "f1")
    said = summary.said.sum(0).astype(int)
    rows = [
        (label, *(number(own[column]) for column in columns), f"{own['support']:.0f}", str(n))
        for (label, own), n in zip(scores.items(), said, strict=True)
        if "precision" in own
    ]
    if rows:
        found.append(Table("Each class", ("class", *columns, "items", "predicted"), rows))
    if summary.decisions is not None:
        found.append(_decisions(summary, scores))
    return found


def _decisions(summary: Summary, scores: dict[str, dict[str, float]]) -> Table:
    names = {"acc": "accuracy", "weighted_f1": "weighted f1", "ap": "average precision"}
    kept = [name for name in names if name in next(iter(scores.values()))]
    assert summary.decisions is not None
    counts = summary.decisions.reshape(-1, 4)[:, [3, 1, 2, 0]]
    rows = [
        (label, *(number(own[name]) for name in kept), *map(str, cells))
        for (label, own), cells in zip(scores.items(), counts, strict=True)
    ]
    known = [[own[name] for own in scores.values() if not np.isnan(own[name])] for name in kept]
    means = [number(float(np.mean(each)) if each else None) for each in known]
    rows.append(("mean, sum", *means, *map(str, counts.sum(0))))
    return Table(
        "Each class as a yes/no decision",
        ("class", *(names[name] for name in kept), "right yes", "false yes", "missed", "right no"),
        rows,
        note="Yes where p > 0.5. F1 is weighted over yes and no.",
    )


def of_slice(summary: Summary, piece: Slice, limit: int = 30) -> Table:
    """The metrics of each part of a slice; of more than `limit` parts, those with the most utterances."""
    rows = [
        (value, *(number(score) for score in scores.values()), f"{n:,}") for value, scores, n in piece.rows(summary)
    ]
    note = ""
    if len(rows) > limit:
        largest = sorted(range(len(rows)), key=lambda n: -len(list(piece.parts.values())[n]))[:limit]
        note = f"The {limit} largest of {len(rows)}; metrics.csv has all."
        rows = [rows[n] for n in sorted(largest)]
    return Table(piece.title, (piece.name, *summary.main, "n"), rows, note=note)

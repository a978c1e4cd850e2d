"""The gravest errors of a model, with what was said: where to look first."""

from collections.abc import Sequence

import numpy as np

from ..tables import Table, number
from .predictions import MULTILABEL, REGRESSION, Prediction
from .summary import Summary

LIMIT = 20


def gravest(summary: Summary, limit: int = LIMIT) -> Table:
    """The most confident errors, or the largest for regression.

    Args:
        summary: of the target.
        limit: how many to list.

    Returns:
        A table with the id and, where it is known, the transcript of each.
    """
    if summary.kind == REGRESSION:
        return _largest(summary, limit)
    if summary.kind == MULTILABEL:
        return _sets(summary, limit)
    wrong = [(item.scores.get(str(item.prediction), 0.0), item) for item in summary.items if not item.right]
    wrong.sort(key=lambda pair: (-pair[0], pair[1].id))
    rows = [((item.id, str(item.target), str(item.prediction), number(score)), item) for score, item in wrong[:limit]]
    return _table(_title(len(rows), len(wrong)), ("id", "truth", "prediction", "score"), rows)


def _sets(summary: Summary, limit: int) -> Table:
    """Of sets of labels, by the most confident wrong decision; without scores, by the number of wrong ones."""
    answers = summary.said if summary.scores is None else summary.scores
    wrong = summary.said != summary.truth
    gap = np.where(wrong, abs(answers - summary.truth), 0)
    order = sorted(np.flatnonzero(wrong.any(1)), key=lambda n: (-gap[n].max(), -wrong[n].sum(), summary.items[n].id))
    rows = []
    for n in order[:limit]:
        missed, extra = (
            ", ".join(summary.classes[k] for k in np.flatnonzero(wrong[n] & side)) or "-"
            for side in (summary.truth[n] > 0, summary.truth[n] == 0)
        )
        rows.append(((summary.items[n].id, missed, extra, number(gap[n].max())), summary.items[n]))
    return _table(_title(len(rows), len(order)), ("id", "missed", "said wrongly", "off by"), rows)


def _largest(summary: Summary, limit: int) -> Table:
    gap = summary.said - summary.truth
    order = sorted(range(len(gap)), key=lambda n: (-abs(gap[n]), summary.items[n].id))
    rows = [
        (
            (summary.items[n].id, f"{summary.truth[n]:.2f}", f"{summary.said[n]:.2f}", f"{gap[n]:+.2f}"),
            summary.items[n],
        )
        for n in order[:limit]
        if gap[n]
    ]
    return _table("Largest errors", ("id", "truth", "prediction", "difference"), rows)


def _title(shown: int, n: int) -> str:
    return f"Most confident errors ({shown} of {n})"


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], Prediction]]) -> Table:
    if any(item.text for _, item in rows):
        return Table(title, (*columns, "transcript"), [(*cells, item.text) for cells, item in rows], False)
    return Table(title, columns, [cells for cells, _ in rows], False)

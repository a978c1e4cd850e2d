"""Two systems on the same utterances: is the difference more than the choice of speakers?"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from .. import metrics, resampling
from ..errors import MMFairseqError
from ..report.predictions import Group
from ..tables import Table, number, span
from .scores import Measure, chosen, measures

SHOWN = 3  # ids in a message


class Comparison(NamedTuple):
    """One metric of two systems: both values, second - first, number of utterances and of groups drawn."""

    metric: str
    first: float
    second: float
    difference: resampling.Difference
    items: int
    groups: int


def compare(
    first: Sequence[Group],
    second: Sequence[Group],
    asked: Sequence[str] = (),
    by: str = "speaker",
    n: int = 1000,
    seed: int = 0,
) -> list[Comparison]:
    """Paired bootstrap test of each metric.

    Args:
        first: predictions of one split, a group a target.
        second: those of the other system.
        asked: names of metrics; the main ones where there are none.
        by: what is drawn as a whole, one of `scores.BY`.
        n: resamples.
        seed: of the drawing.

    Raises:
        MMFairseqError: they differ in utterances or true labels, or a metric or the groups are not known.
    """
    if n < 1:
        raise MMFairseqError(f"--resamples {n}: at least 1")
    names, mine, theirs = chosen(first, asked), measures(first), measures(second)
    out = []
    for name in names:
        if name not in theirs:
            raise MMFairseqError(f"the second predictions have no metric {name!r}; they have {', '.join(theirs)}")
        _check_same(name, mine[name], theirs[name])
        groups = mine[name].groups(by)
        difference = resampling.paired(mine[name].of, theirs[name].of, groups, n=n, seed=seed)
        count = resampling.group_count(groups)
        out.append(Comparison(name, mine[name].value, theirs[name].value, difference, len(groups), count))
    return out


def table(title: str, comparisons: Sequence[Comparison]) -> Table:
    """A row a metric."""
    rows = []
    for metric, first, second, (value, low, high, p), items, _ in comparisons:
        name = f"{metric} (lower is better)" if metrics.lower_is_better(metric) else metric
        p_text = "-" if math.isnan(p) else f"{p:.4f}"
        rows.append((name, number(first), number(second), f"{value:+.3f}", span(low, high), p_text, str(items)))
    return Table(title, ("metric", "A", "B", "B - A", "95 % interval", "p", "n"), rows)


def _check_same(metric: str, first: Measure, second: Measure) -> None:
    if not first.items and not second.items:
        raise MMFairseqError(f"{metric}: no utterance has a true label")
    a, b = ({item.id: item.target for item in each.items} for each in (first, second))
    only = [sorted(a.keys() - b.keys()), sorted(b.keys() - a.keys())]
    if any(only):
        told = [f"{len(ids)} only in {name} ({_some(ids)})" for name, ids in zip("AB", only, strict=True) if ids]
        raise MMFairseqError(
            f"{metric}: not the same labelled utterances: {', '.join(told)}; {len(a & b.keys())} in both"
        )
    if different := [name for name in a if a[name] != b[name]]:
        raise MMFairseqError(
            f"{metric}: the true labels of {len(different)} utterances differ: {_some(different)}; "
            "the predictions are of different data"
        )


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (", ..." if len(ids) > SHOWN else "")

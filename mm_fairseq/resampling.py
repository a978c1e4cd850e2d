"""How far a number might move with other speakers: bootstrap intervals and paired tests over groups of utterances.

Utterances of one speaker resemble each other, so whole speakers are drawn, with replacement, and every utterance of a
drawn speaker comes along (the cluster bootstrap; Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

Notation: N utterances, G groups.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

Statistic = Callable[[npt.NDArray[np.int64]], float]

FEW = 10  # groups; a bootstrap over fewer is too sure of itself
BATCH = 64  # resamples that are drawn at once


class Difference(NamedTuple):
    """`second - first`: on all items, its interval, and the two-sided p of no difference."""

    value: float
    low: float
    high: float
    p: float


def group_count(groups: Sequence[str]) -> int:
    """How many groups there are; an empty name is a group of its own."""
    return len(set(groups) - {""}) + list(groups).count("")


def interval(
    statistic: Statistic, groups: Sequence[str], n: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over groups.

    Args:
        statistic: takes item numbers, shape (M,), some of them several times, and gives a number.
        groups: the group (speaker) of each item, length N; an item of an empty name is a group of its own.
        n: resamples.
        level: share of the resamples inside the interval.
        seed: of the drawing.

    Returns:
        Low and high end; NaN with fewer than two groups. Resamples where the statistic is NaN are left out.
    """
    return _ends(_distribution(statistic, groups, n, seed), level)


def paired(
    first: Statistic, second: Statistic, groups: Sequence[str], n: int = 1000, level: float = 0.95, seed: int = 0
) -> Difference:
    """Paired bootstrap: both statistics on the same resamples.

    Args:
        first: as `statistic` of `interval`.
        second: the other one, of the same items in the same order.
        groups: see `interval`.
        n: see `interval`.
        level: see `interval`.
        seed: see `interval`.

    Returns:
        `p` is twice the smaller share of resamples on either side of 0, the observed value counted among them (Davison
        and Hinkley, Bootstrap Methods and their Application, 1997), so that it is never 0; and it is not below twice
        the probability G^-G that one group alone is drawn, because few groups show little: 0.5 for two speakers.
        Interval and p are NaN with fewer than two groups.
    """

    def difference(items: npt.NDArray[np.int64]) -> float:
        return second(items) - first(items)

    value = float(difference(np.arange(len(groups))))
    drawn = _distribution(difference, groups, n, seed)
    if not drawn.size or np.isnan(value):
        return Difference(value, np.nan, np.nan, np.nan)
    side = min((drawn <= 0).sum(), (drawn >= 0).sum())
    count = group_count(groups)
    p = max(2 * (side + 1) / (drawn.size + 1), 2 * float(count) ** -count)
    return Difference(value, *_ends(drawn, level), min(1.0, float(p)))


def _distribution(statistic: Statistic, groups: Sequence[str], n: int, seed: int) -> npt.NDArray[np.float64]:
    """The statistic on `n` resamples, without those where it is NaN; empty with fewer than two groups."""
    names = [f"={name}" if name else str(item) for item, name in enumerate(groups)]
    _, group, sizes = np.unique(np.array(names, str), return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        return np.empty(0)
    order, starts = group.argsort(kind="stable"), sizes.cumsum() - sizes

    def on_groups(chosen: npt.NDArray[Any]) -> float:
        taken = sizes[chosen]
        begins = taken.cumsum() - taken
        return statistic(order[np.arange(taken.sum()) + np.repeat(starts[chosen] - begins, taken)])

    with warnings.catch_warnings():  # of NaN among the resamples
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            (np.arange(len(sizes)),),
            on_groups,
            n_resamples=n,
            batch=BATCH,
            vectorized=False,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    return drawn[~np.isnan(drawn)]


def _ends(drawn: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    if not drawn.size:
        return np.nan, np.nan
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high

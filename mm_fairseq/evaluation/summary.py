"""What the folds and seeds of a cross-validation add up to.

Notation: F folds, S seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import metrics, resampling
from ..report.predictions import Group
from ..tables import Table, number, span, to_csv
from .scores import Measure, chosen, measures, pooled


@dataclass(frozen=True)
class MetricSummary:
    """One metric.

    Args:
        values: of each fold's test split and seed, shape (F, S).
        pooled: of the test splits of all folds together, for each seed, shape (S,).
        interval: 95 % bootstrap interval of the mean of `pooled`; NaN where it was not asked for.
    """

    values: npt.NDArray[np.float64]
    pooled: npt.NDArray[np.float64]
    interval: tuple[float, float]

    @property
    def fold_means(self) -> npt.NDArray[np.float64]:
        """Mean over seeds of each fold, shape (F,)."""
        return self.values.mean(1)

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(self.fold_means.mean())

    @property
    def std_folds(self) -> float:
        """Standard deviation of `fold_means` (n - 1)."""
        return _deviation(self.fold_means)

    @property
    def std_seeds(self) -> float:
        """Standard deviation (n - 1) over seeds of the mean over folds."""
        return _deviation(self.values.mean(0))


@dataclass(frozen=True)
class Summary:
    """All metrics of a cross-validation.

    Args:
        folds: F names.
        seeds: S numbers.
        items: number of utterances in the test split of each fold.
        metrics: name to summary.
        shown: names of the metrics that tables show.
        by: what was drawn for the intervals: speaker or utterance.
        groups: how many of them there are.
        resamples: how often they were drawn.
    """

    folds: Sequence[str]
    seeds: Sequence[int]
    items: Sequence[int]
    metrics: Mapping[str, MetricSummary]
    shown: Sequence[str]
    by: str
    groups: int
    resamples: int

    def table(self, title: str) -> Table:
        """Folds and what they add up to, a column a metric."""
        kept = [self.metrics[name] for name in self.shown]
        count, total = f"n = {len(self.folds)}", str(sum(self.items))
        rows: list[list[str]] = []

        def add(name: str, cells: Callable[[MetricSummary], str], n: str = "") -> None:
            rows.append([name, *map(cells, kept), n])

        for place, (fold, items) in enumerate(zip(self.folds, self.items, strict=True)):
            add(f"fold {fold}", lambda each, place=place: number(each.fold_means[place]), str(items))  # type: ignore[misc]
        add(f"mean over folds ({count})", lambda each: number(each.mean))
        add(f"standard deviation over folds ({count})", lambda each: number(each.std_folds))
        add(f"standard deviation over seeds (n = {len(self.seeds)})", lambda each: number(each.std_seeds))
        add("pooled (all folds together)", lambda each: number(each.pooled.mean()), total)
        add(f"95 % interval over {self.groups} {self.by}s", lambda each: span(*each.interval))
        return Table(title, ("test, mean over seeds", *self.shown, "utterances"), rows)

    def as_json(self) -> dict[str, Any]:
        """Every number, by name."""
        return {
            "folds": list(self.folds),
            "seeds": list(self.seeds),
            "utterances": dict(zip(self.folds, self.items, strict=True)),
            "interval": {"level": 0.95, "drawn": self.by, "groups": self.groups, "resamples": self.resamples},
            "metrics": {name: self._metric_json(each, name in self.shown) for name, each in self.metrics.items()},
        }

    def _metric_json(self, each: MetricSummary, shown: bool) -> dict[str, Any]:
        by_fold = dict(zip(self.folds, each.values.tolist(), strict=True))
        out = {
            "mean": each.mean,
            "std_folds": each.std_folds,
            "std_seeds": each.std_seeds,
            "pooled": float(each.pooled.mean()),
            "folds": dict(zip(self.folds, each.fold_means.tolist(), strict=True)),
            "folds_seeds": {fold: dict(zip(self.seeds, row, strict=True)) for fold, row in by_fold.items()},
            "pooled_seeds": dict(zip(self.seeds, each.pooled.tolist(), strict=True)),
        }
        return out | {"interval": list(each.interval)} if shown else out

    def as_csv(self) -> str:
        """One line a number: easy to filter."""
        rows: list[Sequence[Any]] = []
        for name, each in self.metrics.items():
            for fold, row in zip(self.folds, each.values.tolist(), strict=True):
                rows += [("test", fold, seed, name, value) for seed, value in zip(self.seeds, row, strict=True)]
            rows += [("pooled", "", seed, name, value) for seed, value in zip(self.seeds, each.pooled, strict=True)]
            means = zip(self.folds, each.fold_means.tolist(), strict=True)
            rows += [("mean_over_seeds", fold, "", name, value) for fold, value in means]
            rows += [
                ("mean_over_folds", "", "", name, each.mean),
                ("std_over_folds", "", "", name, each.std_folds),
                ("std_over_seeds", "", "", name, each.std_seeds),
                ("pooled_mean_over_seeds", "", "", name, float(each.pooled.mean())),
            ]
            if name in self.shown:
                ends = zip(("pooled_low", "pooled_high"), each.interval, strict=True)
                rows += [(end, "", "", name, value) for end, value in ends]
        return to_csv(("number", "fold", "seed", "metric", "value"), rows)


def summarise(
    runs: Mapping[int, Mapping[str, Sequence[Group]]], asked: Sequence[str] = (), resamples: int = 1000
) -> Summary:
    """Add up the runs of a cross-validation.

    Args:
        runs: seed to fold to the predictions of its test split, a group a target.
        asked: the metrics to show and to give intervals of; the main ones where there are none.
        resamples: draws for an interval.

    Raises:
        MMFairseqError: the folds have different targets, or a metric is unknown.
    """
    seeds, folds = list(runs), list(next(iter(runs.values())))
    first = next(iter(runs.values()))[folds[0]]
    shown = chosen(first, asked)
    single = {seed: {fold: measures(groups) for fold, groups in run.items()} for seed, run in runs.items()}
    together = {seed: measures(pooled(run)) for seed, run in runs.items()}
    pool = next(iter(together.values()))[shown[0]]
    by = "speaker" if any(item.speaker for item in pool.items) else "utterance"
    out = {}
    for name in next(iter(together.values())):
        values = np.array([[single[seed][fold][name].value for seed in seeds] for fold in folds])
        pools = [together[seed][name] for seed in seeds]
        ends = _interval(pools, by, resamples) if name in shown else (np.nan, np.nan)
        out[name] = MetricSummary(values, np.array([pool.value for pool in pools]), ends)
    counts = [len({item.id for group in next(iter(runs.values()))[fold] for item in group.items}) for fold in folds]
    return Summary(folds, seeds, counts, out, shown, by, resampling.group_count(pool.groups(by)), resamples)


def _interval(pools: Sequence[Measure], by: str, resamples: int) -> tuple[float, float]:
    """Of the mean over seeds, all scored on the same draw."""

    def mean(items: npt.NDArray[np.int64]) -> float:
        return float(np.mean([pool.of(items) for pool in pools]))

    return resampling.interval(mean, pools[0].groups(by), n=resamples)


def _deviation(values: npt.NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else np.nan


def page(table: Table, shown: Sequence[str]) -> list[str]:
    """Lines of Markdown: the title, the table, and what the metrics `shown` in it mean."""
    return [f"## {table.title}", "", table.markdown(), "", *(f"- {name}: {metrics.describe(name)}" for name in shown)]

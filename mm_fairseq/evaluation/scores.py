"""Every metric of a set of predictions by its name in the log, as a function of utterances that can be drawn anew."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from .. import metrics
from ..errors import MMFairseqError
from ..report import predictions
from ..report.predictions import REGRESSION, Group, Prediction
from ..report.summary import Summary, summarise
from ..resampling import Statistic

BY = ("speaker", "session", "utterance")


class Measure(NamedTuple):
    """One metric.

    Args:
        items: the N labelled utterances that it is of, in the order of their ids.
        of: its value on utterances given by their numbers, shape (M,), some of them several times.
    """

    items: Sequence[Prediction]
    of: Statistic

    @property
    def value(self) -> float:
        """On all utterances."""
        return self.of(np.arange(len(self.items)))

    def groups(self, by: str) -> list[str]:
        """The speaker or session of each utterance; "" is an utterance by itself.

        Raises:
            MMFairseqError: `by` is none of `BY`, or is known of no utterance.
        """
        if by not in BY:
            raise MMFairseqError(f"resampling by {by!r}; allowed: {', '.join(BY)}")
        if by == "utterance":
            return [""] * len(self.items)
        names = [getattr(item, by) for item in self.items]
        if not any(names):
            raise MMFairseqError(f"these predictions name no {by}; resample by utterance")
        return names


def load(path: str | os.PathLike, split: str = "", target: str = "") -> list[Group]:
    """Read the predictions of one split, a group a target.

    Args:
        path: a file or a folder, see `report.predictions.find_files`.
        split: which; where it is empty, test, else valid, else what there is.
        target: the only one to keep; all of them where it is empty.

    Raises:
        MMFairseqError: no such split or target (lists those there are), or the file is not usable.
    """
    groups = predictions.read(path)
    splits = list(dict.fromkeys(group.split for group in groups))
    if split and split not in splits:
        raise MMFairseqError(f"{path}: no predictions of split {split!r}; it has {', '.join(splits)}")
    groups = [group for group in groups if group.split == (split or splits[0])]
    names = [group.name for group in groups]
    if target and target not in names:
        raise MMFairseqError(f"{path}: no target {target!r}; it has {', '.join(names)}")
    return [group for group in groups if target in ("", group.name)]


def pooled(parts: Mapping[str, Sequence[Group]]) -> list[Group]:
    """The test splits of several folds as one; an utterance is then called FOLD/ID.

    Raises:
        MMFairseqError: the folds have different targets or classes.
    """
    described = {fold: {group.name: (group.kind, group.classes) for group in part} for fold, part in parts.items()}
    first, targets = next(iter(described.items()))
    for fold, other in described.items():
        if other != targets:
            raise MMFairseqError(f"fold {first} predicts {targets}, fold {fold} predicts {other}")
    pools = []
    for group in next(iter(parts.values())):
        by_fold = {fold: next(g for g in part if g.name == group.name) for fold, part in parts.items()}
        items = [replace(item, id=f"{fold}/{item.id}") for fold, part in by_fold.items() for item in part.items]
        pools.append(replace(group, items=items))
    return pools


def measures(groups: Sequence[Group]) -> dict[str, Measure]:
    """Every metric of the targets of a split by its name in the log."""
    summaries = [summarise(group) for group in groups]
    out = {
        _log_name(metric, summary, summaries): Measure(summary.items, partial(summary.measure, metric))
        for summary in summaries
        for metric in metrics.names(summary.kind, summary.classes)
    }
    of_classes = [summary for summary in summaries if summary.kind != REGRESSION]
    if len(of_classes) > 1:
        right = [{item.id: item.right for item in summary.items} for summary in of_classes]
        items = [item for item in of_classes[0].items if all(item.id in each for each in right)]
        hits = np.array([all(each[item.id] for each in right) for item in items], bool)
        out["exact_match"] = Measure(items, lambda chosen: metrics.exact_match([hits[chosen]]))
    return out


def chosen(groups: Sequence[Group], asked: Sequence[str]) -> list[str]:
    """The names of the metrics `asked` for; the few main ones of each target where there are none.

    A metric may be named as in the log (`ua_action`) or, where there are several targets, for all of them (`ua`).

    Raises:
        MMFairseqError: there is no such metric; lists those there are.
    """
    summaries, known = [summarise(group) for group in groups], list(measures(groups))
    named = {
        metric: [_log_name(metric, summary, summaries) for summary in summaries] for metric in metrics.DESCRIPTIONS
    }
    out = []
    for name in asked:
        found = [each for each in (name, *named.get(name, ())) if each in known]
        if not found:
            raise MMFairseqError(f"unknown metric {name!r}; these predictions have {', '.join(known)}")
        out += found
    if not asked:
        out = [_log_name(metric, summary, summaries) for summary in summaries for metric in summary.main]
        out += ["exact_match"] * ("exact_match" in known)
    return list(dict.fromkeys(out))


def check_known(asked: Sequence[str]) -> None:
    """Raises MMFairseqError for a name that no target of any kind has, before hours are spent on the others."""
    for name in asked:
        if not metrics.describe(name):
            raise MMFairseqError(f"unknown metric {name!r}; known: {', '.join(metrics.DESCRIPTIONS)}")


def _log_name(metric: str, summary: Summary, summaries: Sequence[Summary]) -> str:
    return metrics.log_name(metric, summary.group.name, len(summaries) > 1)

"""What a model has to beat: answers that come from the labels and transcripts of train alone, or are the same for all.

| baseline            | its answer                                                                                     |
|---------------------|------------------------------------------------------------------------------------------------|
| `majority`          | the commonest label of train (a class, or a whole set); of numbers the median of train         |
| `transcript_lookup` | the same among the items of train with this transcript; where there are none, as `majority`    |
| `constant_best`     | classes: the commonest of the split itself; no constant has a higher wa, wf1 or mf1 there      |
| `constant_all`      | sets of classes: every class                                                                   |
| `constant_zero`     | numbers: 0                                                                                     |
| `constant_mean`     | numbers: the mean of train                                                                     |
| `constant_positive` | numbers: the mean of train's positive ones                                                     |

`constant_zero` and `constant_positive` are for numbers on both sides of 0. Of labels that are equally common, the one
is taken whose first class comes first.

Notation: N items of a split, K classes, G different transcripts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import metrics
from .metrics import Array
from .targets import Kind

OF_SCORES = frozenset({"map", "auc", "ece"})  # of an answer without probabilities they tell nothing

Values = dict[str, float | None]
"""Metrics by their names in the log; None where one is not defined."""


class Coded(NamedTuple):
    """Labels of many items of which few differ: item n has `forms[numbers[n]]`. Shapes (F, ...) and (N,)."""

    forms: Array
    numbers: Array


class Items(NamedTuple):
    """What is known of a split.

    Args:
        truths: target name to labels as `Kind.encode` has them: (N,) class numbers or numbers, (N, K) for sets; or
            `Coded`.
        texts: N transcripts as `manifest.normalised` makes them; "" where there is none.
    """

    truths: Mapping[str, Any]
    texts: Sequence[str]


def from_train(kinds: Mapping[str, Kind], train: Items, split: Items) -> dict[str, dict[str, Any]]:
    """The metrics of `majority` and `transcript_lookup` on a split.

    Args:
        kinds: target name to kind.
        train: where the answers come from.
        split: where they are measured.

    Returns:
        `{baseline: {"metrics": Values}}`, and `known`, the share of the split whose transcript train has, beside those
        of `transcript_lookup`. Without `transcript_lookup` where train has no transcripts; empty where a target has no
        label in train.
    """
    number_of = {text: number for number, text in enumerate(dict.fromkeys(filter(None, train.texts)))}
    groups = np.array([number_of.get(text, -1) for text in train.texts], np.int64)
    asked = np.array([number_of.get(text, -1) for text in split.texts], np.int64)
    majority: dict[str, Array] = {}
    looked_up: dict[str, Array] = {}
    for name, kind in kinds.items():
        usual = _answers(kind, train, np.zeros(len(groups), np.int64), 1)
        if np.isnan(usual).any():
            return {}
        majority[name] = np.broadcast_to(usual[0], (len(asked), *usual.shape[1:]))
        answers = np.array(majority[name])
        own = _answers(kind, train, groups, len(number_of))
        rows = np.flatnonzero(asked >= 0)
        found = own[asked[rows]]
        has = ~_undefined(found)
        answers[rows[has]] = found[has]
        looked_up[name] = answers
    out: dict[str, dict[str, Any]] = {"majority": {"metrics": measure(kinds, split, majority)}}
    if number_of:
        share = float(np.mean(asked >= 0)) if len(asked) else 0.0
        out["transcript_lookup"] = {"known": share, "metrics": measure(kinds, split, looked_up)}
    return out


def constants(kinds: Mapping[str, Kind], train: Items, split: Items) -> dict[str, dict[str, Any]]:
    """The metrics of the constants that are defined for these targets, each of the targets that it is defined for.

    Returns:
        `{baseline: {"metrics": Values}}`, in the order of the module's table.
    """
    found: dict[str, dict[str, Array]] = {}
    for name, kind in kinds.items():
        for constant, answer in _constants(kind, train, split).items():
            found.setdefault(constant, {})[name] = np.broadcast_to(answer, (len(split.texts), *answer.shape))
    order = ("constant_best", "constant_all", "constant_zero", "constant_mean", "constant_positive")
    return {name: {"metrics": measure(kinds, split, found[name])} for name in order if name in found}


def measure(kinds: Mapping[str, Kind], split: Items, scores: Mapping[str, Array]) -> Values:
    """The metrics of answers, by their names in the log: without `OF_SCORES`, those of classes where they are few.

    Args:
        kinds: all targets, which decide on the names.
        split: N items.
        scores: the answers, target name to (N, K) or (N,); of some targets or all.
    """
    out: Values = {}
    right: list[Array] = []
    labelled = np.ones(len(split.texts), bool)
    for name, answers in scores.items():
        kind, truth = kinds[name], _labels(kinds[name], split)
        functions = metrics.functions(kind.target.kind, kind.classes)
        for metric in kind.metric_names:
            if metric not in OF_SCORES:
                value = functions[metric](truth, answers)
                out[metrics.log_name(metric, name, len(kinds) > 1)] = None if np.isnan(value) else value
        if (hits := kind.right(truth, answers)) is not None:
            labelled &= known(truth)
            right.append(hits)
    if len(right) > 1 and len(right) == sum(bool(kind.classes) for kind in kinds.values()):
        value = metrics.exact_match([hits[labelled] for hits in right])
        out["exact_match"] = None if np.isnan(value) else value
    return out


def known(labels: Array) -> Array:
    """Which items have a label. Shape (N,), bool."""
    return labels >= 0 if labels.dtype.kind != "f" else ~_undefined(labels)


def _undefined(values: Array) -> Array:
    """Which rows have NaN somewhere. Shape (N,), bool."""
    return np.asarray(np.isnan(values).any(axis=tuple(range(1, values.ndim))))


def _labels(kind: Kind, items: Items) -> Array:
    """All labels of a target: int64 (N,), float64 (N,) or float64 (N, K)."""
    truth = items.truths[kind.target.name]
    truth = truth.forms[truth.numbers] if isinstance(truth, Coded) else truth
    if kind.sets:
        return np.asarray(truth, np.float64).reshape(-1, len(kind.classes))
    return np.asarray(truth, np.int64 if kind.classes else np.float64)


def _constants(kind: Kind, train: Items, split: Items) -> dict[str, Array]:
    """Answers in the form of `Kind.probabilities`: shape (K,), or ()."""
    if kind.sets:
        return {"constant_all": np.ones(len(kind.classes))}
    if kind.classes:
        best = _answers(kind, split, np.zeros(len(split.texts), np.int64), 1)[0]
        return {} if np.isnan(best).any() else {"constant_best": best}
    numbers = _labels(kind, train)
    numbers = numbers[known(numbers)]
    if not numbers.size:
        return {}
    out = {"constant_mean": numbers.mean()}
    if numbers.min() < 0 < numbers.max():
        out |= {"constant_zero": np.zeros(()), "constant_positive": numbers[numbers > 0].mean()}
    return {name: np.asarray(value) for name, value in out.items()}


def _answers(kind: Kind, items: Items, groups: Array, count: int) -> Array:
    """The commonest label or the median of each group; NaN for one without labels.

    Args:
        kind: of the target.
        items: N of them.
        groups: the group of each, (N,), below `count`; negative for none.
        count: number of groups G.

    Returns:
        In the form of `Kind.probabilities`, shape (G, K) or (G,).
    """
    if not kind.classes:
        values = _labels(kind, items)
        kept = known(values) & (groups >= 0)
        return _medians(values[kept], groups[kept], count)
    forms, numbers = _forms(kind, items)
    kept = (numbers >= 0) & (groups >= 0)
    out = np.full((count, len(kind.classes)), np.nan)
    group, number = _commonest(numbers[kept], groups[kept], max(len(forms), 1))
    out[group] = forms[number]
    return out


def _forms(kind: Kind, items: Items) -> tuple[Array, Array]:
    """The labels that there are, the one whose first class comes first before others, and the number of each item's.

    Returns:
        float64 (F, K) and int64 (N,), negative where the label is missing.
    """
    if not kind.sets:
        return np.eye(len(kind.classes)), _labels(kind, items)
    truth = items.truths[kind.target.name]
    if not isinstance(truth, Coded):
        truth = Coded(_labels(kind, items), np.arange(len(items.texts)))
    there = np.flatnonzero(~_undefined(truth.forms))
    absent, place = np.unique(1 - truth.forms[there], axis=0, return_inverse=True)
    number_of = np.full(len(truth.forms), -1, np.int64)
    number_of[there] = place.reshape(-1)
    return 1 - absent, number_of[truth.numbers]


def _commonest(numbers: Array, groups: Array, size: int) -> tuple[Array, Array]:
    """The groups that occur, and the commonest of the numbers below `size` in each, of equals the smallest."""
    pairs, times = np.unique(groups * size + numbers, return_counts=True)
    group, number = np.divmod(pairs, size)
    order = np.lexsort((number, -times, group))
    found, first = np.unique(group[order], return_index=True)
    return found, number[order][first]


def _medians(values: Array, groups: Array, count: int) -> Array:
    out = np.full(count, np.nan)
    order = np.lexsort((values, groups))
    found, first, times = np.unique(groups[order], return_index=True, return_counts=True)
    if found.size:
        sorted_values = values[order]
        out[found] = (sorted_values[first + (times - 1) // 2] + sorted_values[first + times // 2]) / 2
    return out

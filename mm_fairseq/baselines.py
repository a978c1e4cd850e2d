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


class Items(NamedTuple):
    """What is known of a split.

    Args:
        truths: target name to labels as `Kind.encode` has them: (N,) class numbers or numbers, (N, K) for sets.
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
        labels = _labels(kind, train)
        rows = np.flatnonzero(known(labels))
        if not rows.size:
            return {}
        usual = _answers(kind, labels[rows], np.zeros(rows.size, np.int64), 1)[0]
        majority[name] = np.broadcast_to(usual, (len(asked), *usual.shape))
        rows = rows[groups[rows] >= 0]
        own = _answers(kind, labels[rows], groups[rows], len(number_of))
        answers = own[asked] if len(own) else np.full(majority[name].shape, np.nan)
        missing = (asked < 0) | _undefined(answers)
        answers[missing] = usual
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
        for constant, answer in _constants(kind, _labels(kind, train), _labels(kind, split)).items():
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
    if kind.sets:
        return np.asarray(items.truths[kind.target.name], np.float64).reshape(-1, len(kind.classes))
    return np.asarray(items.truths[kind.target.name], np.int64 if kind.classes else np.float64)


def _constants(kind: Kind, train: Array, split: Array) -> dict[str, Array]:
    """Answers in the form of `Kind.probabilities`: shape (K,), or ()."""
    train, split = train[known(train)], split[known(split)]
    if kind.sets:
        return {"constant_all": np.ones(len(kind.classes))}
    if kind.classes:
        if not split.size:
            return {}
        return {"constant_best": _answers(kind, split, np.zeros(split.size, np.int64), 1)[0]}
    if not train.size:
        return {}
    out = {"constant_mean": train.mean()}
    if train.min() < 0 < train.max():
        out |= {"constant_zero": np.zeros(()), "constant_positive": train[train > 0].mean()}
    return {name: np.asarray(value) for name, value in out.items()}


def _answers(kind: Kind, labels: Array, groups: Array, count: int) -> Array:
    """The commonest label or the median of each group; NaN for one without labels.

    Args:
        kind: of the target.
        labels: all there, (N,) or (N, K).
        groups: the group of each, (N,), below `count`.
        count: number of groups G.

    Returns:
        In the form of `Kind.probabilities`, shape (G, K) or (G,).
    """
    if not kind.classes:
        return _medians(labels, groups, count)
    size = len(kind.classes)
    if kind.sets:
        forms, numbers = np.unique(1 - labels.reshape(-1, size), axis=0, return_inverse=True)
        forms, numbers = 1 - forms, numbers.reshape(-1)
    else:
        forms, numbers = np.eye(size), labels
    out = np.full((count, size), np.nan)
    group, number = _commonest(numbers, groups, max(len(forms), 1))
    out[group] = forms[number]
    return out


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

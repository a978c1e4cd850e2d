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

Of train no more is held than its label and its transcript as 4 bytes each; the rest is read piece by piece.

Notation: N items of a split, K classes, G different transcripts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import metrics
from .metrics import Array
from .targets import Kind

_CHUNK = 1 << 16

OF_SCORES = frozenset({"map", "auc", "ece"})  # of an answer without probabilities they tell nothing

Values = dict[str, float | None]
"""Metrics by their names in the log; None where one is not defined."""


class Coded(NamedTuple):
    """Labels of many items of which few differ: item n has `forms[numbers[n]]`. Shapes (F, ...) and (N,)."""

    forms: Array
    numbers: Array


class Texts(NamedTuple):
    """Transcripts of many items of which few differ: item n has `forms[numbers[n]]`, none where that is below 0."""

    forms: Sequence[str]
    numbers: Array


class Items(NamedTuple):
    """What is known of a split.

    Args:
        truths: target name to labels as `Kind.encode` has them: (N,) class numbers or numbers, (N, K) for sets; or
            `Coded`; or what gives such an array for a slice.
        texts: N transcripts as `manifest.normalised` makes them, "" where there is none; of train also `Texts`.
    """

    truths: Mapping[str, Any]
    texts: Sequence[str] | Texts


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
    heard, asked = _texts(train.texts), _texts(split.texts)
    place_of = {text: place for place, text in enumerate(asked.forms)}
    places = np.array([place_of.get(text, -1) for text in heard.forms], np.int64)
    has = _occur(heard)
    known_texts = np.append(np.isin(np.arange(len(asked.forms)), places[has]), False)  # the last: without a transcript
    rows = np.flatnonzero(known_texts[asked.numbers])
    majority: dict[str, Array] = {}
    looked_up: dict[str, Array] = {}
    for name, kind in kinds.items():
        coded = _coded(kind, train.truths[name])
        usual = _answers(kind, coded, None, 1)
        if np.isnan(usual).any():
            return {}
        majority[name] = np.broadcast_to(usual[0], (len(split.texts), *usual.shape[1:]))
        answers = np.array(majority[name])
        found = _answers(kind, coded, Coded(places, heard.numbers), len(asked.forms))[asked.numbers[rows]]
        known_here = ~_undefined(found)
        answers[rows[known_here]] = found[known_here]
        looked_up[name] = answers
    out: dict[str, dict[str, Any]] = {"majority": {"metrics": measure(kinds, split, majority)}}
    if has.any():
        share = len(rows) / len(split.texts) if split.texts else 0.0
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
        best = _answers(kind, _coded(kind, split.truths[kind.target.name]), None, 1)[0]
        return {} if np.isnan(best).any() else {"constant_best": best}
    numbers = _labels(kind, train)
    numbers = numbers[known(numbers)]
    if not numbers.size:
        return {}
    out = {"constant_mean": numbers.mean()}
    if numbers.min() < 0 < numbers.max():
        out |= {"constant_zero": np.zeros(()), "constant_positive": numbers[numbers > 0].mean()}
    return {name: np.asarray(value) for name, value in out.items()}


def _texts(texts: Sequence[str] | Texts) -> Texts:
    if isinstance(texts, Texts):
        return texts
    number_of = {text: number for number, text in enumerate(dict.fromkeys(filter(None, texts)))}
    return Texts(list(number_of), np.array([number_of.get(text, -1) for text in texts], np.int32))


def _occur(texts: Texts) -> Array:
    """Which of the forms some item has. Shape (F,), bool."""
    out = np.zeros(len(texts.forms) + 1, bool)  # the last: of items without any
    for part in _parts(len(texts.numbers)):
        out[texts.numbers[part]] = True
    return out[:-1]


def _parts(size: int) -> list[slice]:
    """An index of 4 bytes is made one of 8 by NumPy: not of all at once."""
    return [slice(start, start + _CHUNK) for start in range(0, size, _CHUNK)]


def _renumbered(numbers: Array, new: Array) -> Array:
    """`new[number]` of each number, -1 of those below 0. Shape (N,), int32."""
    new, out = np.append(new, -1), np.empty(len(numbers), np.int32)
    for part in _parts(len(numbers)):
        out[part] = new[numbers[part]]
    return out


def _coded(kind: Kind, truth: Any) -> Coded:
    """The labels of N items as int32 numbers, below 0 where one is missing.

    Args:
        kind: of the target.
        truth: as in `Items.truths`.

    Returns:
        `forms`: float64 (F, K), the one whose first class comes first before others; of numbers (F,), rising.
    """
    if isinstance(truth, Coded):
        forms, numbers = _coded(kind, truth.forms)
        return Coded(forms, _renumbered(truth.numbers, numbers))
    numbers, parts = np.empty(len(truth), np.int32), _parts(len(truth))
    if kind.sets:
        number_of: dict[bytes, int] = {}
        for part in parts:
            rows = np.asarray(truth[part], np.float64).reshape(-1, len(kind.classes))
            numbers[part] = [number_of.setdefault(row.tobytes(), len(number_of)) for row in rows]
        found = np.frombuffer(b"".join(number_of), np.float64).reshape(-1, len(kind.classes))
        there = np.flatnonzero(~_undefined(found))
        absent, place = np.unique(1 - found[there], axis=0, return_inverse=True)
        order = np.full(len(found), -1)
        order[there] = place.reshape(-1)
        return Coded(1 - absent, _renumbered(numbers, order))
    if kind.classes:
        for part in parts:
            numbers[part] = truth[part]
        return Coded(np.eye(len(kind.classes)), numbers)
    values = np.empty(0)
    for part in parts:
        x = np.asarray(truth[part], np.float64)
        values = np.union1d(values, x[~np.isnan(x)])
    for part in parts:
        x = np.asarray(truth[part], np.float64)
        numbers[part] = np.where(np.isnan(x), -1, np.searchsorted(values, x))
    return Coded(values, numbers)


def _answers(kind: Kind, labels: Coded, groups: Coded | None, count: int) -> Array:
    """The commonest label or the median of each group; NaN for one without labels.

    Args:
        kind: of the target.
        labels: of N items, as `_coded` has them.
        groups: the group of each, below `count`; negative for none; None is one group of all.
        count: number of groups G.

    Returns:
        In the form of `Kind.probabilities`, shape (G, K) or (G,).
    """
    forms, size = labels.forms, max(len(labels.forms), 1)
    keys = _keys(labels.numbers, groups, size)
    out = np.full((count, *forms.shape[1:]), np.nan)
    if kind.classes:
        begins = np.append(np.zeros(min(len(keys), 1), np.int64), 1 + np.flatnonzero(keys[1:] != keys[:-1]))
        times = np.diff(begins, append=len(keys))
        group, number = np.divmod(keys[begins], size)
        order = np.lexsort((number, -times, group))
        found, first = np.unique(group[order], return_index=True)
        out[found] = forms[number[order][first]]
    else:
        ends = np.searchsorted(keys, size * np.arange(count + 1))
        found = np.flatnonzero(np.diff(ends))
        middles = [(ends[found] + ends[found + 1] - odd) // 2 for odd in (1, 0)]
        out[found] = sum(forms[keys[middle] % size] for middle in middles) / 2
    return out


def _keys(numbers: Array, groups: Coded | None, size: int) -> Array:
    """`group * size + number` of all items that have both, sorted.

    Args:
        numbers: of N items, below `size`.
        groups: of N items; None is 0 for all.
        size: see `numbers`.
    """
    keys, kept = np.empty(len(numbers), np.int64), 0
    places = np.append([] if groups is None else groups.forms, -1)
    for part in _parts(len(numbers)):
        number = numbers[part].astype(np.int64)
        group = np.zeros_like(number) if groups is None else places[groups.numbers[part]]
        found = (group * size + number)[(number >= 0) & (group >= 0)]
        keys[kept : kept + len(found)] = found
        kept += len(found)
    keys = keys[:kept]
    keys.sort()
    return keys

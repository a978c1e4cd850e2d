"""Exact metrics over a whole split, in scikit-learn's and SciPy's arithmetic: ours are the names and the undefined.

A metric is a function of all items of a split, never an average over batches. Fractions lie in [0, 1]. What is not
defined (no labelled item, one class only where two are needed, the correlation with a constant) is NaN.

Notation: N items, K classes. `truth` and `scores` by kind of target:

| kind          | truth                                       | scores                        | prediction    |
|---------------|---------------------------------------------|-------------------------------|---------------|
| `single`      | (N,) class numbers, negative = missing      | (N, K) probabilities          | the largest   |
| `binary_each` | (N,) class numbers, negative = missing      | (N, K) p(yes) of each class   | the largest   |
| `multilabel`  | (N, K) of 0 and 1, a row of NaN = missing   | (N, K) p(yes) of each class   | all above 0.5 |
| `regression`  | (N,) numbers, NaN = missing                 | (N,) numbers                  | the number    |
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import pearsonr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    mean_absolute_error,
    precision_recall_fscore_support,
    roc_auc_score,
)

from .errors import MMFairseqError
from .metric_names import DESCRIPTIONS as DESCRIPTIONS
from .metric_names import LOWER_IS_BETTER as LOWER_IS_BETTER
from .metric_names import describe as describe
from .metric_names import log_name as log_name
from .metric_names import lower_is_better as lower_is_better

Array = npt.NDArray[Any]
Metric = Callable[[Any, Any], float]

NAN = float("nan")
BOUND = 3 + 1e-3  # of sentiment; the rest is rounding
SENTIMENT = ("acc7", "acc5", "acc3", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0")
"""Metrics of numbers in [-3, 3] around a neutral 0; see `is_sentiment`."""


def functions(kind: str, classes: Sequence[str] = ()) -> dict[str, Metric]:
    """The metrics of a kind of target, in the order of tables.

    Args:
        kind: `single`, `binary_each`, `multilabel` or `regression`.
        classes: labels in the order of their numbers; empty for regression.

    Returns:
        Functions of (truth, scores), as the module's table has them, by name. They raise `MMFairseqError` for a score
        that is not finite, a class number out of range and shapes that do not fit.

    Raises:
        MMFairseqError: the kind is unknown.
    """
    prepare = _preparation(kind)

    def defined(metric: Metric) -> Metric:
        return lambda truth, scores: _value(metric, *prepare(truth, scores, len(classes)))

    return {name: defined(metric) for name, metric in _of_prepared(kind, classes).items()}


def names(kind: str, classes: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of `functions`."""
    return tuple(_of_prepared(kind, classes))


def compute(kind: str, classes: Sequence[str], truth: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, float]:
    """The values of all `functions`."""
    truth, scores = _preparation(kind)(truth, scores, len(classes))
    return {name: _value(metric, truth, scores) for name, metric in _of_prepared(kind, classes).items()}


def confusion(truth: npt.ArrayLike, prediction: npt.ArrayLike, n: int) -> Array:
    """Counts of (truth, prediction) pairs.

    Args:
        truth: class numbers, shape (N,); negative ones are missing labels and are left out.
        prediction: class numbers, shape (N,).
        n: number of classes K.

    Returns:
        int64 counts, shape (K, K), rows are the truth.

    Raises:
        MMFairseqError: lengths differ, or a class number is not below `n`.
    """
    truth, prediction = np.asarray(truth, np.int64).ravel(), np.asarray(prediction, np.int64).ravel()
    if truth.size != prediction.size:
        raise MMFairseqError(f"{truth.size} true labels but {prediction.size} predictions")
    truth, prediction = truth[truth >= 0], prediction[truth >= 0]
    for numbers in (truth, prediction):
        if ((numbers < 0) | (numbers >= n)).any():
            raise MMFairseqError(f"class numbers must lie in 0..{n - 1}, found {numbers.min()}..{numbers.max()}")
    return np.bincount(truth * n + prediction, minlength=n * n).reshape(n, n)


def per_class(matrix: npt.ArrayLike) -> dict[str, Array]:
    """Precision, recall, F1 and support of each class, 0 where a denominator is 0.

    Args:
        matrix: counts, shape (K, K), rows are the truth.

    Returns:
        "precision", "recall", "f1" (float64) and "support" (int64), each of shape (K,).
    """
    matrix = np.asarray(matrix, np.float64)
    truth, prediction = np.nonzero(matrix)
    columns = np.zeros((4, len(matrix)))
    if truth.size:  # scikit-learn refuses to score nothing
        columns[:] = precision_recall_fscore_support(
            truth, prediction, labels=range(len(matrix)), sample_weight=matrix[truth, prediction], zero_division=0
        )
    precision, recall, f1, support = columns
    return {"precision": precision, "recall": recall, "f1": f1, "support": support.round().astype(np.int64)}


def from_confusion(matrix: npt.ArrayLike) -> dict[str, float]:
    """The headline metrics of one prediction an item.

    Args:
        matrix: counts, shape (K, K), rows are the truth.

    Returns:
        `wa` accuracy, which is mean recall weighted by support; `ua` mean recall over the classes that occur in the
        truth (balanced accuracy); `wf1` weighted F1; `mf1` macro F1 over the classes that occur in truth or prediction.
        NaN where there is no item.
    """
    matrix = np.asarray(matrix, np.float64)
    if not matrix.any():
        return dict.fromkeys(("wa", "ua", "wf1", "mf1"), NAN)
    scores = per_class(matrix)
    recall, f1, support = scores["recall"], scores["f1"], scores["support"]
    return {
        "wa": float(np.average(recall, weights=support)),
        "ua": float(recall[support > 0].mean()),
        "wf1": float(np.average(f1, weights=support)),
        "mf1": float(f1[support + matrix.sum(0) > 0].mean()),
    }


def from_binary_counts(counts: npt.ArrayLike) -> dict[str, float]:
    """The F1 of sets of classes.

    Args:
        counts: shape (K, 2, 2): class, truth (no, yes), prediction (no, yes).

    Returns:
        `mf1`, mean F1 of yes over the classes that occur in truth or prediction, and `wf1`, weighted by their items in
        the truth; NaN where no class occurs there.
    """
    counts = np.asarray(counts, np.float64)
    n = len(counts)
    # Every decision but no/no is a cell of one confusion matrix, whose last class stands for "no".
    matrix = np.zeros((n + 1, n + 1))
    matrix[range(n), range(n)] = counts[:, 1, 1]
    matrix[:n, n], matrix[n, :n] = counts[:, 1, 0], counts[:, 0, 1]
    scores = per_class(matrix)
    f1, support = scores["f1"][:n], scores["support"][:n]
    if not support.any():
        return {"mf1": NAN, "wf1": NAN}
    occurs = counts[:, 1].sum(1) + counts[:, 0, 1] > 0
    return {"mf1": float(f1[occurs].mean()), "wf1": float(np.average(f1, weights=support))}


def reliability(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 15) -> dict[str, Array]:
    """Confidence against the share that is right, in bins of equal width over [0, 1].

    Guo et al., "On Calibration of Modern Neural Networks", 2017. A bin holds its upper edge; the first holds 0 too.

    Args:
        confidence: probabilities, shape (N,).
        correct: booleans, shape (N,).
        bins: their number.

    Returns:
        "confidence" and "accuracy", means of the bin (float64, NaN where it is empty), and "count" (int64), each of
        shape (bins,).
    """
    confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    count = np.bincount(place, minlength=bins)
    divisor = np.where(count, count, NAN)
    return {
        "confidence": np.bincount(place, confidence, bins) / divisor,
        "accuracy": np.bincount(place, correct, bins) / divisor,
        "count": count,
    }


def exact_match(correct: Sequence[npt.ArrayLike]) -> float:
    """Share of items that are right in every target; NaN without items.

    Args:
        correct: for each target, booleans of shape (N,).
    """
    right = np.all(np.asarray(correct, bool), axis=0)
    return float(right.mean()) if right.size else NAN


def _of_prepared(kind: str, classes: Sequence[str]) -> dict[str, Metric]:
    """The metrics of a kind, as functions of what `_preparation` returns."""
    _preparation(kind)
    found = dict(_METRICS[kind])
    if kind in ("binary_each", "multilabel"):
        found |= {f"acc_{label}": partial(_class_decisions, "wa", k) for k, label in enumerate(classes)}
        found |= {f"f1_{label}": partial(_class_decisions, "wf1", k) for k, label in enumerate(classes)}
    return found


def _preparation(kind: str) -> Callable[[npt.ArrayLike, npt.ArrayLike, int], tuple[Array, Array]]:
    """What checks truth and scores of a kind and leaves out what has no label."""
    if kind not in _METRICS:
        raise MMFairseqError(f"unknown target kind {kind!r}; known: {', '.join(_METRICS)}")
    return {"multilabel": _sets, "regression": _numbers}.get(kind, _numbered)


def _value(metric: Metric, truth: Array, scores: Array) -> float:
    return float(metric(truth, scores)) if len(truth) else NAN


def _finite(scores: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    scores = np.asarray(scores, np.float64)
    if scores.shape != shape and (scores.size or np.prod(shape)):
        raise MMFairseqError(f"scores must have the shape {shape} of the labels, have {scores.shape}")
    scores = scores.reshape(shape)
    if not np.isfinite(scores).all():
        row = int(np.argwhere(~np.isfinite(scores))[0, 0])
        raise MMFairseqError(f"the prediction of item {row} is {scores[row].tolist()}; it must be finite")
    return scores


def _numbered(truth: npt.ArrayLike, scores: npt.ArrayLike, n: int) -> tuple[Array, Array]:
    """Labelled items of class numbers: truth (N,), scores (N, K)."""
    truth = np.asarray(truth, np.int64)
    scores = _finite(scores, (truth.size, n))
    if truth.size and truth.max() >= n:
        raise MMFairseqError(f"class numbers must lie in 0..{n - 1}, found {truth.max()}")
    return truth[truth >= 0], scores[truth >= 0]


def _sets(truth: npt.ArrayLike, scores: npt.ArrayLike, n: int) -> tuple[Array, Array]:
    """Labelled items of sets of classes: truth (N, K) of 0 and 1, scores (N, K)."""
    truth = np.asarray(truth, np.float64).reshape(-1, n)
    scores = _finite(scores, truth.shape)
    known = ~np.isnan(truth).any(1)
    # Column by column in memory, because scikit-learn goes through the classes one by one.
    return np.asfortranarray(truth[known].astype(np.int64)), np.asfortranarray(scores[known])


def _numbers(truth: npt.ArrayLike, scores: npt.ArrayLike, n: int) -> tuple[Array, Array]:
    """Labelled items of numbers: truth (N,), scores (N,)."""
    truth = np.asarray(truth, np.float64)
    scores = _finite(scores, truth.shape)
    return truth[~np.isnan(truth)], scores[~np.isnan(truth)]


def _headline(name: str, truth: Array, scores: Array) -> float:
    return from_confusion(confusion(truth, scores.argmax(1), scores.shape[1]))[name]


def _class_decisions(name: str, k: int, truth: Array, scores: Array) -> float:
    """`wa` or `wf1` of the yes/no decisions of class k."""
    yes = truth[:, k] if truth.ndim == 2 else truth == k
    return from_confusion(confusion(yes, scores[:, k] > 0.5, 2))[name]


def _set_f1(name: str, truth: Array, scores: Array) -> float:
    yes = scores > 0.5
    return from_binary_counts([confusion(truth[:, k], yes[:, k], 2) for k in range(yes.shape[1])])[name]


def _map(truth: Array, scores: Array) -> float:
    return _mean_over_classes(average_precision_score, truth, scores, lambda yes: yes.any())


def _auc(truth: Array, scores: Array) -> float:
    return _mean_over_classes(roc_auc_score, truth, scores, lambda yes: yes.any() and not yes.all())


def _mean_over_classes(metric: Metric, truth: Array, scores: Array, defined: Callable[[Array], Any]) -> float:
    """Unweighted mean of a yes/no metric; scikit-learn's own mean copies all scores once for each class."""
    columns = zip(_one_hot(truth, scores).T, scores.T, strict=True)
    values = [metric(yes, score) for yes, score in columns if defined(yes)]
    return float(np.mean(values)) if values else NAN


def _one_hot(truth: Array, scores: Array) -> Array:
    """Class numbers as 0 and 1 for each class. Shape (N, K)."""
    return truth if truth.ndim == 2 else (truth[:, None] == np.arange(scores.shape[1])).astype(np.int64)


def _ece(confidence: Array, correct: Array) -> float:
    """Expected calibration error: mean distance of confidence and accuracy, bins weighted by their items."""
    bins = reliability(confidence, correct)
    return float(np.nansum(bins["count"] * abs(bins["confidence"] - bins["accuracy"])) / len(confidence))


def _ece_of_top(truth: Array, scores: Array) -> float:
    return _ece(scores.max(1), scores.argmax(1) == truth)


def _ece_of_decisions(truth: Array, scores: Array) -> float:
    return _ece(scores.ravel(), _one_hot(truth, scores).ravel())


def _pearson(truth: Array, prediction: Array) -> float:
    # A side that is constant but for rounding has no correlation; SciPy would warn, or give noise.
    if any(np.ptp(side) <= 1e-12 * abs(side).max() for side in (truth, prediction)):
        return NAN
    return float(pearsonr(truth, prediction).statistic)


def _concordance(truth: Array, prediction: Array) -> float:
    """Lin, "A concordance correlation coefficient to evaluate reproducibility", 1989; moments divided by N.

    0 for one constant side, NaN for two that are equal.
    """
    apart = truth.mean() - prediction.mean()
    spread = truth.var() + prediction.var() + apart**2
    if spread <= (1e-12 * max(abs(truth).max(), abs(prediction).max())) ** 2:
        return NAN
    return float(2 * ((truth - truth.mean()) * (prediction - prediction.mean())).mean() / spread)


def is_sentiment(truth: npt.ArrayLike) -> bool:
    """Whether numbers may be sentiment around a neutral 0: the metrics `SENTIMENT` are not defined for others.

    Ratings from 1 to 5, say, are none: all of them would be positive. A single number beyond 3 tells, where none is
    negative.
    """
    numbers = np.asarray(truth, np.float64)
    numbers = numbers[~np.isnan(numbers)]
    return not numbers.size or bool(numbers.max() <= BOUND or numbers.min() < 0)


def _of_sentiment(metric: Metric) -> Metric:
    return lambda truth, prediction: metric(truth, prediction) if is_sentiment(truth) else NAN


def _rounded(bound: int, truth: Array, prediction: Array) -> float:
    """Accuracy after clipping to [-bound, bound] and rounding half to even."""
    truth, prediction = (side.clip(-bound, bound).round().astype(np.int64) for side in (truth, prediction))
    return float(accuracy_score(truth, prediction))


def _signs(name: str, zeros: bool, truth: Array, prediction: Array) -> float:
    """`wa` or `wf1` of >= 0 over all items or, without `zeros`, of > 0 over the items whose truth is not 0."""
    if zeros:
        return from_confusion(confusion(truth >= 0, prediction >= 0, 2))[name]
    kept = truth != 0
    return from_confusion(confusion(truth[kept] > 0, prediction[kept] > 0, 2))[name]


_ONE_CLASS: dict[str, Metric] = {
    **{name: partial(_headline, name) for name in ("wa", "ua", "wf1", "mf1")},
    "map": _map,
    "auc": _auc,
}
_METRICS: dict[str, dict[str, Metric]] = {
    "single": {**_ONE_CLASS, "ece": _ece_of_top},
    "binary_each": {**_ONE_CLASS, "ece": _ece_of_decisions},
    "multilabel": {
        "map": _map,
        "auc": _auc,
        "wf1": partial(_set_f1, "wf1"),
        "mf1": partial(_set_f1, "mf1"),
        "subset_acc": lambda truth, scores: accuracy_score(truth, scores > 0.5),
        "ece": _ece_of_decisions,
    },
    "regression": {
        "mae": mean_absolute_error,
        "corr": _pearson,
        "ccc": _concordance,
        "acc7": _of_sentiment(partial(_rounded, 3)),
        "acc5": _of_sentiment(partial(_rounded, 2)),
        "acc3": _of_sentiment(partial(_rounded, 1)),
        "acc2_has0": _of_sentiment(partial(_signs, "wa", True)),
        "acc2_non0": _of_sentiment(partial(_signs, "wa", False)),
        "f1_has0": _of_sentiment(partial(_signs, "wf1", True)),
        "f1_non0": _of_sentiment(partial(_signs, "wf1", False)),
    },
}

"""Exact metrics over a whole split: pure functions of counts or of arrays, with scikit-learn's arithmetic.

Counts add up over batches and over ranks, so a metric of summed counts is the same for every batch size and number
of processes. All fractions lie in [0, 1]; a metric of nothing is NaN.

Notation: N items, K classes; `matrix[truth, prediction]` counts items.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ROUNDED = {"acc7": 3.0, "acc5": 2.0, "acc3": 1.0}  # name of the accuracy: bound of its classes
CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))


def confusion(truth: npt.ArrayLike, prediction: npt.ArrayLike, n: int) -> Array:
    """Counts of (truth, prediction) pairs.

    Args:
        truth: class numbers, shape (N,); negative ones are missing labels and are left out.
        prediction: class numbers, shape (N,).
        n: number of classes K.

    Returns:
        int64 counts, shape (K, K), rows are the truth.

    Raises:
        ValueError: lengths differ, or a class number is not below `n`.
    """
    truth, prediction = np.asarray(truth, np.int64).ravel(), np.asarray(prediction, np.int64).ravel()
    if truth.size != prediction.size:
        raise ValueError(f"{truth.size} true labels but {prediction.size} predictions")
    truth, prediction = truth[truth >= 0], prediction[truth >= 0]
    if truth.size and (truth.max() >= n or prediction.max() >= n or prediction.min() < 0):
        raise ValueError(f"class numbers must lie in 0..{n - 1}")
    return np.bincount(truth * n + prediction, minlength=n * n).reshape(n, n)


def per_class(matrix: npt.ArrayLike) -> dict[str, Array]:
    """Precision, recall, F1 and support of each class, 0 where a denominator is 0.

    Args:
        matrix: counts, shape (K, K), rows are the truth.

    Returns:
        "precision", "recall", "f1" (float64) and "support" (int64), each of shape (K,).
    """
    matrix = np.asarray(matrix)
    hits, support, predicted = np.diagonal(matrix), matrix.sum(1), matrix.sum(0)
    return {
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, support),
        "f1": _ratio(2 * hits, support + predicted),
        "support": support.astype(np.int64),
    }


def from_confusion(matrix: npt.ArrayLike) -> dict[str, float]:
    """The headline metrics of a single-label target.

    Args:
        matrix: counts, shape (K, K), rows are the truth.

    Returns:
        `wa` accuracy; `ua` mean recall over the classes that occur in the truth (balanced accuracy); `wf1` and `mf1`,
        weighted and macro F1 over the classes that occur in truth or prediction. NaN where there is no item.
    """
    matrix = np.asarray(matrix, np.float64)
    total = matrix.sum()
    if total == 0:
        return dict.fromkeys(("wa", "ua", "wf1", "mf1"), float("nan"))
    scores = per_class(matrix)
    support = matrix.sum(1)
    occurs = support + matrix.sum(0) > 0
    return {
        "wa": float(np.trace(matrix) / total),
        "ua": float(scores["recall"][support > 0].mean()),
        "wf1": float(scores["f1"] @ support / total),
        "mf1": float(scores["f1"][occurs].mean()),
    }


def binary_counts(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> Array:
    """Counts of K yes/no decisions an item.

    Args:
        truth: booleans, shape (N, K).
        prediction: booleans, shape (N, K).

    Returns:
        int64 counts, shape (K, 2, 2): class, truth (no, yes), prediction (no, yes).
    """
    truth, prediction = np.asarray(truth, bool), np.asarray(prediction, bool)
    if truth.shape != prediction.shape or truth.ndim != 2:
        raise ValueError(f"decisions must have one shape (N, K), got {truth.shape} and {prediction.shape}")
    cells = 2 * truth.astype(np.int64) + prediction
    return np.stack([(cells == cell).sum(0) for cell in range(4)], axis=1).reshape(-1, 2, 2)


def binary_each(counts: npt.ArrayLike) -> dict[str, Array]:
    """Per-class accuracy and weighted F1 of K yes/no decisions, as the original IEMOCAP system reports them.

    Args:
        counts: shape (K, 2, 2) as of `binary_counts`.

    Returns:
        "acc" and "f1" (weighted over yes and no), float64 of shape (K,).
    """
    scores = [from_confusion(matrix) for matrix in np.asarray(counts)]
    return {"acc": np.array([each["wa"] for each in scores]), "f1": np.array([each["wf1"] for each in scores])}


def regression_counts(truth: Any, prediction: Any) -> dict[str, Any]:
    """Sums that determine every metric of `regression`; those of batches and ranks add up.

    Args:
        truth: y, shape (N,), float64 without NaN: a NumPy array or a torch tensor.
        prediction: y hat, the same kind and shape.

    Returns:
        Scalars of the kind that was given (float64): moments, sums of errors, and cells `TABLE_ij` of the two-way
        decisions (truth i, prediction j).
    """
    one = truth * 0 + 1
    counts = {
        "n": one.sum(),
        "error": abs(truth - prediction).sum(),
        "y": truth.sum(),
        "p": prediction.sum(),
        "yy": (truth * truth).sum(),
        "pp": (prediction * prediction).sum(),
        "yp": (truth * prediction).sum(),
    }
    for name, bound in ROUNDED.items():
        equal = truth.clip(-bound, bound).round() == prediction.clip(-bound, bound).round()
        counts[name] = (one * equal).sum()
    decisions = {"has0": (truth >= 0, prediction >= 0, one), "non0": (truth > 0, prediction > 0, one * (truth != 0))}
    for table, (is_true, is_predicted, weight) in decisions.items():
        for i, j in CELLS:
            counts[f"{table}_{i}{j}"] = (weight * (is_true == bool(i)) * (is_predicted == bool(j))).sum()
    return counts


def from_regression_counts(counts: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of `regression` from summed `regression_counts`."""
    n = float(counts["n"])
    tables = {name: np.array([float(counts[f"{name}_{i}{j}"]) for i, j in CELLS]) for name in ("has0", "non0")}
    binary = {name: from_confusion(cells.reshape(2, 2)) for name, cells in tables.items()}
    return {
        "mae": _share(counts["error"], n),
        "corr": _pearson(n, *(float(counts[name]) for name in ("y", "p", "yy", "pp", "yp"))),
        **{name: _share(counts[name], n) for name in ROUNDED},
        "acc2_has0": binary["has0"]["wa"],
        "acc2_non0": binary["non0"]["wa"],
        "f1_has0": binary["has0"]["wf1"],
        "f1_non0": binary["non0"]["wf1"],
    }


def regression(truth: npt.ArrayLike, prediction: npt.ArrayLike) -> dict[str, float]:
    """Metrics of a sentiment in [-3, 3], each with the zeros named.

    Args:
        truth: y, shape (N,); NaN is a missing label and is left out.
        prediction: y hat, shape (N,).

    Returns:
        `mae`; `corr` (Pearson; NaN where one side is constant); `acc7`, `acc5`, `acc3`: equality after clipping to
        3, 2, 1 and rounding half to even; `acc2_has0`, `f1_has0`: >= 0 over all items; `acc2_non0`, `f1_non0`: > 0
        over the items with y != 0. The F1 are weighted.
    """
    truth, prediction = np.asarray(truth, np.float64).ravel(), np.asarray(prediction, np.float64).ravel()
    if truth.size != prediction.size:
        raise ValueError(f"{truth.size} true values but {prediction.size} predictions")
    known = ~np.isnan(truth)
    return from_regression_counts(regression_counts(truth[known], prediction[known]))


def exact_match(correct: Sequence[npt.ArrayLike]) -> float:
    """Share of items that are right in every target.

    Args:
        correct: for each target, booleans of shape (N,).
    """
    right = np.all(np.asarray(correct, bool), axis=0)
    return _share(right.sum(), right.size)


def _ratio(top: Array, bottom: Array) -> Array:
    top, bottom = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom != 0)


def _share(part: Any, n: float) -> float:
    return float(part) / n if n else float("nan")


def _pearson(n: float, y: float, p: float, yy: float, pp: float, yp: float) -> float:
    variances = n * yy - y * y, n * pp - p * p
    # What rounding leaves of a variance that is 0 is below 1e-12 of the terms that cancel.
    if n < 2 or variances[0] <= 1e-12 * n * yy or variances[1] <= 1e-12 * n * pp:
        return float("nan")
    return float((n * yp - y * p) / np.sqrt(variances[0] * variances[1]))

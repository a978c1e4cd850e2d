"""Metrics against scikit-learn, SciPy and hand-counted cases."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn import metrics as sk

from mm_fairseq import metrics


def sklearn_headline(truth, prediction):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # balanced accuracy warns about classes that only the prediction has
        return {
            "wa": sk.accuracy_score(truth, prediction),
            "ua": sk.balanced_accuracy_score(truth, prediction),
            "wf1": sk.f1_score(truth, prediction, average="weighted", zero_division=0),
            "mf1": sk.f1_score(truth, prediction, average="macro", zero_division=0),
        }


@pytest.mark.parametrize("seed", range(300))
def test_headline_equals_sklearn(seed):
    rng = np.random.default_rng(seed)
    n, k = int(rng.choice([1, 2, 3, 10, 200])), int(rng.integers(2, 9))
    # Each side sees its own subset of the classes, so that some are absent from one side or from both.
    truth = rng.choice(rng.choice(k, rng.integers(1, k + 1), replace=False), n)
    prediction = np.where(rng.random(n) < 0.4, truth, rng.choice(rng.choice(k, rng.integers(1, k + 1)), n))
    matrix = metrics.confusion(truth, prediction, k)
    assert np.array_equal(matrix, sk.confusion_matrix(truth, prediction, labels=range(k)))
    assert metrics.from_confusion(matrix) == pytest.approx(sklearn_headline(truth, prediction), abs=1e-12)
    expected = sk.precision_recall_fscore_support(truth, prediction, labels=range(k), zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert metrics.per_class(matrix)[name] == pytest.approx(column, abs=1e-12)


def test_counts_add_up_over_batches():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, (2, 37))
    batches = [metrics.confusion(truth[i : i + 5], prediction[i : i + 5], 4) for i in range(0, 37, 5)]
    assert np.array_equal(sum(batches), metrics.confusion(truth, prediction, 4))


def test_nothing_is_nan():
    assert all(math.isnan(value) for value in metrics.from_confusion(np.zeros((3, 3), int)).values())
    assert all(math.isnan(value) for value in metrics.regression([], []).values())
    assert metrics.confusion([], [], 2).tolist() == [[0, 0], [0, 0]]


def test_missing_labels_are_left_out():
    assert metrics.confusion([0, -100, 1], [0, 1, 0], 2).tolist() == [[1, 0], [1, 0]]
    assert metrics.regression([1.0, math.nan], [1.0, 3.0])["mae"] == 0


@pytest.mark.parametrize(("truth", "prediction"), [([2], [0]), ([0], [2]), ([0], [-1]), ([0, 1], [0])])
def test_confusion_rejects_what_it_cannot_count(truth, prediction):
    with pytest.raises(ValueError, match=r"class numbers|true labels"):
        metrics.confusion(truth, prediction, 2)


@pytest.mark.parametrize("seed", range(50))
def test_regression_equals_sklearn(seed):
    rng = np.random.default_rng(seed)
    truth = np.round(rng.uniform(-3.4, 3.4, 60) * 3) / 3
    prediction = truth + rng.normal(0, 1.2, 60)
    seen = metrics.regression(truth, prediction)
    non0 = truth != 0
    expected = {
        "mae": sk.mean_absolute_error(truth, prediction),
        "corr": pearsonr(truth, prediction).statistic,
        "acc2_has0": sk.accuracy_score(truth >= 0, prediction >= 0),
        "acc2_non0": sk.accuracy_score(truth[non0] > 0, prediction[non0] > 0),
        "f1_has0": sk.f1_score(truth >= 0, prediction >= 0, average="weighted"),
        "f1_non0": sk.f1_score(truth[non0] > 0, prediction[non0] > 0, average="weighted"),
    }
    for classes, bound in ((7, 3), (5, 2), (3, 1)):
        expected[f"acc{classes}"] = np.mean(
            [round(min(max(y, -bound), bound)) == round(min(max(p, -bound), bound)) for y, p in zip(truth, prediction)]
        )
    assert seen == pytest.approx(expected, abs=1e-12)


def test_regression_counts_add_up_and_take_torch_tensors():
    truth, prediction = torch.randn(2, 31, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 2
    truth[::4] = 0
    parts = [metrics.regression_counts(truth[i : i + 7], prediction[i : i + 7]) for i in range(0, 31, 7)]
    assert all(value.dtype == torch.float64 for value in parts[0].values())
    total = {name: sum(part[name] for part in parts).numpy() for name in parts[0]}
    expected = metrics.regression(truth.numpy(), prediction.numpy())
    assert metrics.from_regression_counts(total) == pytest.approx(expected, abs=1e-12)


def test_regression_rounds_half_to_even_and_clips():
    # 0.5 -> 0, 1.5 -> 2, 2.5 -> 2, and everything beyond 3 is 3.
    assert metrics.regression([0.0, 2.0, 2.0, 3.0], [0.5, 1.5, 2.5, 9.0])["acc7"] == 1
    assert metrics.regression([-2.0, 2.0], [-3.0, 2.6])["acc5"] == 1
    assert metrics.regression([-2.0, 2.0], [-3.0, 2.6])["acc7"] == 0


def test_constant_positive_prediction_has_two_binary_accuracies():
    seen = metrics.regression([1.0, 0.0, 0.0, -1.0], [0.5] * 4)
    assert (seen["acc2_has0"], seen["acc2_non0"]) == (0.75, 0.5)
    assert math.isnan(seen["corr"])


@pytest.mark.parametrize("seed", range(20))
def test_binary_each_equals_sklearn(seed):
    rng = np.random.default_rng(seed)
    truth, prediction = rng.random((2, 40, 4)) < [[[0.5]], [[0.4]]]
    counts = metrics.binary_counts(truth, prediction)
    seen = metrics.binary_each(counts)
    for k in range(4):
        assert np.array_equal(counts[k], sk.confusion_matrix(truth[:, k], prediction[:, k], labels=[False, True]))
        assert seen["acc"][k] == pytest.approx(sk.accuracy_score(truth[:, k], prediction[:, k]))
        assert seen["f1"][k] == pytest.approx(sk.f1_score(truth[:, k], prediction[:, k], average="weighted"))


def test_binary_counts_needs_one_shape():
    with pytest.raises(ValueError, match="one shape"):
        metrics.binary_counts([[True, False]], [[True]])


def test_exact_match_needs_every_target_right():
    assert metrics.exact_match([[True, True, False, False], [True, False, True, False]]) == 0.25

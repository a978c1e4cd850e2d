"""Every metric against an independent computation from its definition, on 200 random cases each."""

import math
import warnings

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from mm_fairseq import metrics

pytestmark = pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # which may be of what others left

SEEDS = pytest.mark.parametrize("seed", range(200))
NAN = math.nan


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else NAN


def f1(truth, said):
    """F1 of yes in two boolean vectors: harmonic mean of precision and recall, 0 where one of them is 0."""
    hits = sum(t and p for t, p in zip(truth, said))
    return 2 / (sum(truth) / hits + sum(said) / hits) if hits else 0.0


def weighted_f1(truth, said):
    """F1 of yes and of no, weighted by how often each is true."""
    sides = [([t == side for t in truth], [p == side for p in said]) for side in (True, False)]
    return sum(f1(*side) * sum(side[0]) for side in sides) / len(truth) if len(truth) else NAN


def average_precision(truth, scores):
    """Sum of precision times the step of recall, over the thresholds from high to low."""
    area = recall = 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = truth[scores >= threshold]
        area += chosen.mean() * (chosen.sum() / truth.sum() - recall)
        recall = chosen.sum() / truth.sum()
    return area


def area_under_roc(truth, scores):
    """Probability that a yes scores above a no, a draw counting half."""
    gaps = scores[truth][:, None] - scores[~truth][None]
    return ((gaps > 0) + 0.5 * (gaps == 0)).mean()


def calibration_error(confidence, correct):
    edges = np.linspace(0, 1, 16)
    edges[0] = -1
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - correct[inside].mean())
    return total


def rankings(yes, scores):
    """`yes`: booleans (N, K)."""
    columns = range(yes.shape[1])
    return {
        "map": mean(average_precision(yes[:, k], scores[:, k]) for k in columns if yes[:, k].any()),
        "auc": mean(area_under_roc(yes[:, k], scores[:, k]) for k in columns if 0 < yes[:, k].sum() < len(yes)),
    }


def headline(truth, said, n):
    pairs = {k: (truth == k, said == k) for k in range(n)}
    return {
        "wa": mean(truth == said),
        "ua": mean(each[1][each[0]].mean() for each in pairs.values() if each[0].any()),
        "wf1": sum(f1(*each) * each[0].sum() for each in pairs.values()) / len(truth),
        "mf1": mean(f1(*each) for each in pairs.values() if each[0].any() or each[1].any()),
    }


def decisions(classes, yes, scores):
    out = {f"acc_{label}": mean(yes[:, k] == (scores[:, k] > 0.5)) for k, label in enumerate(classes)}
    return out | {f"f1_{label}": weighted_f1(yes[:, k], scores[:, k] > 0.5) for k, label in enumerate(classes)}


def random_case(seed):
    """Classes, class numbers (N,), labelled (N,) and coarse scores (N, K): ties, absent classes, 1 to 60 items."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 61)), int(2 + 13 * rng.random() ** 3)  # K from 2 to 14, mostly few
    truth = rng.choice(rng.choice(k, rng.integers(1, k + 1), replace=False), n)
    labelled = rng.random(n) < rng.choice([0.5, 0.9, 1.0])
    labelled[0] = True
    scores = rng.integers(0, rng.choice([3, 20, 1000]), (n, k)) + 1.0
    scores[np.arange(n), truth] += rng.integers(0, 30, n) * (rng.random(n) < 0.5)
    return tuple(f"c{each}" for each in range(k)), truth, labelled, scores, rng


@SEEDS
def test_single(seed):
    classes, truth, labelled, scores, _ = random_case(seed)
    scores /= scores.sum(1, keepdims=True)
    seen = metrics.compute("single", classes, np.where(labelled, truth, -100), scores)
    truth, scores = truth[labelled], scores[labelled]
    said = scores.argmax(1)
    yes = truth[:, None] == np.arange(len(classes))
    expected = headline(truth, said, len(classes)) | rankings(yes, scores)
    expected["ece"] = calibration_error(scores.max(1), said == truth)
    assert seen == pytest.approx(expected, abs=1e-9, nan_ok=True)


@SEEDS
def test_binary_each(seed):
    classes, truth, labelled, scores, rng = random_case(seed)
    scores = scores / scores.max() * rng.choice([0.7, 1.0])
    seen = metrics.compute("binary_each", classes, np.where(labelled, truth, -100), scores)
    truth, scores = truth[labelled], scores[labelled]
    yes = truth[:, None] == np.arange(len(classes))
    expected = headline(truth, scores.argmax(1), len(classes)) | rankings(yes, scores)
    expected["ece"] = calibration_error(scores.ravel(), yes.ravel())
    assert seen == pytest.approx(expected | decisions(classes, yes, scores), abs=1e-9, nan_ok=True)


@SEEDS
def test_multilabel(seed):
    classes, _, labelled, _, rng = random_case(seed)
    shape = len(labelled), len(classes)
    yes = rng.random(shape) < rng.choice([0.0, 0.1, 0.5, 1.0], len(classes))
    scores = rng.integers(0, 11, shape) / 10 * rng.choice([0.5, 1]) + yes * rng.integers(0, 6, shape) / 10
    scores = scores.clip(max=1)
    seen = metrics.compute("multilabel", classes, np.where(labelled[:, None], yes, NAN), scores)
    yes, scores = yes[labelled], scores[labelled]
    said = scores > 0.5
    each = [(f1(yes[:, k], said[:, k]), yes[:, k].sum()) for k in range(len(classes)) if yes[:, k].any()]
    expected = {
        **rankings(yes, scores),
        **decisions(classes, yes, scores),
        "wf1": sum(score * count for score, count in each) / sum(count for _, count in each) if each else NAN,
        "mf1": mean(f1(*pair) for pair in zip(yes.T, said.T) if pair[0].any() or pair[1].any()) if each else NAN,
        "subset_acc": mean((yes == said).all(1)),
        "ece": calibration_error(scores.ravel(), yes.ravel()),
    }
    assert seen == pytest.approx(expected, abs=1e-9, nan_ok=True)
    counts = [[[(~y & ~p).sum(), (~y & p).sum()], [(y & ~p).sum(), (y & p).sum()]] for y, p in zip(yes.T, said.T)]
    sums = {name: expected[name] for name in ("mf1", "wf1")}
    assert metrics.from_binary_counts(counts) == pytest.approx(sums, abs=1e-9, nan_ok=True)


@SEEDS
def test_regression(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 61))
    # Thirds as annotators give them, with zeros, halves and values out of range; predictions hit them too.
    truth = np.round(rng.uniform(-3.4, 3.4, n) * rng.choice([1, 2, 3])) / rng.choice([1, 2, 3])
    prediction = np.where(rng.random(n) < 0.3, np.round(truth * 2) / 2, truth + rng.normal(0, 1.2, n))
    prediction[rng.random(n) < 0.1] = 0
    labelled = rng.random(n) < rng.choice([0.5, 1.0])
    labelled[0] = True
    seen = metrics.compute("regression", (), np.where(labelled, truth, NAN), prediction)
    truth, prediction = truth[labelled], prediction[labelled]
    nonzero = truth != 0
    sides = {"has0": (truth >= 0, prediction >= 0), "non0": (truth[nonzero] > 0, prediction[nonzero] > 0)}
    y, p = truth - truth.mean(), prediction - prediction.mean()
    spread = truth.var() + prediction.var() + (truth.mean() - prediction.mean()) ** 2
    varies = len(truth) > 1 and np.ptp(truth) > 0 and np.ptp(prediction) > 0
    expected = {
        "mae": mean(abs(truth - prediction)),
        "corr": (y @ p) / math.sqrt((y @ y) * (p @ p)) if varies else NAN,
        # Lin's second form: how far the pairs are from the line of equality, against what chance gives.
        "ccc": 1 - mean((truth - prediction) ** 2) / spread if spread else NAN,
        **{f"acc2_{name}": mean(np.equal(*side)) for name, side in sides.items()},
        **{f"f1_{name}": weighted_f1(*side) for name, side in sides.items()},
    }
    for classes, bound in ((7, 3), (5, 2), (3, 1)):
        clipped = [[round(min(max(value, -bound), bound)) for value in values] for values in (truth, prediction)]
        expected[f"acc{classes}"] = mean(a == b for a, b in zip(*clipped))
    if truth.max() > 3.001 and truth.min() >= 0:
        expected |= dict.fromkeys(metrics.SENTIMENT, NAN)
    assert seen == pytest.approx(expected, abs=1e-9, nan_ok=True)


@SEEDS
def test_confusion_and_what_follows_from_it(seed):
    classes, truth, labelled, scores, _ = random_case(seed)
    n, said = len(classes), scores.argmax(1)
    matrix = metrics.confusion(np.where(labelled, truth, -100), said, n)
    truth, said = truth[labelled], said[labelled]
    assert np.array_equal(matrix, confusion_matrix(truth, said, labels=range(n)))
    # Counts of batches add up to those of the whole, and so do the metrics.
    parts = [metrics.confusion(truth[i : i + 7], said[i : i + 7], n).astype(float) for i in range(0, len(truth), 7)]
    seen = metrics.from_confusion(sum(parts))
    assert seen == pytest.approx(headline(truth, said, n), abs=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of a class that is only predicted, and of one class only
        assert seen["ua"] == pytest.approx(balanced_accuracy_score(truth, said), abs=1e-9)
    columns = metrics.per_class(matrix)
    for k in range(n):
        hits, true, predicted = ((truth == k) & (said == k)).sum(), (truth == k).sum(), (said == k).sum()
        assert columns["support"][k] == true
        assert columns["precision"][k] == pytest.approx(hits / max(predicted, 1), abs=1e-9)
        assert columns["recall"][k] == pytest.approx(hits / max(true, 1), abs=1e-9)
        assert columns["f1"][k] == pytest.approx(f1(truth == k, said == k), abs=1e-9)


@SEEDS
def test_reliability_equals_sklearn(seed):
    rng = np.random.default_rng(seed)
    n, bins = int(rng.integers(1, 61)), int(rng.integers(2, 21))
    confidence, correct = np.round(rng.random(n), rng.integers(1, 9)), rng.random(n) < 0.6
    correct[:2] = [True, False][:n]
    seen = metrics.reliability(confidence, correct, bins)
    filled = seen["count"] > 0
    shares, means = calibration_curve(correct, confidence, n_bins=bins)
    assert seen["count"].sum() == n
    assert seen["accuracy"][filled] == pytest.approx(shares, abs=1e-9)
    assert seen["confidence"][filled] == pytest.approx(means, abs=1e-9)
    assert np.isnan(seen["accuracy"][~filled]).all()


@SEEDS
def test_exact_match(seed):
    rng = np.random.default_rng(seed)
    correct = rng.random((rng.integers(1, 5), rng.integers(1, 61))) < 0.8
    assert metrics.exact_match(list(correct)) == pytest.approx(mean(all(item) for item in correct.T), abs=1e-9)

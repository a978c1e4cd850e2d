"""Metrics by hand: small cases whose values can be counted on paper, the undefined, and bad input."""

import math

import numpy as np
import pytest

from mm_fairseq import metrics
from mm_fairseq.errors import MMFairseqError

pytestmark = pytest.mark.filterwarnings("error", "ignore::ResourceWarning")  # which may be of what others left

ABC = ("a", "b", "c")
KINDS = {"single": ABC, "binary_each": ABC, "multilabel": ABC, "regression": ()}
NAN = math.nan


def one_hot(numbers, n=3):
    return np.eye(n)[numbers]


def test_names_are_those_of_the_log():
    assert metrics.names("single", ABC) == ("wa", "ua", "wf1", "mf1", "map", "auc", "ece")
    each = ("acc_a", "acc_b", "acc_c", "f1_a", "f1_b", "f1_c")
    assert metrics.names("binary_each", ABC) == ("wa", "ua", "wf1", "mf1", "map", "auc", "ece", *each)
    assert metrics.names("multilabel", ABC) == ("map", "auc", "wf1", "mf1", "subset_acc", "ece", *each)
    regression = ("mae", "corr", "ccc", "acc7", "acc5", "acc3", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0")
    assert metrics.names("regression") == regression


def test_headline_by_hand():
    # Class 0: precision 1, recall 1/2; class 1: precision 1/3, recall 1; class 2 is never predicted.
    seen = metrics.compute("single", ABC, [0, 0, 1, 2], one_hot([0, 1, 1, 1]))
    assert seen["wa"] == 0.5
    assert seen["ua"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert seen["wf1"] == pytest.approx((2 * 2 / 3 + 1 / 2 + 0) / 4)
    assert seen["mf1"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_class_absent_from_truth_counts_where_it_is_predicted():
    without = metrics.compute("single", ABC, [0, 0, 1, 1], one_hot([0, 1, 1, 1]))
    assert (without["wa"], without["ua"]) == (0.75, 0.75)
    assert without["mf1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    wrongly = metrics.compute("single", ABC, [0, 0, 1, 1], one_hot([0, 2, 1, 1]))
    assert (wrongly["wa"], wrongly["ua"]) == (0.75, 0.75)
    assert wrongly["mf1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert wrongly["wf1"] == pytest.approx((2 / 3 + 1) / 2)


def test_one_class_only():
    seen = metrics.compute("single", ABC, [1, 1], [[0.1, 0.8, 0.1], [0.7, 0.2, 0.1]])
    assert (seen["wa"], seen["ua"], seen["map"]) == (0.5, 0.5, 1.0)
    assert seen["mf1"] == pytest.approx((2 / 3 + 0) / 2)
    assert math.isnan(seen["auc"])


def test_single_utterance():
    seen = metrics.compute("single", ABC, [1], [[0.1, 0.8, 0.1]])
    assert seen.pop("ece") == pytest.approx(0.2)
    assert math.isnan(seen.pop("auc"))
    assert set(seen.values()) == {1.0}
    seen = metrics.compute("regression", (), [1.0], [-1.0])
    assert math.isnan(seen.pop("corr"))
    assert seen.pop("mae") == 2
    assert set(seen.values()) == {0.0}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_labelled_is_nan(kind):
    classes = KINDS[kind]
    missing = {"multilabel": [[NAN] * 3], "regression": [NAN]}.get(kind, [-100])
    scores = [[0.1, 0.8, 0.1]] if classes else [0.5]
    for values in (metrics.compute(kind, classes, [], []), metrics.compute(kind, classes, missing, scores)):
        assert all(math.isnan(value) for value in values.values()), values


@pytest.mark.parametrize("kind", KINDS)
def test_missing_labels_change_nothing(kind):
    classes = KINDS[kind]
    truth = {"multilabel": [[1, 0, 0], [NAN] * 3, [0, 1, 1]], "regression": [1.0, NAN, -2.0]}.get(kind, [0, -1, 1])
    scores = [[0.9, 0.2, 0.3], [0.5, 0.7, 0.1], [0.6, 0.3, 0.8]] if classes else [0.5, 3.0, 1.0]
    whole, without = (
        metrics.compute(kind, classes, truth, scores),
        metrics.compute(kind, classes, truth[::2], scores[::2]),
    )
    assert whole == pytest.approx(without, nan_ok=True, abs=0)
    assert not math.isnan(whole[next(iter(whole))])


def test_values_are_python_floats():
    truth, scores = np.array([0, 1], np.int32), np.array([[0.9, 0.1], [0.4, 0.6]], np.float32)
    assert {type(value) for value in metrics.compute("single", ("a", "b"), truth, scores).values()} == {float}


def test_equal_scores_predict_the_first_class():
    assert metrics.compute("single", ABC, [0, 1], [[0.4, 0.4, 0.2]] * 2)["wa"] == 0.5
    assert metrics.from_confusion(metrics.confusion([0, 1], [0, 0], 3))["wa"] == 0.5


def test_ranking_by_hand():
    # Class a: order yes, no, yes: precision 1 and 2/3 at the two hits. Class b: order yes (0.3), no (0.2), no (0.1).
    truth = [0, 1, 0]
    scores = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]
    seen = metrics.compute("single", ("a", "b"), truth, scores)
    assert seen["map"] == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)
    assert seen["auc"] == pytest.approx(0.5)
    # Where all scores are equal, precision is the class's share and the ranking is chance.
    seen = metrics.compute("single", ("a", "b"), truth, [[0.5, 0.5]] * 3)
    assert seen["map"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert seen["auc"] == pytest.approx(0.5)


def test_calibration_by_hand():
    # Two bins: confidence 0.9 with half right, confidence 0.6 with all right. Each is 0.4 away and holds half.
    scores = [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]]
    assert metrics.compute("single", ("a", "b"), [0, 1, 0, 1], scores)["ece"] == pytest.approx(0.4)
    # As decisions: p(yes) 0.9 once right of two, 0.1 the same, 0.6 right twice, 0.4 wrong twice.
    assert metrics.compute("binary_each", ("a", "b"), [0, 1, 0, 1], scores)["ece"] == pytest.approx(0.4)
    assert metrics.compute("multilabel", ("a",), [[1], [0]], [[0.75], [0.25]])["ece"] == pytest.approx(0.25)


def test_reliability_bins_hold_their_upper_edge():
    bins = metrics.reliability([0.0, 0.25, 0.5, 0.5, 0.875, 1.0], [False, True, True, False, True, True], bins=4)
    assert bins["count"].tolist() == [2, 2, 0, 2]
    assert bins["confidence"] == pytest.approx([0.125, 0.5, NAN, 0.9375], nan_ok=True)
    assert bins["accuracy"] == pytest.approx([0.5, 0.5, NAN, 1.0], nan_ok=True)
    assert metrics.reliability([], [])["count"].tolist() == [0] * 15


def test_binary_each_by_hand():
    # Each class is decided by itself: item 0 is said to be a and b, item 2 nothing at all.
    seen = metrics.compute("binary_each", ABC, [0, 1, 2], [[0.9, 0.8, 0.0], [0.1, 0.7, 0.2], [0.3, 0.4, 0.5]])
    assert (seen["wa"], seen["acc_a"]) == (1, 1)
    assert (seen["acc_b"], seen["acc_c"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert seen["f1_a"] == 1
    # b: yes has precision 1/2 and recall 1, no has precision 1 and recall 1/2.
    assert seen["f1_b"] == pytest.approx(2 / 3)
    # c: yes is never said, no has precision 2/3 and recall 1.
    assert seen["f1_c"] == pytest.approx(2 / 3 * 4 / 5)


def test_multilabel_by_hand():
    truth = [[1, 1, 0], [1, 0, 0], [0, 0, 0]]
    scores = [[0.9, 0.6, 0.1], [0.2, 0.3, 0.4], [0.1, 0.8, 0.5]]
    seen = metrics.compute("multilabel", ABC, truth, scores)
    # a: one of two found, precision 1; b: found, with one false alarm; c: never there, never said (0.5 is no).
    assert seen["mf1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert seen["wf1"] == pytest.approx((2 * 2 / 3 + 2 / 3) / 3)
    assert seen["subset_acc"] == pytest.approx(1 / 3)
    assert (seen["acc_a"], seen["acc_b"], seen["acc_c"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3), 1)
    assert seen["map"] == pytest.approx((1 + 1 / 2) / 2)


def test_a_class_that_is_never_there_and_said_counts_for_the_macro_f1():
    seen = metrics.compute("multilabel", ABC, [[1, 0, 0], [1, 1, 0]], [[0.9, 0.1, 0.8], [0.9, 0.6, 0.1]])
    assert seen["mf1"] == pytest.approx((1 + 1 + 0) / 3)
    assert seen["wf1"] == 1


def test_empty_label_set_is_a_label():
    seen = metrics.compute("multilabel", ABC, [[0, 0, 0], [0, 0, 0]], [[0.1, 0.2, 0.3], [0.1, 0.9, 0.3]])
    assert (seen["subset_acc"], seen["acc_a"], seen["acc_b"]) == (0.5, 1, 0.5)
    assert all(math.isnan(seen[name]) for name in ("map", "auc", "wf1", "mf1"))


def test_regression_rounds_half_to_even_and_clips():
    # 0.5 -> 0, 1.5 -> 2, 2.5 -> 2, and everything beyond 3 is 3.
    assert metrics.compute("regression", (), [0.0, 2.0, 2.0, 3.0], [0.5, 1.5, 2.5, 9.0])["acc7"] == 1
    assert metrics.compute("regression", (), [0.0, -2.0], [-0.5, -2.5])["acc7"] == 1
    seen = metrics.compute("regression", (), [-2.0, 2.0, 1.0], [-3.0, 2.6, 2.0])
    assert (seen["acc7"], seen["acc5"], seen["acc3"]) == (0, pytest.approx(2 / 3), 1)


def test_constant_positive_prediction_on_the_proportions_of_mosei():
    # 29 % negative, 21.8 % zero, 49.2 % positive: the same prediction scores 71.0 with the zeros and 62.9 without.
    truth = np.repeat([-1.0, 0.0, 1.0], [290, 218, 492])
    seen = metrics.compute("regression", (), truth, np.full(1000, 0.2))
    assert (round(seen["acc2_has0"], 3), round(seen["acc2_non0"], 3)) == (0.71, 0.629)
    assert seen["f1_has0"] == pytest.approx(0.71 * 2 * 0.71 / 1.71)
    share = 492 / 782
    assert seen["f1_non0"] == pytest.approx(share * 2 * share / (1 + share))
    assert math.isnan(seen["corr"])
    assert seen["acc7"] == pytest.approx(0.218)


def test_zeros_in_regression():
    # A predicted 0 is "not negative" where zeros count and "not positive" where they do not.
    seen = metrics.compute("regression", (), [0.0, 1.0, 2.0, -1.0], [-0.1, 0.0, 0.0, 0.0])
    assert seen["acc2_has0"] == 0.5
    assert seen["acc2_non0"] == pytest.approx(1 / 3)
    only_zeros = metrics.compute("regression", (), [0.0, 0.0], [0.1, -0.1])
    assert only_zeros["acc2_has0"] == 0.5
    assert math.isnan(only_zeros["acc2_non0"])
    assert math.isnan(only_zeros["f1_non0"])


@pytest.mark.parametrize("side", [[0.1 + 0.2, 0.3, 0.3], [0.0, 0.0, 0.0], [1e9, 1e9 + 1e-6, 1e9]])
def test_no_correlation_with_a_constant(side):
    assert math.isnan(metrics.compute("regression", (), [1.0, 2.0, 3.0], side)["corr"])
    assert math.isnan(metrics.compute("regression", (), side, [1.0, 2.0, 3.0])["corr"])


def test_concordance_by_hand():
    # Means 2 and 3, variances 2/3 and 8/3, covariance 4/3: 2 * 4/3 / (2/3 + 8/3 + 1).
    assert metrics.compute("regression", (), [1.0, 2.0, 3.0], [1.0, 3.0, 5.0])["ccc"] == pytest.approx(8 / 13)
    assert metrics.compute("regression", (), [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])["ccc"] == pytest.approx(1)
    assert metrics.compute("regression", (), [1.0, 2.0, 3.0], [3.0, 2.0, 1.0])["ccc"] == pytest.approx(-1)
    assert metrics.compute("regression", (), [1.0, 2.0, 3.0], [4.0, 4.0, 4.0])["ccc"] == 0
    assert math.isnan(metrics.compute("regression", (), [2.0, 2.0], [2.0, 2.0])["ccc"])


def test_figures_of_sentiment_are_not_defined_for_other_scales():
    rated = metrics.compute("regression", (), [1.0, 2.5, 4.5, NAN], [1.5, 2.5, 4.0, 3.0])
    assert {name for name, value in rated.items() if math.isnan(value)} == set(metrics.SENTIMENT)
    assert rated["mae"] == pytest.approx(1 / 3)
    for truth in ([1.0, 3.0], [-5.0, 4.0], [0.0], [3.0005], [NAN], []):
        assert metrics.is_sentiment(truth), truth
    for truth in ([1.0, 5.0], [0.0, 3.1, NAN]):
        assert not metrics.is_sentiment(truth), truth


def test_missing_labels_are_not_counted():
    assert metrics.confusion([0, -100, 1], [0, 1, 0], 2).tolist() == [[1, 0], [1, 0]]
    assert metrics.confusion([], [], 2).tolist() == [[0, 0], [0, 0]]


def test_counts_of_nothing():
    assert all(math.isnan(value) for value in metrics.from_confusion(np.zeros((3, 3))).values())
    assert all(math.isnan(value) for value in metrics.from_binary_counts(np.zeros((3, 2, 2))).values())
    assert {name: column.tolist() for name, column in metrics.per_class(np.zeros((2, 2))).items()} == {
        "precision": [0, 0],
        "recall": [0, 0],
        "f1": [0, 0],
        "support": [0, 0],
    }


def test_exact_match_needs_every_target_right():
    assert metrics.exact_match([[True, True, False, False], [True, False, True, False]]) == 0.25
    assert math.isnan(metrics.exact_match([[], []]))


@pytest.mark.parametrize(
    ("kind", "truth", "scores", "message"),
    [
        ("single", [0, 1], [[1, 0, 0], [NAN, 1, 0]], r"item 1 is \[nan, 1.0, 0.0\]; it must be finite"),
        ("regression", [0.0], [math.inf], "item 0 is inf"),
        ("multilabel", [[0, 1, 0]], [[0.1, NAN, 0.2]], "item 0 is .*nan"),
        ("single", [3], [[1, 0, 0]], r"must lie in 0\.\.2, found 3"),
        ("single", [0, 1], [[1, 0, 0]], r"shape \(2, 3\) of the labels, have \(1, 3\)"),
        ("binary_each", [0, 1], [0.5, 0.5], r"shape \(2, 3\)"),
        ("regression", [0.0, 1.0], [0.5], r"shape \(2,\)"),
        ("singel", [0], [[1, 0, 0]], "'singel'; known: single, binary_each, multilabel, regression"),
    ],
)
def test_bad_input_is_named(kind, truth, scores, message):
    with pytest.raises(MMFairseqError, match=message):
        metrics.compute(kind, KINDS.get(kind, ABC), truth, scores)


@pytest.mark.parametrize(("truth", "prediction"), [([2], [0]), ([0], [2]), ([0], [-1]), ([0, 1], [0])])
def test_confusion_rejects_what_it_cannot_count(truth, prediction):
    with pytest.raises(MMFairseqError, match=r"class numbers|true labels"):
        metrics.confusion(truth, prediction, 2)


def test_every_metric_is_described():
    for kind, classes in KINDS.items():
        for name in metrics.names(kind, classes):
            assert metrics.describe(name)
            assert metrics.describe(f"{name}_emotion").startswith(metrics.describe(name).rstrip(")"))
    assert metrics.describe("acc_happy").endswith("decisions (happy)")
    assert metrics.describe("acc2_has0_mood").endswith("all utterances (mood)")
    assert metrics.describe("wps") == ""
    assert set(metrics.DESCRIPTIONS) >= metrics.LOWER_IS_BETTER

"""Arrays and metrics of predictions: equal to metrics.compute, to scikit-learn and to counts made by hand."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from mm_fairseq import metrics, resampling
from mm_fairseq.report import predictions
from mm_fairseq.report.summary import exact_match, summarise

KINDS = ("single", "binary_each", "multilabel", "regression")


@pytest.fixture
def summary(write_lines, random_lines):
    def make(kind, **fields):
        return summarise(predictions.read(write_lines(random_lines(kind, **fields)))[0])

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_metrics_compute(summary, kind):
    found = summary(kind)
    rows = sorted((json.loads(each) for each in _lines(found)), key=lambda row: row["id"])
    classes = list(rows[0]["scores"])
    if kind == "regression":
        truth, scores = [row["target"] for row in rows], [row["prediction"] for row in rows]
    elif kind == "multilabel":
        truth = [[float(label in row["target"]) for label in classes] for row in rows]
        scores = [list(row["scores"].values()) for row in rows]
    else:
        truth = [classes.index(row["target"]) for row in rows]
        scores = [list(row["scores"].values()) for row in rows]
    assert found.values == pytest.approx(metrics.compute(kind, classes, truth, scores))
    assert set(found.headline) == set(metrics.names(kind, ()))
    assert set(found.main) <= set(found.headline)


def _lines(summary):
    return summary.group.file.read_text("utf-8").splitlines()


def test_predictions_count_even_where_they_are_not_the_largest_score(write_lines, line):
    scores = {"sad": 0.4, "angry": 0.6}, {"sad": 1, "angry": 0}
    lines = [line(n, "sad", "sad", scores=each) for n, each in enumerate(scores)]
    found = summarise(predictions.read(write_lines(lines))[0])
    assert found.values["wa"] == 1
    assert found.matrix.tolist() == [[2, 0], [0, 0]]


@pytest.mark.parametrize("kind", ["single", "binary_each", "multilabel"])
def test_without_scores_there_is_no_metric_of_scores(summary, kind):
    found = summary(kind, scores={})
    assert not {"map", "auc", "ece"} & set(found.headline)
    assert found.calibration() is None
    assert np.isfinite(found.values["mf1"])
    assert np.isnan(found.values["auc"])


def test_a_part_is_measured_like_a_whole(summary):
    found = summary("single")
    chosen = [0, 3, 4, 9, 20]
    truth, said = found.truth[chosen], found.scores[chosen].argmax(1)
    assert found.measure("wa", chosen) == pytest.approx(sk.accuracy_score(truth, said))
    assert found.measure("wf1", chosen) == pytest.approx(sk.f1_score(truth, said, average="weighted"))


def test_intervals_are_those_of_the_bootstrap_over_speakers(summary):
    found = summary("single")
    accuracy = (found.truth == found.scores.argmax(1)).astype(float)
    expected = resampling.interval(lambda chosen: accuracy[chosen].mean(), found.speakers, 200)
    assert found.intervals(200)["wa"] == pytest.approx(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_difference_to_another_run_on_what_both_have(summary, write_lines, random_lines, kind):
    first = summary(kind)
    other = summarise(predictions.read(write_lines(random_lines(kind, seed=5)[10:], "other.jsonl"))[0])
    mine, theirs = first.common(other)
    assert [first.items[n].id for n in mine] == [other.items[n].id for n in theirs]
    assert len(mine) == 50
    found = first.against(other, 50)
    assert set(found) == set(first.main)
    for metric, difference in found.items():
        assert difference.value == pytest.approx(first.measure(metric, mine) - other.measure(metric))
        assert difference.low <= difference.high
    assert first.against(first, 50)[first.main[0]][:3] == (0, 0, 0)


def test_constant_answers(summary):
    single, regression, sets = summary("single"), summary("regression"), summary("multilabel")
    name, values = single.constant()
    assert name == "always the commonest class"
    assert values["wa"] == pytest.approx(np.bincount(single.truth).max() / 60)
    assert values["ua"] == pytest.approx(1 / 3)
    name, values = regression.constant()
    assert values["mae"] == pytest.approx(abs(regression.truth - np.median(regression.truth)).mean())
    name, values = sets.constant()
    assert values["subset_acc"] == pytest.approx(np.unique(sets.truth, axis=0, return_counts=True)[1].max() / 60)


def test_ratings_have_no_figures_of_sentiment(tmp_path):
    pairs = [(1.5, 2.0), (3.0, 3.0), (4.5, 4.0)]
    items = [predictions.Prediction(str(n), truth, said, {}) for n, (truth, said) in enumerate(pairs)]
    found = summarise(predictions.Group("valence", "test", "regression", tmp_path, items))
    assert found.main == found.headline == ("mae", "corr", "ccc")
    assert found.values["ccc"] == pytest.approx(2 * 1.0 / (1.5 + 2 / 3))
    assert set(found.constant()[1]) == {"mae", "corr", "ccc"}


def test_decisions_are_those_of_scikit_learn(summary):
    sets = summary("multilabel")
    assert np.array_equal(sets.decisions, sk.multilabel_confusion_matrix(sets.truth, sets.scores > 0.5))
    each = summary("binary_each")
    assert np.array_equal(each.decisions[1], sk.confusion_matrix(each.truth == 1, each.scores[:, 1] > 0.5))
    assert summary("single").decisions is None


@pytest.mark.parametrize("kind", KINDS)
def test_no_labelled_item_has_no_number(summary, kind):
    found = summary(kind, target=None)
    assert (found.items, found.unlabelled) == ([], 60)
    assert all(np.isnan(value) for value in found.values.values())


def test_exact_match_over_targets(write_lines, line):
    sets = [line(n, ["a"], said, name="events", kind="multilabel", scores={}) for n, said in ((1, ["a"]), (2, ["a"]))]
    lines = [line(1), line(1, name="action"), line(2), line(2, "sad", "angry", name="action"), *sets]
    summaries = [summarise(group) for group in predictions.read(write_lines(lines))]
    assert exact_match(summaries, "test") == (0.5, 2)
    assert exact_match(summaries[:1], "test") is None

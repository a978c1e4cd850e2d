"""Tables of a report against counts made by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from mm_fairseq.report import predictions, slices, tables
from mm_fairseq.report.summary import summarise
from mm_fairseq.resampling import Difference


@pytest.fixture
def summary(write_lines, line):
    lines = [line(i, "sad", "sad") for i in range(6)]
    lines += [line(10, "sad", "angry"), line(11, "angry", "angry"), line(12, "neutral", "sad"), line(14, None, "sad")]
    lines += [line(13, "neutral", "angry", scores={"neutral": 0, "sad": 0.05, "angry": 0.95})]
    return summarise(predictions.read(write_lines(lines))[0])


def of(path):
    return summarise(predictions.read(path)[0])


def test_confusion_counts(summary):
    assert summary.classes == ["neutral", "sad", "angry"]
    assert summary.matrix.tolist() == [[0, 1, 1], [0, 6, 1], [0, 0, 1]]
    assert tables.confusion(summary).rows[1] == ("sad", "0", "6 (86%)", "1 (14%)")
    assert (len(summary.items), summary.unlabelled) == (10, 1)


def test_each_class(summary):
    (table,) = tables.classes(summary)
    assert table.rows[1] == ("sad", "0.857", "0.857", "0.857", "7", "7")
    assert table.rows[2] == ("angry", "0.333", "1.000", "0.500", "1", "3")


def test_headline_shows_the_constant_beside_the_runs(summary):
    table = tables.headline([("mine", summary)])
    assert table.columns == ("run", "wa", "ua", "wf1", "mf1", "map", "auc", "ece", "n")
    assert [row[0] for row in table.rows] == ["mine", "always the commonest class"]
    assert table.rows[1][1:3] == ("0.700", "0.333")
    assert table.rows[1][5:8] == ("-", "-", "-")


def test_runs_on_other_utterances_are_named(summary, write_lines, line):
    other = of(write_lines([line(1)], "other.jsonl"))
    assert tables.different_items([("mine", summary), ("same", summary), ("other", other)]) == ["other"]


def test_sets_of_classes_are_counted_by_class(write_lines, random_lines):
    summary = of(write_lines(random_lines("multilabel")))
    each, decisions = tables.classes(summary)
    precision, recall, f1, support = sk.precision_recall_fscore_support(summary.truth, summary.scores > 0.5)
    assert each.rows[0][:-1] == ("neutral", f"{precision[0]:.3f}", f"{recall[0]:.3f}", f"{f1[0]:.3f}", str(support[0]))
    (right_no, false_yes), (missed, right_yes) = sk.confusion_matrix(summary.truth[:, 0], summary.scores[:, 0] > 0.5)
    precision = sk.average_precision_score(summary.truth[:, 0], summary.scores[:, 0])
    assert decisions.rows[0][3:] == (f"{precision:.3f}", *map(str, (right_yes, false_yes, missed, right_no)))
    assert decisions.rows[-1][3] == f"{summary.values['map']:.3f}"


def test_binary_decisions_of_each_class(write_lines, line):
    lines = [
        line(1, "sad", "sad", kind="binary_each", scores={"sad": 0.9, "angry": 0.8}),
        line(2, "angry", "sad", kind="binary_each", scores={"sad": 0.4, "angry": 0.3}),
    ]
    one_of, decisions = tables.classes(of(write_lines(lines)))
    assert [row[:2] for row in decisions.rows] == [("sad", "1.000"), ("angry", "0.000"), ("mean, sum", "0.500")]
    assert decisions.rows[1][-4:] == ("0", "1", "1", "0")
    assert one_of.rows[0][4:] == ("1", "2")


def test_regression_has_no_class(write_lines, random_lines):
    summary = of(write_lines(random_lines("regression")))
    assert tables.classes(summary) == []
    assert tables.class_scores(summary) == {}


@pytest.mark.parametrize("kind", ["single", "binary_each", "multilabel", "regression"])
def test_no_labelled_item_gives_dashes(write_lines, random_lines, kind):
    table = tables.headline([("run", of(write_lines(random_lines(kind, target=None))))])
    assert set(table.rows[0][1:-1]) == {"-"}
    assert table.rows[0][-1] == "0"
    assert len(table.rows) == 1


def test_of_many_parts_the_largest_are_shown(write_lines, line):
    lines = [line(n, speaker=f"s{n:02}") for n in range(40)] + [line(50, speaker="s39"), line(51, speaker="s38")]
    summary = of(write_lines(lines))
    (piece,) = slices.cut(summary.items)[0]
    table = tables.of_slice(summary, piece, limit=3)
    assert [row[0] for row in table.rows] == ["s00", "s38", "s39"]
    assert "3 largest of 40" in table.note


@pytest.mark.parametrize(
    ("metric", "low", "high", "verdict"),
    [("wa", 0.1, 0.2, "better"), ("wa", -0.2, -0.1, "worse"), ("mae", -0.2, -0.1, "better"), ("wa", -0.1, 0.1, "")],
)
def test_verdict_needs_an_interval_without_0(metric, low, high, verdict):
    assert tables.Change("other", metric, Difference(0.1, low, high, 0.01), 9).verdict == verdict
    assert tables.Change("other", metric, Difference(0.1, np.nan, np.nan, np.nan), 9).verdict == ""


def test_changes_as_text():
    found = [tables.Change("audio", "wa", Difference(0.05, -0.01, 0.1, 0.0004), 1234)]
    assert tables.changes("mine", found).rows == [("audio: wa", "+0.050", "-0.010 to +0.100", "< 0.001", "1,234")]
    lost = [tables.Change("audio", "wa", Difference(0.05, np.nan, np.nan, np.nan), 1)]
    assert tables.changes("mine", lost).rows == [("audio: wa", "+0.050", "-", "-", "1")]

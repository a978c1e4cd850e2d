"""Tables of a report against counts made by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from mm_fairseq.report import predictions, tables


@pytest.fixture
def summary(write_lines, line):
    lines = [line(i, "sad", "sad") for i in range(6)]
    lines += [line(10, "sad", "angry"), line(11, "angry", "angry"), line(12, "neutral", "sad", modalities=["audio"])]
    lines += [line(13, "neutral", "angry", scores={"angry": 0.95}), line(14, None, "sad")]
    return tables.summarise(predictions.read(write_lines(lines))[0])


def rows(summary, title):
    return next(table.rows for table in summary.tables if table.title.startswith(title))


def test_confusion_counts(summary):
    assert summary.classes == ["neutral", "sad", "angry"]
    assert summary.matrix.tolist() == [[0, 1, 1], [0, 6, 1], [0, 0, 1]]
    assert summary.rates[1].tolist() == pytest.approx([0, 6 / 7, 1 / 7])
    assert (summary.items, summary.unlabelled) == (10, 1)


def test_scores_equal_sklearn(summary):
    truth = [item.target for item in summary.group.labelled]
    said = [item.prediction for item in summary.group.labelled]
    assert summary.scores == pytest.approx(
        {
            "wa": 0.7,
            "ua": sk.balanced_accuracy_score(truth, said),
            "wf1": sk.f1_score(truth, said, average="weighted", zero_division=0),
            "mf1": sk.f1_score(truth, said, average="macro", zero_division=0),
        }
    )


def test_each_class_and_modalities(summary):
    assert ("sad", "0.857", "0.857", "0.857", "7", "7") in rows(summary, "Each class")
    assert [(row[0], row[-1]) for row in rows(summary, "By the modalities")] == [("audio + text", "9"), ("audio", "1")]


def test_most_confident_errors_come_first(summary):
    assert rows(summary, "Most confident errors") == [
        ("utt013", "neutral", "angry", "0.950"),
        ("utt010", "sad", "angry", "0.700"),
        ("utt012", "neutral", "sad", "0.700"),
    ]


def test_headline_shows_the_constant_beside_the_runs(summary):
    table = tables.headline([("mine", [summary]), ("without the target", [])], ("emotion", "test"))
    assert [row[0] for row in table.rows] == ["mine", "always the commonest class"]
    assert table.rows[1][1:3] == ("0.700", "0.333")


def test_runs_on_other_utterances_are_named(summary, write_lines, line):
    other = tables.summarise(predictions.read(write_lines([line(1)], "other.jsonl"))[0])
    runs = [("mine", [summary]), ("same", [summary]), ("other", [other])]
    assert tables.different_items(runs, ("emotion", "test")) == ["other"]


def test_binary_decisions_of_each_class(write_lines, line):
    lines = [
        line(1, "sad", "sad", kind="binary_each", scores={"sad": 0.9, "angry": 0.8}),
        line(2, "angry", "sad", kind="binary_each", scores={"sad": 0.4, "angry": 0.3}),
    ]
    table = rows(tables.summarise(predictions.read(write_lines(lines))[0]), "Each class as a yes/no decision")
    assert [row[:2] for row in table] == [("sad", "1.000"), ("angry", "0.000"), ("mean", "0.500")]


def test_regression(write_lines, line):
    truth, said = np.array([1.0, -2.0, 0.0]), np.array([2.5, -2.0, 0.5])
    lines = [
        line(i, t, p, kind="regression") for i, (t, p) in enumerate(zip(truth.tolist(), said.tolist(), strict=True))
    ]
    summary = tables.summarise(predictions.read(write_lines(lines))[0])
    assert summary.scores["mae"] == pytest.approx(2 / 3)
    assert summary.matrix is None
    assert rows(summary, "Largest errors")[0] == ("utt000", "1.00", "2.50", "+1.50")


@pytest.mark.parametrize("kind", ["single", "binary_each", "regression"])
def test_no_labelled_item_gives_dashes(write_lines, line, kind):
    prediction = 1.0 if kind == "regression" else "sad"
    summary = tables.summarise(predictions.read(write_lines([line(1, None, prediction, kind=kind)]))[0])
    table = tables.headline([("run", [summary])], ("emotion", "test"))
    assert set(table.rows[0][1:-1]) == {"-"}
    assert table.rows[0][-1] == "0"


def test_exact_match_over_targets(write_lines, line):
    lines = [line(1), line(1, name="action"), line(2), line(2, "sad", "angry", name="action")]
    summaries = [tables.summarise(group) for group in predictions.read(write_lines(lines))]
    assert tables.exact_match(summaries, "test") == (0.5, 2)
    assert tables.exact_match(summaries[:1], "test") is None

"""The gravest errors come first, with what was said."""

from mm_fairseq.report import mistakes, predictions
from mm_fairseq.report.summary import summarise


def summary(path):
    return summarise(predictions.read(path)[0])


def test_the_most_confident_come_first(write_lines, line):
    lines = [line(1), line(10, "sad", "angry"), line(12, "neutral", "sad"), line(14, None, "sad")]
    lines += [line(13, "neutral", "angry", scores={"neutral": 0, "sad": 0.05, "angry": 0.95})]
    table = mistakes.gravest(summary(write_lines(lines)))
    assert table.title == "Most confident errors (3 of 3)"
    assert table.rows == [
        ("utt013", "neutral", "angry", "0.950"),
        ("utt010", "sad", "angry", "0.700"),
        ("utt012", "neutral", "sad", "0.700"),
    ]
    assert mistakes.gravest(summary(write_lines(lines)), 1).title == "Most confident errors (1 of 3)"


def test_transcripts_stand_beside_them(write_lines, line):
    table = mistakes.gravest(summary(write_lines([line(1, "sad", "angry", text="그래"), line(2, "sad", "angry")])))
    assert table.columns[-1] == "transcript"
    assert [row[-1] for row in table.rows] == ["그래", ""]


def test_sets_name_what_is_missed_and_what_is_too_much(write_lines, line):
    common = {"kind": "multilabel"}
    lines = [
        line(1, ["a", "b"], ["a", "c"], scores={"a": 0.9, "b": 0.2, "c": 0.6}, **common),
        line(2, ["a"], [], scores={"a": 0.05, "b": 0.2, "c": 0.1}, **common),
        line(3, [], [], scores={"a": 0.49, "b": 0.2, "c": 0.1}, **common),
    ]
    assert mistakes.gravest(summary(write_lines(lines))).rows == [
        ("utt002", "a", "-", "0.950"),
        ("utt001", "b", "c", "0.800"),
    ]


def test_regression_goes_by_distance(write_lines, line):
    values = [(1.0, 2.5), (-2.0, -2.0), (0.0, -3.0)]
    lines = [line(n, truth, said, kind="regression") for n, (truth, said) in enumerate(values)]
    assert mistakes.gravest(summary(write_lines(lines))).rows == [
        ("utt002", "0.00", "-3.00", "-3.00"),
        ("utt000", "1.00", "2.50", "+1.50"),
    ]

"""The csv files hold every number of the report."""

import csv
import io

import pytest

from mm_fairseq.report import export, runs, sections


@pytest.fixture
def read(run_folder):
    run = runs.read(run_folder)
    report = sections.build([run, runs.Run("other", run.summaries, {}, run.curves)], 50)
    texts = {
        "metrics": export.metrics([run], report.sections),
        "predictions": export.predictions(run.summaries),
        "confusion": export.confusion(report.sections),
        "differences": export.differences(report.sections),
        "curves": export.curves(run),
    }
    return report, {name: list(csv.DictReader(io.StringIO(text))) for name, text in texts.items()}


def test_metrics_with_intervals_classes_and_slices(read):
    report, files = read
    summary = report.sections[0].summary
    whole = {row["metric"]: row for row in files["metrics"] if not row["slice"] and not row["class"]}
    assert {name: float(row["value"]) for name, row in whole.items()} == pytest.approx(
        {"n": 60, **{name: summary.values[name] for name in summary.headline}}, abs=1e-6
    )
    low, high = report.sections[0].intervals["wa"]
    assert (float(whole["wa"]["low"]), float(whole["wa"]["high"])) == pytest.approx((low, high), abs=1e-6)
    assert whole["auc"]["low"] == ""
    recall = [float(row["value"]) for row in files["metrics"] if row["metric"] == "recall"]
    assert sum(recall) / 3 == pytest.approx(summary.values["ua"], abs=1e-6)
    part = [row for row in files["metrics"] if (row["slice"], row["part"]) == ("style", "scripted")]
    chosen = [n for n, item in enumerate(summary.items) if item.attributes["style"] == "scripted"]
    assert {row["metric"]: float(row["value"]) for row in part} == pytest.approx(
        {"n": 30, **{name: summary.measure(name, chosen) for name in summary.main}}, abs=1e-6
    )


def test_predictions_one_line_each(read):
    report, files = read
    first = report.sections[0].summary.items[0]
    row = next(row for row in files["predictions"] if row["id"] == first.id)
    assert len(files["predictions"]) == 60
    assert (row["truth"], row["prediction"], row["right"]) == (first.target, first.prediction, str(int(first.right)))
    assert float(row["score"]) == float(row[f"p:{first.prediction}"]) == first.scores[first.prediction]
    assert (row["modalities"], row["style"], row["transcript_in_train"]) == ("audio|text", "improvised", "1")


def test_confusion_differences_and_curves(read):
    report, files = read
    matrix = report.sections[0].summary.matrix
    assert [int(row["count"]) for row in files["confusion"]] == matrix.ravel().tolist()
    assert {row["metric"]: float(row["difference"]) for row in files["differences"]} == dict.fromkeys(
        ("wa", "ua", "wf1", "mf1"), 0.0
    )
    values = {(row["metric"], row["split"], row["epoch"]): float(row["value"]) for row in files["curves"]}
    assert values["wa", "valid", "3"] == pytest.approx(0.3)


def test_sets_are_joined_and_missing_truths_are_empty(write_lines, random_lines):
    lines = [*random_lines("multilabel", n=3), *random_lines("regression", n=1, name="sentiment", target=None)]
    rows = list(csv.DictReader(io.StringIO(export.predictions(runs.read(write_lines(lines)).summaries))))
    assert [row["truth"].split("|") for row in rows[:3] if row["truth"]] != []
    assert (rows[3]["truth"], rows[3]["right"], rows[3]["score"], rows[3]["p:sad"]) == ("", "", "", "")


def test_nothing_to_say_is_no_text(write_lines, random_lines):
    run = runs.read(write_lines(random_lines("regression")))
    report = sections.build([run], 0)
    assert [export.confusion(report.sections), export.differences(report.sections), export.curves(run)] == ["", "", ""]

"""Means, deviations, pooled values and intervals of folds and seeds, against hand-made numbers."""

import csv
import io
import json
import math
import statistics

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.evaluation import scores
from mm_fairseq.evaluation.summary import summarise
from mm_fairseq.tables import to_json

# Of four utterances of two speakers, these many are right: seed -> fold -> number; fold 2 has eight.
RIGHT = {1: {"1": 4, "2": 4}, 2: {"1": 3, "2": 2}, 7: {"1": 2, "2": 0}}
SIZE = {"1": 4, "2": 8}


@pytest.fixture
def runs(predictions):
    def rows(fold, right):
        return {f"f{fold}u{n}": ("sad", "sad" if n < right else "neu") for n in range(SIZE[fold])}

    return {
        seed: {
            fold: scores.load(predictions(f"{seed}/{fold}.jsonl", rows(fold, right), speaker=f"speaker {fold}"))
            for fold, right in folds.items()
        }
        for seed, folds in RIGHT.items()
    }


def test_folds_seeds_and_pool(runs):
    summary = summarise(runs, ["wa"], resamples=200)
    wa = summary.metrics["wa"]
    folds = [statistics.mean([1, 0.75, 0.5]), statistics.mean([0.5, 0.25, 0])]
    seeds = [0.75, 0.5, 0.25]
    assert wa.values.tolist() == [[1, 0.75, 0.5], [0.5, 0.25, 0]]
    assert wa.fold_means.tolist() == pytest.approx(folds)
    assert wa.mean == pytest.approx(statistics.mean(folds))
    assert wa.std_folds == pytest.approx(statistics.stdev(folds))
    assert wa.std_seeds == pytest.approx(statistics.stdev(seeds))
    assert wa.pooled.tolist() == pytest.approx([8 / 12, 5 / 12, 2 / 12])
    # Two speakers: the mean over seeds of either alone are the ends.
    assert wa.interval == pytest.approx((0.25, 0.75))
    assert (summary.by, summary.groups) == ("speaker", 2)
    assert list(summary.metrics) == ["wa", "ua", "wf1", "mf1", "map", "auc", "ece"]
    assert math.isnan(summary.metrics["ua"].interval[0])


def test_one_fold_and_one_seed_have_no_deviation(runs):
    summary = summarise({1: {"1": runs[1]["1"]}}, ["wa"], resamples=9)
    wa = summary.metrics["wa"]
    assert (wa.mean, wa.pooled.tolist()) == (1, [1])
    assert math.isnan(wa.std_folds)
    assert math.isnan(wa.std_seeds)
    assert math.isnan(wa.interval[0])
    assert [row[1] for row in summary.table("").rows] == ["1.000", "1.000", "-", "-", "1.000", "-"]
    row = json.loads(to_json(summary.as_json()))["metrics"]["wa"]
    assert (row["std_folds"], row["interval"]) == (None, [None, None])


def test_table_names_every_number(runs):
    table = summarise(runs, ["wa", "ece"], resamples=200).table("mine")
    assert list(table.columns) == ["test, mean over seeds", "wa", "ece", "utterances"]
    assert {row[0]: (row[1], row[-1]) for row in table.rows} == {
        "fold 1": ("0.750", "4"),
        "fold 2": ("0.250", "8"),
        "mean over folds (n = 2)": ("0.500", ""),
        "standard deviation over folds (n = 2)": ("0.354", ""),
        "standard deviation over seeds (n = 3)": ("0.250", ""),
        "pooled (all folds together)": ("0.417", "12"),
        "95 % interval over 2 speakers": ("0.250 to 0.750", ""),
    }


def test_csv_and_json_say_the_same(runs):
    summary = summarise(runs, ["wa"], resamples=200)
    rows = list(csv.DictReader(io.StringIO(summary.as_csv())))
    numbers = {(row["number"], row["fold"], row["seed"]): row["value"] for row in rows if row["metric"] == "wa"}
    wa = json.loads(to_json(summary.as_json()))["metrics"]["wa"]
    assert float(numbers["test", "2", "7"]) == wa["folds_seeds"]["2"]["7"] == 0
    assert float(numbers["mean_over_seeds", "1", ""]) == wa["folds"]["1"] == 0.75
    assert float(numbers["pooled", "", "2"]) == pytest.approx(wa["pooled_seeds"]["2"], abs=1e-6)
    for name, key in (("mean_over_folds", "mean"), ("std_over_folds", "std_folds"), ("std_over_seeds", "std_seeds")):
        assert float(numbers[name, "", ""]) == pytest.approx(wa[key], abs=1e-6)
    assert [float(numbers[f"pooled_{end}", "", ""]) for end in ("low", "high")] == wa["interval"]
    assert len(numbers) == 6 + 3 + 2 + 4 + 2


def test_regression(predictions):
    part = predictions("p.jsonl", {"a": (1.0, 2.0), "b": (-1.0, -1.5)}, kind="regression", scores={})
    summary = summarise({1: {"1": scores.load(part)}}, resamples=9)
    assert summary.metrics["mae"].mean == 0.75
    assert summary.shown == ["mae", "corr", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc7"]


def test_speakers_nobody_knows(predictions):
    part = scores.load(predictions("p.jsonl", {"a": ("sad", "sad"), "b": ("sad", "neu")}, speaker=""))
    summary = summarise({1: {"1": part}}, ["wa"], resamples=100)
    assert (summary.by, summary.groups) == ("utterance", 2)
    assert summary.metrics["wa"].interval == (0, 1)


def test_unknown_metric(runs):
    with pytest.raises(MMFairseqError, match="unknown metric 'uar'"):
        summarise(runs, ["uar"])

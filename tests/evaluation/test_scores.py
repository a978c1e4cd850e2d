"""Metrics by their log names, over one and several targets, over a pool of folds."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.evaluation import scores

ROWS = {"a": ("neu", "neu"), "b": ("sad", "neu"), "c": ("sad", "sad"), "d": ("neu", "sad"), "e": ("sad", "sad")}


def test_measures_are_those_of_scikit_learn(predictions):
    groups = scores.load(predictions("p.jsonl", ROWS))
    found = scores.measures(groups)
    truth, said = zip(*ROWS.values(), strict=True)
    assert found["wa"].value == pytest.approx(3 / 5)
    assert found["ua"].value == pytest.approx(balanced_accuracy_score(truth, said))
    assert found["mf1"].value == pytest.approx(f1_score(truth, said, average="macro"))
    assert found["wa"].of(np.array([0, 0, 1])) == pytest.approx(2 / 3)
    assert found["wa"].groups("speaker") == ["s0", "s0", "s1", "s1", "s2"]
    assert found["wa"].groups("session") == ["1"] * 5
    assert found["wa"].groups("utterance") == [""] * 5


def test_several_targets_carry_their_names(predictions):
    path = predictions("p.jsonl", ROWS)
    predictions("p.jsonl", ROWS | {"a": ("neu", "sad"), "b": (None, "neu")}, target="mood")
    predictions("p.jsonl", dict.fromkeys(ROWS, (1.0, 0.5)), target="value", kind="regression", scores={})
    groups = scores.load(path)
    found = scores.measures(groups)
    assert (found["wa_emotion"].value, found["wa_mood"].value, found["mae_value"].value) == (0.6, 0.5, 0.5)
    assert len(found["wa_mood"].items) == 4  # b has no label
    assert found["exact_match"].value == 0.5  # of a, c, d, e: c and e
    assert "wa" not in found
    assert scores.chosen(groups, ()) == [
        *(f"{metric}_{target}" for target in ("emotion", "mood") for metric in ("wa", "ua", "wf1", "mf1")),
        *(f"{metric}_value" for metric in ("mae", "corr", "acc2_has0", "acc2_non0", "f1_has0", "f1_non0", "acc7")),
        "exact_match",
    ]
    assert scores.chosen(groups, ["ua", "mae_value", "ua_mood"]) == ["ua_emotion", "ua_mood", "mae_value"]
    alone = scores.load(path, target="mood")
    assert scores.chosen(alone, ["ua"]) == ["ua"]


def test_a_pool_of_folds(predictions):
    """Utterances keep their fold, so that one that is tested twice counts twice."""
    first = scores.load(predictions("1.jsonl", ROWS))
    second = scores.load(predictions("2.jsonl", {"a": ("neu", "sad")}))
    pool = scores.pooled({"1": first, "2": second})
    measure = scores.measures(pool)["wa"]
    assert [item.id for item in measure.items] == ["1/a", "1/b", "1/c", "1/d", "1/e", "2/a"]
    assert measure.value == 0.5


def test_folds_of_different_targets(predictions):
    first = scores.load(predictions("1.jsonl", ROWS))
    second = scores.load(predictions("2.jsonl", ROWS, target="mood"))
    with pytest.raises(MMFairseqError, match=r"fold 1 predicts .*emotion.*, fold 2 predicts .*mood"):
        scores.pooled({"1": first, "2": second})


def test_what_is_not_there_is_listed(predictions):
    path = predictions("p.jsonl", ROWS, speaker="")
    predictions("p.jsonl", ROWS, split="valid")
    groups = scores.load(path)
    assert groups[0].split == "test"
    assert scores.load(path, "valid")[0].split == "valid"
    for call, message in (
        (lambda: scores.load(path, "train"), r"no predictions of split 'train'; it has test, valid"),
        (lambda: scores.load(path, target="mood"), r"no target 'mood'; it has emotion"),
        (lambda: scores.chosen(groups, ["uar"]), r"unknown metric 'uar'; these predictions have wa, ua, wf1"),
        (lambda: scores.measures(groups)["wa"].groups("speaker"), "name no speaker; resample by utterance"),
        (lambda: scores.measures(groups)["wa"].groups("town"), "'town'; allowed: speaker, session, utterance"),
    ):
        with pytest.raises(MMFairseqError, match=message):
            call()

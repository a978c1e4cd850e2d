"""Baselines against scikit-learn, pandas and counts by hand."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, recall_score

from mm_fairseq.baselines import Coded, Items, constants, from_train, known
from mm_fairseq.targets import Target, kind_of

CLASSES = ("neutral", "joy", "anger", "fear")


def kinds_of(*targets):
    return {target.name: kind_of(target) for target in targets}


SINGLE = kinds_of(Target("e", "single", CLASSES))
NUMBER = kinds_of(Target("s", "regression"))


def metrics(found, name):
    return found[name]["metrics"]


@pytest.fixture
def drawn():
    """Labels of train and test as class numbers, and transcripts of which some are repeated or empty."""
    random = np.random.default_rng(1)
    shares = (0.45, 0.3, 0.15, 0.1)
    labels = [random.choice(4, size, p=shares) for size in (600, 200)]
    texts = [[f"t{n}" if n else "" for n in random.integers(0, 90, size)] for size in (600, 200)]
    return [Items({"e": each}, said) for each, said in zip(labels, texts, strict=True)]


def test_majority_is_scikit_learns(drawn):
    train, test = drawn
    truth = test.truths["e"]
    said = DummyClassifier(strategy="most_frequent").fit(np.zeros((600, 1)), train.truths["e"]).predict(truth[:, None])
    found = metrics(from_train(SINGLE, train, test), "majority")
    assert found["wa"] == pytest.approx(accuracy_score(truth, said))
    assert found["ua"] == pytest.approx(recall_score(truth, said, average="macro", zero_division=0))
    assert found["wf1"] == pytest.approx(f1_score(truth, said, average="weighted", zero_division=0))
    assert found["mf1"] == pytest.approx(f1_score(truth, said, average="macro", zero_division=0))
    assert not {"map", "auc", "ece"} & set(found)


def test_look_up_is_a_table_of_modes(drawn):
    train, test = drawn
    frame = pd.DataFrame({"text": train.texts, "label": train.truths["e"]})
    usual = frame.label.mode().min()
    table = frame[frame.text != ""].groupby("text").label.agg(lambda labels: labels.mode().min())
    said = [table.get(text, usual) for text in test.texts]
    found = from_train(SINGLE, train, test)
    assert metrics(found, "transcript_lookup")["wa"] == pytest.approx(accuracy_score(test.truths["e"], said))
    assert metrics(found, "transcript_lookup")["mf1"] == pytest.approx(
        f1_score(test.truths["e"], said, average="macro", zero_division=0)
    )
    assert found["transcript_lookup"]["known"] == np.mean([text in table.index for text in test.texts])


def test_no_constant_is_better_than_the_best(drawn):
    train, test = drawn
    split = Items({"e": np.where(test.truths["e"] == 0, -100, test.truths["e"])}, test.texts)
    found = metrics(constants(SINGLE, train, split), "constant_best")
    truth = split.truths["e"][split.truths["e"] >= 0]
    for metric, value in (
        ("wa", lambda said: accuracy_score(truth, said)),
        ("wf1", lambda said: f1_score(truth, said, average="weighted", zero_division=0)),
        ("mf1", lambda said: f1_score(truth, said, average="macro", labels=np.unique([*truth, *said]))),
    ):
        assert found[metric] == pytest.approx(max(value(np.full(truth.size, k)) for k in range(4)))
    assert found["wa"] > metrics(from_train(SINGLE, train, split), "majority")["wa"]


def test_numbers():
    random = np.random.default_rng(2)
    train = Items({"s": random.normal(0.3, 1, 301)}, [f"t{n}" for n in random.integers(0, 40, 301)])
    test = Items({"s": random.normal(0, 1, 100)}, [f"t{n}" for n in random.integers(0, 60, 100)])
    frame = pd.DataFrame({"text": train.texts, "value": train.truths["s"]})
    table, usual = frame.groupby("text").value.median(), frame.value.median()
    found = from_train(NUMBER, train, test) | constants(NUMBER, train, test)
    truth = test.truths["s"]
    for name, strategy in (("majority", "median"), ("constant_mean", "mean")):
        dummy = DummyRegressor(strategy=strategy).fit(np.zeros((301, 1)), train.truths["s"])
        said = dummy.predict(np.zeros((100, 1)))
        assert metrics(found, name)["mae"] == pytest.approx(mean_absolute_error(truth, said))
        assert metrics(found, name)["corr"] is None
    looked_up = [table.get(text, usual) for text in test.texts]
    assert metrics(found, "transcript_lookup")["mae"] == pytest.approx(mean_absolute_error(truth, looked_up))
    assert metrics(found, "transcript_lookup")["corr"] == pytest.approx(np.corrcoef(truth, looked_up)[0, 1])
    assert metrics(found, "constant_zero")["acc7"] == np.mean(np.abs(truth) <= 0.5)
    assert metrics(found, "constant_zero")["acc2_has0"] == np.mean(truth >= 0)
    assert metrics(found, "constant_positive")["acc2_non0"] == np.mean(truth > 0)
    assert metrics(found, "constant_positive")["mae"] == pytest.approx(
        mean_absolute_error(truth, np.full(100, train.truths["s"][train.truths["s"] > 0].mean()))
    )


def test_numbers_on_one_side_of_zero_have_no_constant_there():
    items = Items({"s": [1.0, 2.5, float("nan")]}, ["", "", ""])
    assert list(constants(NUMBER, items, items)) == ["constant_mean"]


def test_sets_of_classes():
    kinds = kinds_of(Target("t", "multilabel", ("a", "b")))
    train = Items({"t": [[0, 0], [0, 0], [1, 1], [1, 1], [0, 1], [np.nan] * 2]}, ["x", "y", "y", "y", "", "z"])
    test = Items({"t": [[0, 0], [1, 1], [0, 1]]}, ["x", "z", ""])
    found = from_train(kinds, train, test) | constants(kinds, train, test)
    assert metrics(found, "majority")["subset_acc"] == pytest.approx(1 / 3)  # of two equals a|b, whose class is first
    assert metrics(found, "transcript_lookup")["subset_acc"] == pytest.approx(2 / 3)  # of z no label is known
    assert found["transcript_lookup"]["known"] == pytest.approx(2 / 3)
    assert metrics(found, "constant_all")["subset_acc"] == pytest.approx(1 / 3)
    assert metrics(found, "constant_all")["f1_a"] == pytest.approx(
        f1_score([0, 1, 0], [1, 1, 1], average="weighted", zero_division=0)
    )


@pytest.mark.parametrize(
    "target", [Target("e", "single", CLASSES), Target("e", "multilabel", CLASSES), Target("e", "regression")]
)
def test_labels_may_be_coded(target):
    random = np.random.default_rng(4)
    kinds = kinds_of(target)
    labels = {"single": ["", *CLASSES], "multilabel": ["", "|", "joy", "fear|joy", "joy|fear", "anger"]}
    forms = np.array([kinds["e"].encode(label) for label in labels.get(target.kind, ["", "-1.5", "0", "2"])])
    numbers = random.integers(0, len(forms), (2, 50))
    texts = [[f"t{n}" for n in random.integers(0, 20, 50)] for _ in range(2)]
    coded = [Items({"e": Coded(forms, each)}, said) for each, said in zip(numbers, texts, strict=True)]
    plain = [Items({"e": forms[each]}, said) for each, said in zip(numbers, texts, strict=True)]
    assert from_train(kinds, *coded) == from_train(kinds, *plain)
    assert constants(kinds, *coded) == constants(kinds, *plain)


def test_targets_of_two_kinds():
    kinds = SINGLE | NUMBER | kinds_of(Target("f", "single", ("p", "q")))
    items = Items({"e": [0, 1], "f": [0, -100], "s": [-1.0, 2.0]}, ["", ""])
    found = from_train(kinds, items, items) | constants(kinds, items, items)
    assert list(found) == ["majority", "constant_best", "constant_zero", "constant_mean", "constant_positive"]
    assert metrics(found, "majority")["exact_match"] == 1
    assert metrics(found, "constant_best")["exact_match"] == 1
    assert not any(name.endswith("_s") for name in metrics(found, "constant_best"))
    assert all(name.endswith("_s") for name in metrics(found, "constant_zero"))


def test_splits_without_items_or_labels():
    empty, silent = Items({"e": []}, []), Items({"e": [-100, -100]}, ["x", "y"])
    labelled = Items({"e": [0, 1]}, ["x", "y"])
    assert from_train(SINGLE, empty, labelled) == from_train(SINGLE, silent, labelled) == {}
    assert metrics(from_train(SINGLE, labelled, empty), "majority")["wa"] is None
    assert from_train(SINGLE, labelled, empty)["transcript_lookup"]["known"] == 0
    assert constants(SINGLE, labelled, silent) == {}
    assert constants(NUMBER, Items({"s": []}, []), Items({"s": [1.0]}, ["x"])) == {}
    np.testing.assert_array_equal(known(np.array([0, -100])), [True, False])
    np.testing.assert_array_equal(known(np.array([[0.0, 1], [np.nan, np.nan]])), [True, False])


def test_a_large_corpus_takes_a_second():
    random = np.random.default_rng(3)
    train, test = (
        Items({"e": random.integers(0, 4, size)}, [f"t{n}" for n in random.integers(0, 60_000, size)])
        for size in (100_000, 20_000)
    )
    begin = time.process_time()
    from_train(SINGLE, train, test)
    constants(SINGLE, train, test)
    assert time.process_time() - begin < 20

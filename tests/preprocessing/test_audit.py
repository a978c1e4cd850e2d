import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import accuracy_score, f1_score

from mm_fairseq.corpora import CORPORA, ParsedCorpus
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.preprocessing.audit import audit
from mm_fairseq.targets import Target

CLASSES = ("neutral", "joy", "anger")


def corpus(rows, protocols, root="/data", **settings):
    targets = [Target("e", "single", CLASSES), Target("t", "multilabel", ("p", "q")), Target("v", "regression")]
    return ParsedCorpus(Manifest(Path(root), ["e", "t", "v"], rows), targets, protocols, **settings)


def made(count, root="/data", **settings):
    """Rows of two folds, each in three splits by its number."""
    draw = np.random.default_rng(count)
    labels = zip(
        draw.choice(["", *CLASSES], count, p=[0.1, 0.5, 0.2, 0.2]),
        draw.choice(["", "|", "p", "p|q"], count),
        draw.normal(size=count),
        strict=True,
    )
    said = draw.integers(0, count, count)
    rows = [
        Utterance(f"u{n}", "", f"s{n % 50}", text=f"Text {said[n]}.", start=n, end=n + 2, audio="all.wav",
                  labels={"e": str(e), "t": str(t), "v": f"{v:.3f}"})
        for n, (e, t, v) in enumerate(labels)
    ]  # fmt: skip
    splits = ("train", "train", "train", "valid", "test")
    folds = {
        str(k): {split: [row.id for n, row in enumerate(rows) if splits[(n + k) % 5] == split] for split in set(splits)}
        for k in (1, 2)
    }
    return corpus(rows, {"p": folds}, root, **settings)


def test_baselines_of_every_fold_by_scikit_learn():
    prepared = made(400)
    labels = {row.id: row.labels["e"] for row in prepared.manifest.utterances}
    found = audit(prepared).baselines["p"]
    assert {fold: set(splits) for fold, splits in found.items()} == {key: {"valid", "test"} for key in "12"}
    for fold, splits in prepared.protocols["p"].items():
        known = [labels[i] for i in splits["train"] if labels[i]]
        usual = max(CLASSES, key=known.count)
        for split in ("valid", "test"):
            truth = [labels[i] for i in splits[split] if labels[i]]
            majority = found[fold][split]["majority"]["metrics"]
            assert majority["wa_e"] == pytest.approx(accuracy_score(truth, [usual] * len(truth)))
            assert majority["wf1_e"] == pytest.approx(
                f1_score(truth, [usual] * len(truth), average="weighted", zero_division=0)
            )
            assert list(found[fold][split]) == [
                "majority",
                "transcript_lookup",
                "constant_best",
                "constant_all",
                "constant_zero",
                "constant_mean",
                "constant_positive",
            ]


def test_durations_by_split_and_label(tmp_path):
    rows = [
        Utterance("a", text="x", audio="a.wav", labels={"e": "joy", "t": "p|q", "v": "1"}),
        Utterance("b", text="x", audio="gone.wav", labels={"e": "joy", "t": "|", "v": "1"}),
        Utterance("c", text="x", audio="gone.wav", start=1, end=4, labels={"e": "", "t": "q", "v": ""}),
    ]
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 8000)
    prepared = corpus(rows, {"p": {"1": {"train": ["a", "b"], "valid": [], "test": ["c"]}}}, tmp_path)
    result = audit(prepared)
    assert result.durations == {
        "utterances": 2,
        "seconds": 3.5,
        "shortest": 0.5,
        "median": 1.75,
        "longest": 3.0,
        "unknown": {"missing_file": {"utterances": 1, "first": ["b"]}},
        "splits": {"p": {"1": {"train": 0.5, "valid": 0, "test": 3.0}}},
        "targets": {
            "e": {"neutral": 0, "joy": 0.5, "anger": 0, "": 3.0},
            "t": {"p": 0.5, "q": 3.5, "|": 0},
        },
    }
    told = result.to_json()
    assert told["files"]["faults"] == {"missing_file": 1}
    assert json.loads(json.dumps(told, allow_nan=False)) == json.loads(json.dumps(told))


def test_paths_are_relative_to_the_folder_that_is_given(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 8000)
    prepared = corpus([Utterance("a", audio="a.wav", labels={"e": "joy"})], {"p": {"1": {"train": ["a"]}}}, "files")
    assert audit(prepared, tmp_path).durations["seconds"] == 0.5


def test_a_leak_is_told_once(tmp_path):
    for name in ("x", "y"):
        (tmp_path / f"{name}.wav").write_bytes(b"one and the same")
    rows = [Utterance(f"{path}{split}", split, audio=f"{path}.wav") for path in "xy" for split in ("train", "test")]
    fold = {split: [row.id for row in rows if row.split == split] for split in ("train", "valid", "test")}
    told = "protocol 'p', fold '1': 2 of the 2 utterances of test are in train too: xtest, ytest"
    result = audit(corpus(rows, {"p": {"1": fold}}, tmp_path))
    assert result.leaks == result.to_json()["leaks"] == [told]
    result = audit(corpus([rows[0], rows[3]], {"p": {"1": {"train": ["xtrain"], "test": ["ytest"]}}}, tmp_path))
    assert result.leaks == [
        "protocol 'p', fold '1': 1 of the 1 utterances of test have the same bytes as files of train: ytest"
    ]


def test_a_corpus_takes_seconds():
    times = []
    for count in (5_000, 20_000):
        prepared = made(count)
        begin = time.process_time()
        result = audit(prepared)
        times.append(time.process_time() - begin)
        assert result.durations["utterances"] == count
    assert times[1] < 100
    assert times[1] < 8 * times[0]  # four times the rows


@pytest.mark.real
def test_published_meld(real_data):
    corpus, parser = CORPORA.get("meld")(), argparse.ArgumentParser()
    corpus.add_arguments(parser)
    result = audit(corpus.parse(real_data / "meld", parser.parse_args([])))
    shared = {(*each.splits, each.what): each for each in result.overlaps}
    assert shared["train", "test", "transcripts"].items[1] == 331
    assert shared["train", "test", "transcripts"].of == (9989, 2610)
    majority = result.baselines["official"]["1"]["test"]["majority"]["metrics"]
    assert round(100 * majority["wa_emotion"], 1) == 48.1
    assert round(100 * majority["wf1_emotion"], 1) == 31.3
    assert not result.leaks


@pytest.mark.real
def test_lengths_of_real_recordings(real_data):
    with open(real_data / "nemo/manifest.csv", encoding="utf-8") as file:
        told = list(csv.DictReader(file))
    rows = [Utterance(str(n), audio=row["path"], labels={"e": "joy"}) for n, row in enumerate(told)]
    fold = {"train": [row.id for row in rows]}
    found = audit(corpus(rows, {"p": {"1": fold}}, real_data / "nemo"))
    assert found.durations["seconds"] == pytest.approx(sum(float(row["duration"]) for row in told), abs=1e-3)
    assert found.files.faults == {}

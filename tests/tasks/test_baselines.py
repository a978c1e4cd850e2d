"""Majority and transcript look-up, against counts by hand."""

import gc
import json
import tracemalloc
from itertools import cycle, islice
from types import SimpleNamespace

import numpy as np
import pytest
from task_factory import around, batches_of, checkpoint_task, logs_of, reduced, state_of, task_of

from mm_fairseq.manifest import Utterance
from mm_fairseq.targets import Target, kind_of
from mm_fairseq.tasks._baselines import Train, baselines

ACTION = Target("action", "single", ("on", "off", "up"))
ROOM = Target("room", "single", ("here", "there"))
TAGS = Target("tags", "multilabel", ("a", "b"))
SCORE = Target("score", "regression")


class Split(SimpleNamespace):
    """What of a dataset is needed."""

    subset = "test"

    def __len__(self):
        return len(self.utterances)


def rows_of(*rows):
    return [
        Utterance(f"u{number}", text=text, labels=dict(zip(("action", "room", "tags", "score"), labels, strict=False)))
        for number, (text, *labels) in enumerate(rows)
    ]


def found(targets, train, test):
    kinds = {target.name: kind_of(target) for target in targets}
    truths, known = (
        {name: [kind.encode(row.labels.get(name, "")) for row in rows] for name, kind in kinds.items()}
        for rows in (test, train)
    )
    split = Split(utterances=test, truths=truths)
    return baselines(split, kinds, Train.read(known, train, split))


TRAIN = rows_of(
    ("Turn it on!", "on", "here"),
    ("turn it on", "on", "here"),
    ("Turn it on", "off", "here"),
    ("Turn it up", "up", "there"),
    ("", "on", "there"),
    ("Off", "off", ""),
)


def test_two_targets_of_classes():
    test = rows_of(
        ("TURN IT ON", "on", "here"),  # known, and right
        ("turn it up", "up", "here"),  # known; the room was another one
        ("never heard", "off", "here"),  # as majority: on, here
        ("off", "off", ""),  # known; no true room
    )
    out = found([ACTION, ROOM], TRAIN, test)
    assert list(out) == ["majority", "transcript_lookup"]
    majority, lookup = (each["metrics"] for each in out.values())
    assert majority["wa_action"] == 1 / 4
    assert majority["wa_room"] == 1
    assert majority["exact_match"] == 1 / 3
    assert lookup["wa_action"] == 3 / 4
    assert lookup["wa_room"] == pytest.approx(2 / 3)
    assert lookup["exact_match"] == pytest.approx(1 / 3)
    assert out["transcript_lookup"]["known"] == 3 / 4
    assert not {"map_action", "auc_action", "ece_room"} & {*majority, *lookup}
    assert lookup["mf1_action"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)  # truth on up off off, said on up on off


def test_sets_and_numbers():
    train = rows_of(
        ("yes", "", "", "a|b", "1"), ("yes", "", "", "a|b", "3"), ("no", "", "", "|", "-2"), ("no", "", "", "|", "-3")
    )
    test = rows_of(("No.", "", "", "|", "-2"), ("yes", "", "", "a", "2"), ("what", "", "", "b", "0"))
    out = found([TAGS, SCORE], train, test)
    lookup = out["transcript_lookup"]["metrics"]
    assert lookup["mae_score"] == pytest.approx((0.5 + 0 + 0.5) / 3)  # -2.5, 2, median -0.5
    assert lookup["subset_acc_tags"] == pytest.approx(1 / 3)  # the tie goes to a|b
    assert out["majority"]["metrics"]["mae_score"] == pytest.approx((1.5 + 2.5 + 0.5) / 3)
    assert out["majority"]["metrics"]["corr_score"] is None  # of a constant


def test_one_target_has_plain_names_and_no_exact_match():
    out = found([ACTION], TRAIN, rows_of(("turn it on", "on")))
    assert out["majority"]["metrics"]["wa"] == 1
    assert "exact_match" not in out["majority"]["metrics"]


def test_without_transcripts_or_labels():
    silent = rows_of(("", "on", "here"), ("", "off", "here"), ("", "off", ""))
    assert list(found([ACTION, ROOM], silent, TRAIN)) == ["majority"]
    assert found([ACTION, ROOM], rows_of(("x", "on", "")), TRAIN) == {}
    assert found([ACTION], [], TRAIN) == {}


class Many:
    """So many rows of train, none of them held."""

    def __init__(self, size, kind):
        self.size, self.kind = size, kind

    def __len__(self):
        return self.size

    def __iter__(self):
        return islice(cycle([Utterance("u", text=f"turn {number}") for number in range(50)]), self.size)

    def __getitem__(self, rows):
        labels = {"multilabel": ["", "|", "a|b"], "regression": ["", "-1", "0.25"]}.get(
            self.kind.target.kind, ["", "on"]
        )
        return np.array([self.kind.encode(label) for label in labels])[np.arange(rows.start, rows.stop) % len(labels)]


@pytest.mark.parametrize("target", [ACTION, TAGS, SCORE], ids=lambda target: target.kind)
def test_16_bytes_an_utterance_of_train(target):
    """Every one of them has a transcript that is asked for."""
    kinds = {target.name: kind_of(target)}
    test = rows_of(*((f"turn {number}", "on", "here", "a", "1") for number in range(50)))
    truths = {name: [kind.encode(row.labels[name]) for row in test] for name, kind in kinds.items()}
    split = Split(utterances=test, truths=truths)
    peaks = []
    for pieces in (1, 2, 4):  # the first, so that what is kept for good is there
        rows = Many(pieces << 16, kinds[target.name])
        gc.collect()
        tracemalloc.start()
        found = baselines(split, kinds, Train.read({target.name: rows}, rows, split))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found["transcript_lookup"]["known"] == 1
    assert round((peaks[2] - peaks[1]) / (2 << 16), 1) <= 16


def test_validation_writes_them(every_kind, tmp_path):
    task = checkpoint_task(
        every_kind,
        state_of(task_of(every_kind, modalities="text")),
        around(tmp_path / "checkpoint_best.pt"),
    )
    for subset in ("test", "train"):
        task.load_dataset(subset)
        reduced(task, [logs_of(task, batches_of(task.dataset(subset), 5))])
    assert json.loads((tmp_path / "train/results.json").read_text())["baselines"] == {}
    record = json.loads((tmp_path / "test/results.json").read_text())
    found = record["baselines"]
    assert list(found) == ["majority", "transcript_lookup"]
    assert found["transcript_lookup"]["known"] == 1
    assert set(found["majority"]["metrics"]) < set(record["metrics"])
    rows = task.data_bin.manifest.utterances
    labels = [row.labels["emotion"] for row in rows]
    common = max(task.kinds["emotion"].classes, key=labels.count)
    tested = [row.labels["emotion"] for row in task.dataset("test").utterances if row.labels["emotion"]]
    assert found["majority"]["metrics"]["wa_emotion"] == pytest.approx(np.mean([label == common for label in tested]))

"""Metrics and predictions of a split against what the model says of it at once, however it is cut into batches."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from databin_factory import EVERY_KIND, write_data_bin
from fairseq.logging import metrics as logging
from task_factory import (
    Guess,
    around,
    batches_of,
    checkpoint_task,
    criterion_of,
    logs_of,
    reduced,
    state_of,
    task_of,
)

from mm_fairseq import metrics
from mm_fairseq.databin import fingerprint
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.tasks import _results, _run

SIZE = 68


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Every kind of target; of `SIZE` utterances each lacks a seventh of its labels."""
    return write_data_bin(tmp_path_factory.mktemp("every") / "data-bin", SIZE // 4, frame_size=8, every_kind=True)


@pytest.fixture(scope="module")
def task(data):
    task = task_of(data, modalities="text,audio")
    task.load_dataset("train")
    return task


@pytest.fixture(scope="module")
def dataset(task):
    return task.dataset("train")


def read_label(target, text):
    if target.kind == "regression":
        return float(text or "nan")
    if target.kind == "multilabel":
        return [float(label in text.split("|")) if text else np.nan for label in target.classes]
    return target.classes.index(text) if text else -100


def scores_of(task, dataset, rows):
    with torch.no_grad():
        logits = Guess(task.outputs)(**batches_of(dataset, SIZE, rows)[0]["net_input"])["logits"]
    return {
        "emotion": logits["emotion"].softmax(1).numpy(),
        "each": logits["each"].view(-1, 4, 2).softmax(-1)[..., 1].numpy(),
        "events": logits["events"].sigmoid().numpy(),
        "sentiment": logits["sentiment"][:, 0].numpy(),
    }


def expected_metrics(task, dataset, rows=range(SIZE)):
    """From the labels' text and the logits of one large batch."""
    scores, out = scores_of(task, dataset, rows), {}
    texts = {target.name: [dataset.utterances[row].labels[target.name] for row in rows] for target in EVERY_KIND}
    for target in EVERY_KIND:
        truth = np.array([read_label(target, text) for text in texts[target.name]])
        values = metrics.compute(target.kind, target.classes, truth, scores[target.name])
        out |= {f"{name}_{target.name}": value for name, value in values.items()}
    hits = []
    for place in range(len(rows)):
        labels = {name: texts[name][place] for name in ("emotion", "each", "events")}
        if all(labels.values()):
            events = {label for label, p in zip(EVERY_KIND[2].classes, scores["events"][place]) if p > 0.5}
            hits.append(
                EVERY_KIND[0].classes[scores["emotion"][place].argmax()] == labels["emotion"]
                and EVERY_KIND[1].classes[scores["each"][place].argmax()] == labels["each"]
                and events == set(labels["events"].split("|")) - {""}
            )
    assert len(hits) < len(rows)
    return out | {"exact_match": np.mean(hits)}


@pytest.mark.parametrize("order", ["sorted", "shuffled"])
@pytest.mark.parametrize("size", [1, 5, 64])
def test_metrics_are_those_of_everything_at_once(task, dataset, size, order):
    rng = np.random.default_rng(size)
    logs = logs_of(task, batches_of(dataset, size, rng.permutation(SIZE) if order == "shuffled" else None))
    expected = expected_metrics(task, dataset)
    assert 0 < expected["exact_match"] < 1
    ways = {"validate": [[*logs, {}]], "train": [[log] for log in logs]}  # a rank without a batch logs nothing
    for groups in ways.values():
        found = reduced(task, groups)
        assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
        assert np.isfinite(found["loss"])


def test_names_are_those_of_the_metrics(task, dataset):
    assert set(_results.metric_names(task.kinds)) == set(expected_metrics(task, dataset))
    for names, expected in {
        ("emotion",): {"wa", "ece"},
        ("sentiment",): {"mae", "corr"},
        ("emotion", "sentiment"): {"wa_emotion", "mae_sentiment"},
        ("emotion", "events"): {"wa_emotion", "subset_acc_events", "exact_match"},
    }.items():
        found = _results.metric_names({name: task.kinds[name] for name in names})
        assert expected <= set(found)
        assert ("exact_match" in found) == ("exact_match" in expected)
        assert len(set(found)) == len(found)


@pytest.mark.parametrize("select", ["loss", "acc7_sentiment"])
def test_numbers_that_are_no_sentiment_have_no_metrics_of_it(data, select):
    """Ratings from 1 to 5, say; what chooses the checkpoint is logged all the same, and all stands in results.json."""
    task = task_of(data, around=around(select=select), modalities="text")
    task.load_dataset("valid")
    task.datasets["valid"].truths["sentiment"] = np.linspace(1, 5, len(task.dataset("valid")))
    found = reduced(task, [logs_of(task, batches_of(task.dataset("valid"), 7))])
    logged = {name for name in metrics.SENTIMENT if f"{name}_sentiment" in found}
    assert logged == ({"acc7"} if select == "acc7_sentiment" else set())
    assert {"mae_sentiment", "corr_sentiment", "wa_emotion"} <= set(found)
    assert {f"{name}_sentiment" for name in metrics.SENTIMENT} <= set(task.results["valid"].metrics())


def test_one_target_has_plain_names(data):
    task = task_of(data, modalities="text", targets="events")
    task.load_dataset("valid")
    found = reduced(task, [logs_of(task, batches_of(task.dataset("valid"), 7))])
    assert set(metrics.names("multilabel", EVERY_KIND[2].classes)) <= set(found)
    assert "exact_match" not in found


def test_nothing_is_said_of_a_part(task, dataset):
    """The trainer asks for metrics after every batch, and keeps the meters of all validations."""
    logs, criterion = logs_of(task, batches_of(dataset, 30)), criterion_of(task).eval()
    names = _results.metric_names(task.kinds)
    said = []
    for epoch in (1, 2):
        task.begin_valid_epoch(epoch, None)
        for log in logs:
            with logging.aggregate("valid", new_root=True), logging.aggregate() as inner:
                task.reduce_metrics([log], criterion)
            values = inner.get_smoothed_values()
            said.append({name for name in names if not np.isnan(values[name])})
            assert np.isfinite(values["loss"])
    assert said == 2 * [*[set()] * (len(logs) - 1), set(names)]
    kept = dict(logging.state_dict())["valid"]
    assert {kind for _, _, kind, _ in kept} <= {"AverageMeter", "TimeMeter", "SumMeter"}  # those that fairseq can load


def test_max_valid_steps_gives_metrics_of_what_there_is(data, dataset):
    task = task_of(data, around=around(max_valid_steps=2), modalities="text,audio")
    task.load_dataset("train")
    rows = range(30)
    found = reduced(task, [[log] for log in logs_of(task, batches_of(dataset, 10, rows))])
    expected = expected_metrics(task, dataset, rows)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_metrics_of_training_are_counted(task, dataset):
    batches, criterion, model = batches_of(dataset, 9), criterion_of(task).train(), Guess(task.outputs)
    logs = [criterion(model, batch)[2] for batch in batches]
    with logging.aggregate(new_root=True) as found:
        for group in (logs[:3], logs[3:]):
            task.reduce_metrics(group, criterion)
    values, expected = found.get_smoothed_values(), expected_metrics(task, dataset)
    counted = {f"{name}_{key}" for key, kind in task.kinds.items() for name in kind.counted}
    assert {"ua_emotion", "wf1_each", "mf1_events", "mae_sentiment"} <= counted
    assert {name: values[name] for name in counted} == pytest.approx({name: expected[name] for name in counted})


def test_metrics_of_no_label_are_undefined(data, tmp_path):
    own = shutil.copytree(data, tmp_path / "data-bin")
    lines = (own / "manifest.tsv").read_text().splitlines()
    place = lines[1].split("\t").index("sentiment")
    cut = ["\t".join([*line.split("\t")[:place], "", *line.split("\t")[place + 1 :]]) for line in lines[2:]]
    (own / "manifest.tsv").write_text("\n".join([*lines[:2], *cut]) + "\n")
    task = task_of(own, modalities="text")
    task.load_dataset("valid")
    found = reduced(task, [logs_of(task, batches_of(task.dataset("valid"), 8))])
    assert all(np.isnan(found[f"{name}_sentiment"]) for name in metrics.names("regression"))
    assert np.isfinite(found["exact_match"])  # of the targets of classes


@pytest.mark.parametrize(("target", "bad"), [("emotion", np.inf), *((target.name, np.nan) for target in EVERY_KIND)])
def test_a_prediction_that_is_no_number_names_the_utterances(task, dataset, target, bad):
    class Broken(Guess):
        def forward(self, inputs, padding_masks):
            out = super().forward(inputs, padding_masks)
            out["logits"][target][1:3, 0] = bad
            return out

    (batch,) = batches_of(dataset, 4, [7, 30, 11, 5])
    with pytest.raises(MMFairseqError, match=rf"^train: .*'{target}' is not a finite number for utt030, utt011$"):
        logs_of(task, [batch], Broken(task.outputs))


def results_of(task, dataset, *parts, whole=True):
    out = _results.Results(dataset, task.kinds, whole)
    out.update([log["_results"] for part in parts for log in logs_of(task, batches_of(dataset, SIZE, part))])
    return out


def test_an_utterance_twice_or_lost_is_an_error(task, dataset):
    rows = list(range(SIZE))
    twice = results_of(task, dataset, rows, [3])
    instead = results_of(task, dataset, rows[:-1], [3])
    for results, told in ((twice, f"{SIZE + 1} results of {SIZE}"), (instead, f"{SIZE} results of {SIZE - 1}")):
        with pytest.raises(MMFairseqError, match=f"train: {told} utterances, the split has {SIZE}"):
            results.metric("wa_emotion")
    lost = results_of(task, dataset, rows[:-1])
    assert np.isnan(lost.metric("wa_emotion"))
    with pytest.raises(MMFairseqError, match=f"{SIZE - 1} results of {SIZE - 1} utterances, the split has {SIZE}"):
        lost.gathered()
    with pytest.raises(MMFairseqError, match="5 results of 4 utterances"):
        results_of(task, dataset, [0, 1, 2, 3, 2], whole=False).metric("wa_emotion")


def test_the_order_of_batches_changes_nothing(task, dataset):
    first = results_of(task, dataset, range(SIZE))
    second = results_of(task, dataset, reversed(range(SIZE)))
    assert first.metric("wa_emotion") == second.metric("wa_emotion")
    assert first.gathered()[0].tolist() == second.gathered()[0].tolist() == list(range(SIZE))


def test_an_empty_batch_is_no_batch(task):
    assert task.valid_step({}, None, None) == (0.0, 0, {})


# What is written


@pytest.fixture
def spoken(data, tmp_path):
    """Train holds the sentences 0 to 3 alone; in test one is written otherwise, one has no text, one has a span."""
    own = shutil.copytree(data, tmp_path / "data-bin")
    np.save(own / "splits" / "official" / "1" / "train.npy", np.array([row for row in range(SIZE) if row % 8 < 4]))
    text = (own / "manifest.tsv").read_text()
    lines = text.splitlines()
    header = lines[1].split("\t")
    for row, column, value in ((2, "text", " sentence  2"), (5, "text", ""), (8, "start", "1.5"), (8, "end", "4")):
        fields = lines[2 + row].split("\t")
        fields[header.index(column)] = value
        lines[2 + row] = "\t".join(fields)
    (own / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return own


def validated(data, folder, split="test", **options):
    """The task of a `fairseq-validate` that is through."""
    state = state_of(task_of(data, modalities="text,audio"))
    task = checkpoint_task(data, state, around(folder / "best.pt"), modalities="text,audio", **options)
    task.load_dataset(split)
    reduced(task, [logs_of(task, batches_of(task.dataset(split), 5, reversed(range(len(task.dataset(split))))))])
    return task


def read_lines(folder):
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def test_predictions(spoken, tmp_path):
    task = validated(spoken, tmp_path / "run")
    dataset = task.dataset("test")
    lines = read_lines(tmp_path / "run" / "test")
    scores = scores_of(task, dataset, range(len(dataset)))
    assert [(line["id"], line["name"]) for line in lines] == [
        (f"utt{row:03d}", name) for row in range(2, SIZE, 3) for name in sorted(scores)
    ]
    targets = {target.name: target for target in EVERY_KIND}
    for place, line in enumerate(lines):
        target, index = targets[line["name"]], place // 4
        utterance, found = dataset.utterances[index], scores[line["name"]][index]
        label = utterance.labels[target.name]
        if target.kind == "regression":
            assert (line["target"], line["scores"]) == (float(label) if label else None, {})
            assert line["prediction"] == pytest.approx(found, abs=1e-6)
        else:
            assert line["scores"] == pytest.approx(dict(zip(target.classes, found)), abs=1e-6)
        if target.kind == "multilabel":
            assert line["target"] == ([each for each in label.split("|") if each] if label else None)
            assert line["prediction"] == [each for each in target.classes if line["scores"][each] > 0.5]
        elif target.classes:
            assert line["target"] == (label or None)
            assert line["prediction"] == max(line["scores"], key=line["scores"].get)
        row = int(line["id"][3:])
        assert (line["split"], line["kind"], line["modalities"]) == ("test", target.kind, ["audio", "text"])
        assert (line["speaker"], line["session"], line["dialogue"]) == (f"s{row % 3}", f"{row % 2}", "")
        assert line["attributes"] == {"style": ("scripted", "improvised")[row % 2]}
        assert line["text"] == {2: " sentence  2", 5: ""}.get(row, f"Sentence {row % 8}!")
        assert line["transcript_in_train"] is (None if row == 5 else row % 8 < 4)
        samples = dataset.streams["audio"].lengths[row]
        assert line["seconds"] == (2.5 if row == 8 else pytest.approx(samples / 16000, abs=6e-4))


@pytest.mark.parametrize("why", ["the split is train", "there is no train"])
def test_nothing_to_compare_a_transcript_with(spoken, tmp_path, why):
    split = "train" if why == "the split is train" else "test"
    if split == "test":
        (spoken / "splits" / "official" / "1" / "train.npy").unlink()
    validated(spoken, tmp_path / "run", split)
    assert {line["transcript_in_train"] for line in read_lines(tmp_path / "run" / split)} == {None}


def test_results_file(spoken, tmp_path):
    task = validated(spoken, tmp_path / "run")
    found = json.loads((tmp_path / "run" / "test" / "results.json").read_text())
    values = found.pop("metrics")
    expected = reduced(task, [logs_of(task, batches_of(task.dataset("test"), 64))])
    assert set(values) == set(_results.metric_names(task.kinds))
    for name, value in values.items():
        assert value == (None if np.isnan(expected[name]) else pytest.approx(expected[name], abs=1e-6)), name
    assert list(found.pop("baselines")) == ["majority", "transcript_lookup"]
    assert found == {
        "split": "test",
        "protocol": "official",
        "fold": "1",
        "seed": 3,
        "arch": "ssl_fusion",
        "modalities": ["audio", "text"],
        "command": _run.describe()["command"],
        "versions": _run.describe()["versions"],
        "data": fingerprint(spoken),
        "checkpoint": "best.pt",
        "updates": 7,
        "utterances": len(range(2, SIZE, 3)),
        "targets": json.loads((spoken / "targets.json").read_text()),
        "dropped": [],
    }


def test_what_is_undefined_is_null(data, tmp_path):
    """A split of one utterance has no correlation."""
    own = shutil.copytree(data, tmp_path / "data-bin")
    np.save(own / "splits" / "official" / "1" / "test.npy", np.array([1]))
    validated(own, tmp_path / "run")
    values = json.loads((tmp_path / "run" / "test" / "results.json").read_text())["metrics"]
    assert values["corr_sentiment"] is None
    assert values["auc_emotion"] is None
    assert values["mae_sentiment"] >= 0


def test_only_the_first_rank_and_only_validation_writes(data, tmp_path, monkeypatch):
    task = task_of(data, around=around(tmp_path / "training" / "best.pt"), modalities="text,audio")
    task.load_dataset("test")
    reduced(task, [logs_of(task, batches_of(task.dataset("test"), 64))])
    assert not (tmp_path / "training").exists()
    monkeypatch.setattr(_run, "rank", lambda: 1)
    validated(data, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_withheld_modalities_are_told(data, tmp_path):
    state = state_of(task_of(data, modalities="text,audio"))
    task = checkpoint_task(data, state, around(tmp_path / "best.pt"), modalities="text")
    task.run = replace(task.run, predictions_dir=tmp_path / "elsewhere")
    task.load_dataset("test")
    reduced(task, [logs_of(task, batches_of(task.dataset("test"), 8))])
    lines = read_lines(tmp_path / "elsewhere" / "test")
    assert {tuple(line["modalities"]) for line in lines} == {("text",)}
    assert all(line["seconds"] for line in lines)
    assert json.loads((tmp_path / "elsewhere" / "test" / "results.json").read_text())["modalities"] == ["text"]

"""Splits under stress: what the model is given, what is told of it, and what is refused."""

import json

import numpy as np
import pytest
import torch
from databin_factory import write_data_bin
from task_factory import around, batches_of, checkpoint_task, logs_of, model_cfg, reduced, state_of, task_of

from mm_fairseq.databin.reader import StreamReader
from mm_fairseq.databin.writer import write_shard
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.tasks._run import Run


@pytest.fixture(scope="module")
def recognised(tmp_path_factory):
    """A data-bin with what a recogniser heard: the tokens in reverse, nothing in every fourth row."""
    folder = write_data_bin(tmp_path_factory.mktemp("stress") / "data-bin", frame_size=8)
    texts = [np.array(item[::-1]) for item in StreamReader(folder / "text")]
    heard = [text if row % 4 else text[:0] for row, text in enumerate(texts)]
    write_shard(folder / "text_asr", 0, heard, "int32")
    meta = json.loads((folder / "meta.json").read_text())
    meta["streams"]["text_asr"] = {}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


@pytest.fixture(scope="module")
def state(recognised):
    return state_of(task_of(recognised))


def validating(data, state, split, model=None, modalities="", **options):
    task = checkpoint_task(data, state, around=around("/some/best.pt"), modalities=modalities, **options)
    cfg = model_cfg(**(model or {}))
    trained = task_of(data)
    trained.build_model(cfg)  # fills in what the backbones are built from
    task.build_model(cfg, from_checkpoint=True)
    task.load_dataset(split)
    return task


def inputs(task, split, size=3):
    """Row of the split, modality -> real input."""
    found = {}
    for batch in batches_of(task.dataset(split), size):
        for name, x in batch["net_input"]["inputs"].items():
            mask = batch["net_input"]["padding_masks"][name]
            found |= {(number, name): x[row][~mask[row]].numpy() for row, number in enumerate(batch["id"].tolist())}
    return found


@pytest.fixture(scope="module")
def plain(recognised, state):
    return inputs(validating(recognised, state, "test"), "test")


@pytest.mark.parametrize("snr", [20.0, 0.0])
def test_noise_is_as_loud_as_said_and_the_same_in_any_batch(recognised, state, plain, snr):
    split = f"test@noise={snr:g}"
    task = validating(recognised, state, split)
    found = inputs(task, split)
    for (row, name), x in found.items():
        if name != "audio":
            assert np.array_equal(x, plain[row, name])
            continue
        clean = plain[row, name].astype(np.float64)
        scale = clean @ x / (clean @ clean) if snr == 0 else 1.0  # where the sum was made softer
        ratio = np.square(scale * clean).mean() / np.square(x - scale * clean).mean()
        assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.1 if scale == 1 else 0.5)
    for size in (1, 8):
        again = inputs(task, split, size)
        assert all(np.array_equal(found[place], again[place]) for place in found)
    task.dataset(split).set_epoch(5)
    assert np.array_equal(inputs(task, split)[0, "audio"], found[0, "audio"])


def test_recognised_text_is_read_in_place_of_the_transcript(recognised, state, plain):
    task = validating(recognised, state, "test@text=text_asr")
    found = inputs(task, "test@text=text_asr")
    rows = task.dataset("test@text=text_asr").rows
    for (row, name), x in found.items():
        if name != "text":
            assert np.array_equal(x, plain[row, name])
        elif rows[row] % 4:
            assert x.tolist() == [0, *plain[row, name][1:-1][::-1].tolist(), 2]
        else:
            assert len(x) == 0  # nothing was heard: a missing text


@pytest.mark.parametrize(("name", "gone"), [("audio", {"audio"}), ("audio+video", {"audio", "video"})])
def test_a_modality_is_withheld(recognised, state, plain, name, gone):
    split = f"test@without={name}"
    found = inputs(validating(recognised, state, split), split)
    for (row, modality), x in found.items():
        assert len(x) == 0 if modality in gone else np.array_equal(x, plain[row, modality])


def test_results_tell_the_stress(recognised, state, tmp_path):
    task = checkpoint_task(recognised, state, around=around("/some/best.pt", results_path=str(tmp_path)))
    for split in ("test", "test@without=audio"):
        task.load_dataset(split)
        reduced(task, [logs_of(task, batches_of(task.dataset(split), 5))])
    found = json.loads((tmp_path / "test@without=audio" / "results.json").read_text())
    assert (found["split"], found["stress"], found["utterances"]) == ("test@without=audio", "without=audio", 8)
    assert "stress" not in json.loads((tmp_path / "test" / "results.json").read_text())
    lines = [json.loads(line) for line in (tmp_path / "test@without=audio" / "predictions.jsonl").open()]
    assert {line["split"] for line in lines} == {"test@without=audio"}
    assert {tuple(line["modalities"]) for line in lines} == {("text", "video")}


REFUSED = {
    "test@noise=loud": ({}, r"--stress 'noise=loud'; allowed: noise=DECIBELS"),
    "test@without=audio": (
        {"modalities": "text,video"},
        r"without=audio: the model is given no audio, only text, video",
    ),
    "test@noise=10": ({"modalities": "text"}, r"--stress noise=10: the model is given no audio, only text"),
    "test@without=audio+text+video": ({}, r"nothing is left to give to the model"),
    "dev@noise=10": ({}, r"no split 'dev'"),
}


@pytest.mark.parametrize("split", REFUSED)
def test_what_cannot_be_done_is_refused(recognised, state, split):
    options, words = REFUSED[split]
    with pytest.raises(MMFairseqError, match=words):
        validating(recognised, state, split, **options)


def test_all_are_looked_at_before_the_first_split_is_scored(recognised, data_bin, state):
    with pytest.raises(MMFairseqError, match=r"--stress 'rain=1'; allowed"):
        checkpoint_task(recognised, state, stress="noise=10,rain=1")
    with pytest.raises(MMFairseqError, match=r"text=text_asr: .* has no recognised texts; give the manifest a column"):
        validating(data_bin, state, "test", stress="noise=10,text=text_asr")
    with pytest.raises(MMFairseqError, match=r"--stress noise=10 changes raw audio, which cached features do not show"):
        validating(recognised, state, "test", backbone_source="cached", stress="noise=10", modalities="audio")


def test_training_looks_at_no_test_under_stress_and_chooses_on_no_stress():
    Run(select="loss", valid_subsets=("valid", "valid@noise=10")).check_selection(["loss"])
    for subsets, words in (
        (("valid", "test@noise=10"), "training must not look at test"),
        (
            ("valid@noise=10", "valid"),
            "the checkpoint is chosen on the first of them: name a split without stress first",
        ),
    ):
        with pytest.raises(MMFairseqError, match=words):
            Run(select="loss", valid_subsets=subsets).check_selection(["loss"])


def test_validation_in_training_may_be_under_stress(recognised):
    task = task_of(recognised, word_drop=0.3)
    task.build_model(model_cfg())
    for split in ("valid", "valid@noise=0"):
        task.load_dataset(split)
    clean, noisy = inputs(task, "valid"), inputs(task, "valid@noise=0")
    assert all(np.array_equal(x, noisy[place]) == (place[1] != "audio") for place, x in clean.items())
    told = around()
    told["dataset"]["train_subset"] = "train@noise=10"
    with pytest.raises(MMFairseqError, match=r"--stress noise=10: for fairseq-validate"):
        task_of(recognised, around=told)


def test_a_model_under_stress_answers(recognised, state):
    task = validating(recognised, state, "test@text=text_asr")
    torch.manual_seed(0)
    (log,) = logs_of(task, batches_of(task.dataset("test@text=text_asr"), 8))
    assert np.isfinite(log["_results"]["scores"]["emotion"]).all()

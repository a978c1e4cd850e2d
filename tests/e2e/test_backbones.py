"""Cached features and partly trained backbones in the real commands."""

import shutil

import pytest
import torch
from commands import TASK, TRAIN, metrics, predictions, run, start

SMALL = ["--arch", "ssl_fusion", "--encoder-layers", 1, "--encoder-layers-cross", 1, "--encoder-ffn-embed-dim", 32]
SMALL += ["--dropout", 0, "--attention-dropout", 0, "--pooler-dropout", 0, "--no-epoch-checkpoints"]


def specs(pretrained):
    return {
        "audio": f"wav2vec:{pretrained}/wav2vec/wav2vec.pt",
        "text": f"roberta:{pretrained}/roberta,layer=weighted",
        "video": f"fabnet:{pretrained}/fabnet/fabnet.pt",
    }


def flags(backbones):
    return [part for name, spec in backbones.items() for part in (f"--{name}-backbone", spec)]


# Cached features


@pytest.fixture(scope="module")
def trainings(roberta_data_bin, checkpoints, tmp_path_factory):
    """One training from raw data, one from cached features, one that omits the frozen backbones."""
    folder = tmp_path_factory.mktemp("cached")
    data = shutil.copytree(roberta_data_bin, folder / "data-bin")
    backbones = specs(checkpoints)
    extract = [part for name, spec in backbones.items() for part in ("--backbone", f"{name}={spec}")]
    log = run("mm-fairseq", "extract", data, *extract, "--workers", 2)
    train = [*TRAIN, *SMALL, *flags(backbones), "--batch-size", 8, "--max-epoch", 3]
    ways = {"raw": ["--backbone-source", "raw"], "cached": [], "omitted": ["--omit-frozen-backbones"]}
    jobs = {
        name: start("fairseq-train", data, *train, *options, "--save-dir", folder / name)
        for name, options in ways.items()
    }
    logs = {name: finish() for name, finish in jobs.items()}
    return {"folder": folder, "data": data, "logs": logs, "extract": log, "train": train}


def test_training_from_cached_features_is_that_from_raw_data(trainings):
    expected = metrics(trainings["logs"]["raw"], "valid")
    assert expected["num_updates"] == 9
    for name in ("cached", "omitted"):
        found = metrics(trainings["logs"][name], "valid")
        for key in ("loss", "wa", "ua", "wf1", "mf1", "map", "auc"):
            assert found[key] == pytest.approx(expected[key], abs=1e-3), (name, key)
        for modality in ("audio", "text", "video"):
            assert f"{modality}: cached features, {modality}@" in trainings["logs"][name]
    assert "cached features" not in trainings["logs"]["raw"]


def test_frozen_weights_are_in_the_checkpoint_unless_omitted(trainings):
    states = {
        name: torch.load(trainings["folder"] / name / "checkpoint_last.pt", weights_only=True)
        for name in ("raw", "cached", "omitted")
    }
    names = {name: set(state["model"]) for name, state in states.items()}
    assert names["cached"] == names["raw"]
    frozen = {name for name in names["raw"] if name.startswith("backbones.encoders.")}
    assert frozen
    assert names["omitted"] == names["raw"] - frozen
    assert "backbones.mixers.text.weight" in names["omitted"]  # the weights of the layers are learnt


@pytest.fixture(scope="module")
def scores(trainings):
    """Predictions of each checkpoint from each source that it can read."""
    ways = {
        ("raw", "raw"): ["--backbone-source", "raw"],
        ("raw", "cached"): ["--backbone-source", "cached"],
        ("cached", "raw"): ["--backbone-source", "raw"],
        ("omitted", "auto"): [],
    }
    jobs = []
    for (name, source), options in ways.items():
        results = trainings["folder"] / f"{name}-{source}"
        path = trainings["folder"] / name / "checkpoint_last.pt"
        validate = [trainings["data"], *TASK, "--path", path, "--valid-subset", "test", "--results-path", results]
        jobs.append(start("fairseq-validate", *validate, "--batch-size", 5, *options))
    for finish in jobs:
        finish()
    return {way: predictions(trainings["folder"] / "-".join(way) / "test") for way in ways}


def test_one_checkpoint_gives_the_same_scores_from_both_sources(scores):
    first = scores["raw", "raw"]
    assert len(first) == 8
    for way, rows in scores.items():
        for one, other in zip(first, rows, strict=True):
            assert other["scores"] == pytest.approx(one["scores"], abs=1e-3), way


def test_what_an_omitting_checkpoint_cannot_read(trainings, tmp_path):
    path = trainings["folder"] / "omitted" / "checkpoint_last.pt"
    bare = shutil.copytree(trainings["data"], tmp_path / "data-bin", ignore=shutil.ignore_patterns("text@*"))
    jobs = {
        "--backbone-source raw: the model lacks the audio backbone 'wav2vec'": (
            trainings["data"],
            "--backbone-source",
            "raw",
        ),
        "no cached features for text backbone 'roberta': nothing of that backbone was extracted": (bare,),
    }
    finishing = {
        words: start("fairseq-validate", *args, *TASK, "--path", path, "--valid-subset", "test", "--batch-size", 8)
        for words, args in jobs.items()
    }
    for words, finish in finishing.items():
        log = finish(fails=True)
        assert words in log
        assert "Traceback" not in log


def test_another_file_is_not_taken_for_the_cached_one(trainings, checkpoints, tmp_path):
    """Features of another file are refused if they are asked for, and left aside otherwise."""
    state = torch.load(checkpoints / "wav2vec" / "wav2vec.pt", weights_only=True)
    state["model"]["feature_extractor.conv_layers.0.0.weight"] *= 1.1
    torch.save(state, tmp_path / "other.pt")
    train = [trainings["data"], *TRAIN, *SMALL, "--a-only", "--audio-backbone", f"wav2vec:{tmp_path}/other.pt"]
    train += ["--batch-size", 8, "--max-epoch", 1]
    asked = start("fairseq-train", *train, "--backbone-source", "cached", "--save-dir", tmp_path / "asked")
    log = run("fairseq-train", *train, "--save-dir", tmp_path / "auto")
    assert "audio: raw data, for the cached features do not fit: audio@wav2vec-" in log
    assert "made from a file with sha256" in log
    log = asked(fails=True)
    assert "no cached features for audio backbone 'wav2vec': audio@wav2vec-" in log
    assert "Traceback" not in log
    assert not (tmp_path / "asked" / "checkpoint_last.pt").exists()


# Partly trained backbones


def test_two_processes_train_backbones_as_one_does(roberta_data_bin, checkpoints, tmp_path):
    """Frozen at first, then the top layer, at a rate of its own, with recomputed activations."""
    backbones = specs(checkpoints)
    options = [*flags({name: backbones[name] for name in ("audio", "text")}), "--modalities", "audio,text"]
    options += ["--finetune-backbones", "text", "--finetune-top-layers", 1, "--freeze-finetune-updates", 1]
    options += ["--backbone-lr", 1e-4, "--checkpoint-activations", "--weight-decay", 0.1, "--max-epoch", 3]
    train = [roberta_data_bin, *TRAIN, *SMALL, *options]
    # no dropout of the backbone's own either, which draws other numbers on each rank
    train[train.index(backbones["text"])] += ",dropout=0.0,attention_dropout=0.0"
    one = start("fairseq-train", *train, "--batch-size", 4, "--update-freq", 2, "--save-dir", tmp_path / "one")
    two = start("fairseq-train", *train, "--batch-size", 4, "--save-dir", tmp_path / "two", processes=2)
    expected, found = metrics(one(), "valid"), metrics(two(), "valid")
    for key in ("loss", "wa", "ua", "num_updates"):
        assert found[key] == pytest.approx(expected[key], abs=1e-4), key
    first, second = (torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True) for name in ("one", "two"))
    for name, value in first["model"].items():
        torch.testing.assert_close(second["model"][name], value, atol=1e-6, rtol=1e-6, msg=name)
    start_weights = torch.load(checkpoints / "roberta" / "model.pt", weights_only=True)["model"]
    changed = {
        name.removeprefix("backbones.encoders.text.")
        for name, value in first["model"].items()
        if name.startswith("backbones.encoders.text.")
        and not torch.equal(value, start_weights.get(name.removeprefix("backbones.encoders.text."), value))
    }
    assert changed
    assert all(".layers.1." in name for name in changed)

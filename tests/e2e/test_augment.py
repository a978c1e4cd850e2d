"""Augmentation and stress by the real commands: a resumed training is exact, a stressed test is tabled."""

import csv
import re

import pytest
import torch
from commands import TASK, TRAIN, metrics, predictions, results, run, start

from mm_fairseq.cli import main

SMALL = ["--arch", "ssl_fusion", "--encoder-layers", 1, "--embed-dim", 16, "--encoder-ffn-embed-dim", 32]
SMALL += ["--fusion", "late", "--no-epoch-checkpoints", "--batch-size", 5]
AUGMENT = ["--speed-factors", "0.9,1.0,1.1", "--gain-db", 6, "--noise-snr", "5,20", "--noise-colour", "pink"]
AUGMENT += ["--room-rt60", "0.1,0.3", "--augment-probability", 0.8, "--time-masks", 2, "--time-mask-width", 0.2]
AUGMENT += ["--channel-masks", 1, "--channel-mask-width", 0.3, "--frame-drop", 0.3, "--flip-probability", 0.5]
AUGMENT += ["--word-drop", 0.2, "--mixup-alpha", 0.4, "--modality-dropout", 0.2]


@pytest.fixture(scope="module")
def trained(data_bin, tmp_path_factory):
    """Two epochs of five updates: in one go, and interrupted in the middle of the second, with another loader."""
    folder = tmp_path_factory.mktemp("augmented")
    train = [data_bin, *TRAIN, *SMALL, *AUGMENT]
    whole = start("fairseq-train", *train, "--save-dir", folder / "whole", "--max-epoch", 2, "--num-workers", 2)
    parts = [*train, "--save-dir", folder / "parts"]
    run("fairseq-train", *parts, "--max-update", 7, "--num-workers", 0)
    log = run("fairseq-train", *parts, "--max-epoch", 2, "--valid-subset", "valid,valid@noise=5")
    return folder, whole(), log


def test_resumed_training_with_everything_on_equals_uninterrupted(trained):
    folder, whole, log = trained
    first, second = (
        torch.load(folder / name / "checkpoint_last.pt", weights_only=True)["model"] for name in ("whole", "parts")
    )
    assert all(torch.equal(second[name], weight) for name, weight in first.items())
    expected, found = (metrics(each, "valid") for each in (whole, log))
    assert found["num_updates"] == 10
    for key in ("loss", "wa"):
        assert found[key] == expected[key]
    assert metrics(log, "valid@noise=5")["num_updates"] == 10  # scored beside valid


def test_stress_is_scored_and_tabled(trained, data_bin, tmp_path, capsys):
    path = trained[0] / "whole" / "checkpoint_best.pt"
    validate = [data_bin, *TASK, "--path", path, "--log-format", "json"]
    stress = ["--stress", "noise=20,noise=0,without=video"]
    once = ["--valid-subset", "test", *stress, "--results-path", tmp_path / "run"]
    finish = start("fairseq-validate", *validate, *once, "--batch-size", 7)
    again = ["--valid-subset", "test@noise=0", "--results-path", tmp_path / "again", "--batch-size", 1]
    other = start("fairseq-validate", *validate, *again)
    refused = start("fairseq-validate", *validate, "--batch-size", 8, "--valid-subset", "test", "--word-drop", 0.1)
    log = finish()
    other()
    assert "error: --word-drop is for training; fairseq-validate takes --stress" in refused(fails=True)
    names = ["test", "test@noise=20", "test@noise=0", "test@without=video"]
    assert re.findall(r"\| (test\S*) \| \{", log) == names
    found = {name: results(tmp_path / "run" / name) for name in names}
    assert [found[name].get("stress") for name in names] == [None, "noise=20", "noise=0", "without=video"]
    for one, two in zip(*(predictions(tmp_path / place / "test@noise=0") for place in ("run", "again")), strict=True):
        assert two["scores"] == pytest.approx(one["scores"], abs=1e-5)  # in any batch
    clean = predictions(tmp_path / "run" / "test")
    assert any(
        one["scores"] != two["scores"] for one, two in zip(clean, predictions(tmp_path / "run" / "test@noise=0"))
    )
    assert all("video" not in row["modalities"] for row in predictions(tmp_path / "run" / "test@without=video"))
    assert main(["report", str(tmp_path / "run"), str(tmp_path / "report"), "--resamples", "0"]) == 0
    assert "Under stress: test" in capsys.readouterr().out
    with (tmp_path / "report" / "stress.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["metric"] in ("wa", "ua"):
                value = found[f"test@{row['stress']}"]["metrics"][row["metric"]]
                assert float(row["value"]) == pytest.approx(value, abs=1e-6)
                assert float(row["difference"]) == pytest.approx(
                    value - found["test"]["metrics"][row["metric"]], abs=2e-6
                )

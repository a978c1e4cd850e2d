"""Every kind of target by the real commands: it is learnt; log, TensorBoard, results and report tell its figures."""

import re

import pytest
from commands import TASK, TRAIN, metrics, predictions, results, run, scalars, start
from databin_factory import EVERY_KIND, write_data_bin

from mm_fairseq.cli import main
from mm_fairseq.metrics import names

SMALL = ["--arch", "ssl_fusion", "--modalities", "audio,text", "--encoder-layers", 1, "--encoder-layers-cross", 1]
SMALL += ["--embed-dim", 16, "--encoder-ffn-embed-dim", 32, "--no-epoch-checkpoints", "--no-last-checkpoints"]
SMALL += ["--dropout", 0, "--attention-dropout", 0, "--pooler-dropout", 0, "--batch-size", 8, "--lr", 0.005]
OPTIONS = {
    "emotion": ["--soft-labels", "--best-checkpoint-metric", "ua", "--maximize-best-checkpoint-metric"],
    "each": ["--class-weights", "balanced"],
    "events": ["--focal-gamma", 1, "--best-checkpoint-metric", "map", "--maximize-best-checkpoint-metric"],
    "sentiment": ["--regression-loss", "mse", "--best-checkpoint-metric", "mae"],
}
LEARNT = {
    "emotion": {"wa": 1, "ua": 1, "wf1": 1, "mf1": 1, "map": 1, "auc": 1},
    "each": {"wa": 1, "ua": 1, "map": 1, "acc_neu": 1, "f1_hap": 1},
    "events": {"subset_acc": 1, "wf1": 1, "mf1": 1, "map": 1, "auc": 1, "acc_speech": 1, "f1_noise": 1},
    "sentiment": {"corr": 1, "mae": 0, "acc2_non0": 1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data_bin(tmp_path_factory.mktemp("kinds") / "data-bin", frame_size=16, every_kind=True)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """For each target: the log of a training on it alone, and its folder."""
    out = {}
    for pair in (EVERY_KIND[:2], EVERY_KIND[2:]):
        jobs = {}
        for name in (target.name for target in pair):
            folder = tmp_path_factory.mktemp(name)
            options = ["--targets", name, *OPTIONS[name], "--max-epoch", 22, "--save-dir", folder]
            options += ["--tensorboard-logdir", folder / "tensorboard"]
            jobs[name] = start("fairseq-train", data, *TRAIN, *SMALL, *options), folder
        for name, (finish, folder) in jobs.items():
            log = finish()
            path = folder / "checkpoint_best.pt"
            validate = [data, *TASK, "--path", path, "--valid-subset", "train,test", "--batch-size", 7]
            finish = start("fairseq-validate", *validate, "--tensorboard-logdir", folder / "final")
            out[name] = log, folder, finish
    return {name: (log, folder, finish()) for name, (log, folder, finish) in out.items()}


@pytest.mark.parametrize("target", EVERY_KIND, ids=lambda target: target.kind)
def test_a_kind_is_learnt_and_its_figures_are_everywhere(trained, target, tmp_path, capsys):
    log, folder, _ = trained[target.name]
    found = results(folder / "train")["metrics"]
    for name, value in LEARNT[target.name].items():
        assert found[name] == pytest.approx(value, abs=0.2 if name == "mae" else 0.02), name
    expected = set(names(target.kind, target.classes))
    assert set(found) == expected
    assert expected <= set(metrics(log, "valid"))
    board = scalars(folder / "tensorboard")
    assert expected <= {tag for place, tag in board if place == "valid"}
    counted = {"single": "ua", "binary_each": "ua", "multilabel": "mf1", "regression": "mae"}[target.kind]
    assert ("train", counted) in board
    # The final test run alike, at the update of its checkpoint.
    test = results(folder / "test")
    final = {tag: steps for (place, tag), steps in scalars(folder / "final").items() if place == "test"}
    for name in expected:
        (step, value), *more = final[name].items()
        assert (step, more) == (test["updates"], [])
        assert value == pytest.approx(test["metrics"][name], abs=1e-6)
    assert main(["report", str(folder / "test"), str(tmp_path / "report")]) == 0
    line = dict(re.findall(r"(\w+)=(-?\d\.\d+)", capsys.readouterr().out.splitlines()[-1]))
    assert line
    for name, value in line.items():
        assert float(value) == pytest.approx(test["metrics"][name], abs=5e-4), name
    page = (tmp_path / "report" / "index.html").read_text()
    assert all(name in page for name in line)


@pytest.fixture(scope="module")
def together(data, tmp_path_factory):
    """One model for all targets at once, trained on two processes."""
    folder = tmp_path_factory.mktemp("together")
    options = ["--max-epoch", 2, "--save-dir", folder, "--target-weights", "events=0.1", "--modality-dropout", 0.3]
    return folder, run("fairseq-train", data, *TRAIN, *SMALL, *options, processes=2)


WAYS = {
    "1": (["--batch-size", 1], 1),
    "7": (["--batch-size", 7], 1),
    "64": (["--batch-size", 64], 1),
    "tokens": (["--batch-size", 64, "--max-tokens", 90], 1),
    "ranks": (["--batch-size", 3], 2),  # 3 batches of 8 utterances: one rank gets an empty one
}


def test_figures_do_not_depend_on_how_the_split_is_cut(data, together, tmp_path):
    folder, log = together
    validate = [data, *TASK, "--path", folder / "checkpoint_best.pt", "--valid-subset", "valid,test"]
    found = {}
    for names_of in (("1", "7"), ("64", "tokens"), ("ranks",)):
        jobs = {}
        for name in names_of:
            options, processes = WAYS[name]
            place = ["--results-path", tmp_path / name]
            jobs[name] = start("fairseq-validate", *validate, *options, *place, processes=processes)
        for finish in jobs.values():
            finish()
    for subset in ("valid", "test"):
        found = {name: results(tmp_path / name / subset) for name in WAYS}
        lines = {name: predictions(tmp_path / name / subset) for name in WAYS}
        expected = found["1"]
        assert expected["utterances"] == 8
        assert len(lines["1"]) == 8 * len(EVERY_KIND)
        assert "exact_match" in expected["metrics"]
        for name in WAYS:
            assert found[name]["metrics"] == pytest.approx(expected["metrics"], abs=1e-6, nan_ok=True), name
            assert {**found[name], "metrics": None} == {**expected, "metrics": None}
            for one, other in zip(lines["1"], lines[name], strict=True):
                assert other["scores"] == pytest.approx(one["scores"], abs=1e-6)
                assert other["prediction"] == pytest.approx(one["prediction"], abs=1e-6)
                assert {**other, "scores": 0, "prediction": 0} == {**one, "scores": 0, "prediction": 0}
    # What two processes logged while they trained is what one says of their checkpoint.
    best = results(tmp_path / "1" / "valid")["metrics"]
    logged = [metrics(line, "valid") for line in log.splitlines() if "| valid |" in line]
    chosen = min(logged, key=lambda values: values["loss"])
    for name, value in best.items():
        if value is not None:
            assert chosen[name] == pytest.approx(value, abs=1e-5), name


def test_results_say_where_they_come_from(trained):
    about = results(trained["emotion"][1] / "test")
    assert (about["protocol"], about["fold"], about["seed"], about["arch"]) == ("official", "1", 1, "ssl_fusion")
    assert about["command"][0].endswith("fairseq-train")
    assert "--soft-labels" in about["command"]
    assert {"torch", "mm-fairseq", "python"} <= set(about["versions"])
    assert len(about["data"]) == 64
    assert about["modalities"] == ["audio", "text"]
    line = predictions(trained["emotion"][1] / "test")[0]
    assert line["attributes"] == {"style": "scripted"}
    assert line["text"] == "Sentence 2!"
    assert line["transcript_in_train"] is True
    assert 0.1 < line["seconds"] < 0.5


def test_weights_and_biases_gets_the_figures_offline(data, trained, tmp_path, monkeypatch):
    """Of validation while training and of the final test; the files of W&B hold names as plain bytes."""
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    path = trained["sentiment"][1] / "checkpoint_best.pt"
    validate = [data, *TASK, "--path", path, "--valid-subset", "test", "--batch-size", 7, "--wandb-project", "kinds"]
    train = [data, *TRAIN, *SMALL, "--targets", "sentiment", "--max-epoch", 1, "--save-dir", tmp_path / "run"]
    jobs = [
        start("fairseq-validate", *validate, "--results-path", tmp_path / "results"),
        start("fairseq-train", *train, "--wandb-project", "kinds"),
    ]
    for finish in jobs:
        finish()
    logged = b"".join(file.read_bytes() for file in (tmp_path / "wandb").rglob("run-*.wandb"))
    for name in names("regression"):
        assert f"test/{name}".encode() in logged
        assert f"valid/{name}".encode() in logged
    assert b"train/mae" in logged

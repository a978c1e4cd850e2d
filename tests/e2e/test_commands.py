"""The real fairseq commands on a small data-bin: train, resume, validate, processes, the original's flags, hydra."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from commands import TASK, TRAIN, USER_DIR, metrics, predictions, run, start
from databin_factory import write_data_bin

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ["--arch", "ssl_fusion", "--modalities", "audio,text", "--encoder-layers", 1, "--encoder-layers-cross", 1]
SMALL += ["--embed-dim", 16, "--encoder-ffn-embed-dim", 32, "--no-epoch-checkpoints"]


def weights(path):
    return torch.load(path, weights_only=True)["model"]


def assert_equal_weights(first, second, tolerance=0.0):
    first, second = weights(first), weights(second)
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=tolerance, rtol=tolerance, msg=name)


def assert_equal_predictions(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert {**other, "scores": None} == {**one, "scores": None}
        assert other["scores"] == pytest.approx(one["scores"], abs=1e-5)


# One trimodal model on pretrained backbones


@pytest.fixture(scope="module")
def trimodal(roberta_data_bin, checkpoints, tmp_path_factory):
    """Train for two epochs, validate, then take every file away that only the start of a training needs."""
    folder = tmp_path_factory.mktemp("trimodal")
    data = shutil.copytree(roberta_data_bin, folder / "data-bin")
    pretrained = shutil.copytree(checkpoints, folder / "pretrained")
    train = [data, *TRAIN, "--arch", "ssl_fusion", "--encoder-layers", 1, "--encoder-layers-cross", 1]
    train += ["--audio-backbone", f"wav2vec:{pretrained}/wav2vec/wav2vec.pt", "--text-backbone"]
    train += [f"roberta:{pretrained}/roberta", "--video-backbone", f"fabnet:{pretrained}/fabnet/fabnet.pt"]
    train += ["--batch-size", 8, "--save-dir", folder / "run", "--no-epoch-checkpoints"]
    log = run("fairseq-train", *train, "--max-epoch", 2, "--tensorboard-logdir", folder / "tensorboard")
    path = folder / "run" / "checkpoint_best.pt"
    validate = [data, *TASK, "--path", path, "--valid-subset", "test", "--log-format", "json"]
    first = run("fairseq-validate", *validate, "--batch-size", 7, "--results-path", folder / "first")
    shutil.rmtree(pretrained)
    for name in ("targets.json", "dict.txt"):
        (data / name).unlink()
    return {"folder": folder, "train": train, "log": log, "path": path, "validate": validate, "first": first}


def test_training_learns_and_logs(trimodal):
    valid = metrics(trimodal["log"], "valid")
    assert {"loss", "wa", "ua", "wf1", "mf1", "num_updates"} <= set(valid)
    assert valid["num_updates"] == 6
    assert valid["loss"] < 1.3  # that of guessing is ln 4 = 1.386
    assert "confusion" not in trimodal["log"]
    assert list((trimodal["folder"] / "tensorboard").rglob("events.out.tfevents.*"))


def test_checkpoint_holds_plain_types_only(trimodal):
    """Asked of a process that knows neither this package nor fairseq."""
    code = "import sys, torch; print(torch.serialization.get_unsafe_globals_in_checkpoint(sys.argv[1]))"
    asked = subprocess.run([sys.executable, "-c", code, trimodal["path"]], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "[]"


def test_checkpoint_explains_itself(trimodal):
    state = torch.load(trimodal["path"], weights_only=True)
    entries = state["cfg"]["model"]["backbone_args"]
    assert {name: (entry["name"], entry["frozen"]) for name, entry in entries.items()} == {
        "audio": ("wav2vec", True),
        "text": ("roberta", True),
        "video": ("fabnet", True),
    }
    assert state["task_state"]["targets"][0]["classes"] == ["neu", "sad", "ang", "hap"]
    assert len(state["task_state"]["dictionary"]) > 200


def test_validation_needs_no_other_file_and_no_batch_size(trimodal):
    expected = metrics(trimodal["first"], "test")
    rows = predictions(trimodal["folder"] / "first" / "test")
    assert [row["id"] for row in rows] == [f"utt{index:03d}" for index in range(2, 24, 3)]
    assert expected["wa"] == pytest.approx(sum(row["target"] == row["prediction"] for row in rows) / len(rows))
    ways = {
        "tokens": (["--batch-size", 2, "--max-tokens", 45], 1),  # one or two utterances
        "ranks": (["--batch-size", 3], 2),  # three batches: the second rank gets an empty one
    }
    jobs = {}
    for name, (size, processes) in ways.items():
        results = ["--results-path", trimodal["folder"] / name]
        jobs[name] = start("fairseq-validate", *trimodal["validate"], *size, *results, processes=processes)
    for name, finish in jobs.items():
        found = metrics(finish(), "test")
        assert {key: found[key] for key in expected} == pytest.approx(expected, abs=1e-4), name  # loss has 4 digits
        for key in ("wa", "ua", "wf1", "mf1"):
            assert found[key] == pytest.approx(expected[key], abs=1e-6), name
        assert_equal_predictions(rows, predictions(trimodal["folder"] / name / "test"))


def test_training_is_resumed_without_the_files(trimodal):
    log = run("fairseq-train", *trimodal["train"], "--max-epoch", 3)
    assert metrics(log, "valid")["num_updates"] == 9
    assert "Loaded checkpoint" in log


# Training is exact


@pytest.fixture(scope="module")
def train_small(data_bin):
    """A function that begins to train a small model into a folder; what it returns waits and gives the log."""

    def begin(folder, *args, processes=1):
        return start("fairseq-train", data_bin, *TRAIN, *SMALL, "--save-dir", folder, *args, processes=processes)

    return begin


def test_resumed_training_equals_uninterrupted(train_small, tmp_path):
    options = ["--batch-size", 5, "--lr-scheduler", "polynomial_decay", "--total-num-update", 40, "--warmup-updates", 3]
    whole = train_small(tmp_path / "whole", *options, "--max-epoch", 3)
    train_small(tmp_path / "parts", *options, "--max-update", 7)()  # in the middle of the second epoch of five updates
    log = train_small(tmp_path / "parts", *options, "--max-epoch", 3)()
    assert metrics(log, "valid")["num_updates"] == metrics(whole(), "valid")["num_updates"] == 15
    assert_equal_weights(tmp_path / "whole" / "checkpoint_last.pt", tmp_path / "parts" / "checkpoint_last.pt")


def test_two_processes_equal_one_with_twice_the_batches(train_small, tmp_path):
    """Without dropout, whose random numbers are the same on every rank in fairseq."""
    options = ["--batch-size", 4, "--max-epoch", 2, "--dropout", 0, "--attention-dropout", 0, "--pooler-dropout", 0]
    one = train_small(tmp_path / "one", *options, "--update-freq", 2)
    two = train_small(tmp_path / "two", *options, processes=2)
    expected, log = metrics(one(), "valid"), two()
    found = metrics(log, "valid")
    assert "distributed init (rank 1)" in log
    for key in ("loss", "wa", "ua", "wf1", "mf1", "num_updates"):
        assert found[key] == pytest.approx(expected[key], abs=1e-4), key
    assert_equal_weights(tmp_path / "one" / "checkpoint_last.pt", tmp_path / "two" / "checkpoint_last.pt", 1e-6)


# The original's command lines


ORIGINAL = """--restore-file None --task emotion_prediction --reset-optimizer --reset-dataloader --reset-meters
--init-token 0 --separator-token 2 --arch semiemo --criterion emotion_prediction_cri --num-classes 8 --dropout 0.1
--attention-dropout 0.1 --weight-decay 0.1 --optimizer adam --adam-betas "(0.9, 0.98)" --adam-eps 1e-06 --clip-norm 0.0
--lr-scheduler polynomial_decay --lr 1e-05 --total-num-update 2760 --warmup-updates 165 --max-epoch 1
--best-checkpoint-metric loss --encoder-attention-heads 2 --batch-size 1 --encoder-layers-cross 1
--no-epoch-checkpoints --update-freq 8 --find-unused-parameters --ddp-backend=no_c10d --binary-target-iemocap
--a-only --t-only --pooler-dropout 0.1 --log-interval 1 --data-raw /elsewhere/iemocap_data/"""
FROZEN = {
    "robertEMO_large": ["--all-in", "--max-positions-a", 936, "--max-positions-t", 512, "--max-positions-v", 301],
    "robertaEMO_base": ["--a-only", "--eval-matric", "--max-sample-size", 150000],
}


def arguments(line):
    return [part.replace('"', "") for part in line.replace("(0.9, 0.98)", "(0.9,0.98)").split()]


def test_the_originals_commands_run(tmp_path):
    data = write_data_bin(tmp_path / "data-bin", per_class=3)
    common = ["--user-dir", USER_DIR, "--log-format", "json"]
    original = [*common, *arguments(ORIGINAL), "--save-dir", tmp_path / "semiemo"]
    jobs = {"semiemo": start("fairseq-train", data, *original)}
    for arch, options in FROZEN.items():
        options = [
            *options,
            "--arch",
            arch,
            "--softmax-target-meld",
            "--num-classes",
            4,
            "--init-token",
            0,
            "--separator-token",
            2,
        ]
        options += ["--batch-size", 12, "--max-epoch", 1, "--no-epoch-checkpoints", "--save-dir", tmp_path / arch]
        jobs[arch] = start("fairseq-train", data, *TRAIN, *options)
    logs = {arch: finish() for arch, finish in jobs.items()}
    assert "acc_neu" in metrics(logs["semiemo"], "valid")
    assert metrics(logs["semiemo"], "valid")["num_updates"] == 2
    assert "--data-raw /elsewhere/iemocap_data/" in logs["semiemo"]
    assert "--encoder-layers-cross 1" in logs["semiemo"]  # shallow fusion has none: said, not swallowed
    assert "--eval-matric" in logs["robertaEMO_base"]
    for arch, targets in (("semiemo", "binary_each"), ("robertEMO_large", "single"), ("robertaEMO_base", "single")):
        state = torch.load(tmp_path / arch / "checkpoint_last.pt", weights_only=True)
        assert state["task_state"]["targets"][0]["kind"] == targets
        assert state["cfg"]["model"]["_name"] == arch
    assert state["task_state"]["modalities"] == ["audio"]


# Hydra


def test_hydra(roberta_data_bin, checkpoints, tmp_path):
    overrides = {
        "common.user_dir": USER_DIR,
        "common.log_format": "json",
        "task.data": roberta_data_bin,
        "task.protocol": "official",
        "checkpoint.save_dir": tmp_path / "run",
        "model.audio_backbone": f"wav2vec:{checkpoints}/wav2vec/wav2vec_args.pt",
        "model.text_backbone": f"roberta:{checkpoints}/roberta_args",
        "model.video_backbone": f"fabnet:{checkpoints}/fabnet/fabnet_train.pt",
        "optimization.max_epoch": 1,
        "dataset.batch_size": 6,
        "dataset.num_workers": 1,
        "hydra.run.dir": tmp_path / "hydra",
    }
    config = ["--config-dir", EXAMPLES / "iemocap" / "config", "--config-name", "ssl_fusion"]
    run("fairseq-hydra-train", *config, *(f"{key}={value}" for key, value in overrides.items()))
    state = torch.load(tmp_path / "run" / "checkpoint_last.pt", weights_only=True)
    assert state["cfg"]["model"]["backbone_args"]["video"]["name"] == "fabnet"
    assert state["optimizer_history"][-1]["num_updates"] == 2  # 24 utterances, four batches, two an update

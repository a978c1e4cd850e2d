"""crossmodal_mult in the real commands, with the original's flags."""

import pytest
import torch
from commands import TASK, TRAIN, metrics, predictions, run, start

MULT = ["--arch", "crossmodal_mult", "--d-model", 16, "--num-heads", 4, "--layers", 2, "--no-epoch-checkpoints"]
ORIGINAL = """--attn-dropout 0.2 --attn-dropout-a 0 --attn-dropout-v 0 --relu-dropout 0.1 --embed-dropout 0.2
--res-dropout 0.1 --out-dropout 0.1 --merge-how average --max-len-for-text 64 --max-len-for-audio 400
--resample-rate 8000 --n-fft-size 400 --n-mfcc 40 --clip-norm 0.8"""


@pytest.fixture(scope="module")
def trained(data_bin, tmp_path_factory):
    """Audio and text, six epochs, and scores of test."""
    folder = tmp_path_factory.mktemp("mult")
    train = [data_bin, *TRAIN, *MULT, *ORIGINAL.split(), "--modalities", "audio,text", "--batch-size", 6]
    log = run("fairseq-train", *train, "--max-epoch", 6, "--save-dir", folder)
    path = folder / "checkpoint_last.pt"
    validate = [data_bin, *TASK, "--path", path, "--valid-subset", "test", "--log-format", "json"]
    first = run("fairseq-validate", *validate, "--batch-size", 8, "--results-path", folder / "first")
    return {"folder": folder, "log": log, "path": path, "validate": validate, "test": metrics(first, "test")}


def test_it_learns(trained):
    valid = metrics(trained["log"], "valid")
    assert valid["num_updates"] == 24
    assert valid["loss"] < 0.9  # that of guessing is ln 4 = 1.386
    assert trained["test"]["wa"] >= 0.75


def test_options_of_mfcc_are_in_the_checkpoint(trained):
    state = torch.load(trained["path"], weights_only=True)
    args = state["cfg"]["model"]["backbone_args"]["audio"]["args"]
    assert args == {"n_mfcc": 40, "n_fft": 400, "hop": 200, "n_mels": 64, "rate": 8000}
    assert state["model"]["fusion.projections.audio.weight"].shape == (16, 40, 3)


def test_scores_depend_on_no_batch_and_a_withheld_modality_is_missing(trained):
    ways = {"small": ["--batch-size", 3], "text": ["--batch-size", 8, "--modalities", "text"]}
    jobs = {
        name: start("fairseq-validate", *trained["validate"], *options, "--results-path", trained["folder"] / name)
        for name, options in ways.items()
    }
    found = {name: metrics(finish(), "test") for name, finish in jobs.items()}
    rows = {name: predictions(trained["folder"] / name / "test") for name in ("first", *ways)}
    for one, other, text in zip(rows["first"], rows["small"], rows["text"], strict=True):
        assert other["scores"] == pytest.approx(one["scores"], abs=1e-5)
        assert text["scores"] != pytest.approx(one["scores"], abs=1e-3)
    assert found["small"]["wa"] == trained["test"]["wa"]


def test_audio_alone_and_three_modalities_run_and_wrong_options_are_told(data_bin, tmp_path):
    train = [data_bin, *TRAIN, *MULT, "--batch-size", 12, "--max-epoch", 1]
    runs = {
        "audio": ["--do-audio", "--modalities", "audio", "--num-heads", 8],
        "all": ["--all-in", "--conv-kernel", 1, "--attn-mask", "--merge-how", "attentive"],
    }
    wrong = {
        "--do-audio: of audio alone, the training has audio, text, video; add --modalities audio": ["--do-audio"],
        "--n-mfcc 13: for --audio-backbone mfcc, not 'logmel'": ["--n-mfcc", 13, "--audio-backbone", "logmel"],
    }
    good = {
        name: start("fairseq-train", *train, *options, "--save-dir", tmp_path / name) for name, options in runs.items()
    }
    bad = {
        words: start("fairseq-train", *train, *options, "--save-dir", tmp_path / "bad")
        for words, options in wrong.items()
    }
    for name, finish in good.items():
        assert metrics(finish(), "valid")["num_updates"] == 2, name
    for words, finish in bad.items():
        log = finish(fails=True)
        assert words in log
        assert "Traceback" not in log

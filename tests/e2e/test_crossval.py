"""Cross-validation and subsets of modalities through the real commands, killed in the middle and taken up again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import metrics, predictions
from databin_factory import write_data_bin
from halted import environment

from mm_fairseq.toy import iemocap

SMALL = ["--arch", "ssl_fusion", "--modalities", "audio,text", "--encoder-layers", 1, "--encoder-layers-cross", 1]
SMALL += ["--embed-dim", 16, "--encoder-ffn-embed-dim", 32, "--optimizer", "adam", "--lr", 0.002, "--num-workers", 0]
ADDED_UP = ("summary.json", "summary.csv", "summary.md")


def begin(*command, around=os.environ):
    """Start `mm-fairseq`."""
    argv = [Path(sys.executable).parent / "mm-fairseq", *map(str, command)]
    around = {**around, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(argv, env=around, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def killed(condition, *command, around=os.environ):
    """Start `mm-fairseq` and kill it outright, as a machine that fails does, as soon as `condition()` holds."""
    process = begin(*command, around=around)
    limit = time.monotonic() + 1000  # on a busy machine
    try:
        while not condition():
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def finished(process):
    """Wait for a command; returns its output."""
    output = process.communicate(timeout=1000)[0]
    assert process.returncode == 0, output[-4000:]
    return output


def files(out, seeds):
    """What adds up all folds, as bytes."""
    names = [f"pooled/seed_{seed}/{name}" for seed in seeds for name in ("predictions.jsonl", "results.json")]
    return {name: (out / name).read_bytes() for name in (*ADDED_UP, *names)}


def test_killed_cross_validation_and_subsets(tmp_path):
    data = write_data_bin(tmp_path / "data-bin", per_class=3, frame_size=8, folds=2)
    command = ["crossval", data, "--seeds", 3, "--metric", "wa", "--resamples", 50, "--out"]
    further = ["--", *SMALL, "--batch-size", 6, "--max-epoch", 25, "--log-format", "json"]
    out, whole = tmp_path / "out", tmp_path / "whole"
    first, second = (Path("official") / f"fold_{fold}" / "seed_3" for fold in "12")
    around, halted = environment(tmp_path / "halted", f"{out / second}/checkpoint_last.pt", 2)
    killed(halted.is_file, *command, out, *further, around=around)
    assert (out / first / "test" / "predictions.jsonl").is_file()
    assert "done training" not in (out / second / "train.log").read_text()
    begun = {path: path.stat().st_mtime_ns for path in (out / first).rglob("*.*")}

    shutil.copytree(out, whole)
    shutil.rmtree(whole / second)
    subsets = ["validate-subsets", data, "--path", out / first / "checkpoint_best.pt", "--out", tmp_path / "subsets"]
    began = [begin(*words) for words in ([*command, out, *further], [*command, whole, *further], subsets)]
    resumed, *_ = (finished(process) for process in began)
    assert {path: path.stat().st_mtime_ns for path in begun} == begun  # the finished fold was left alone
    log = (out / second / "train.log").read_text()
    assert "Loaded checkpoint" in log
    assert (log.count("| begin training epoch 1\n"), log.count("done training")) == (1, 1)
    assert files(out, [3]) == files(whole, [3])
    assert "mean over folds (n = 2)" in resumed
    assert "fold 2 seed 3: wa=" in resumed
    assert "fold 1 seed 3" not in resumed
    for fold in (first, second):
        logged = metrics((out / fold / "test.log").read_text(), "test")
        rows = predictions(out / fold / "test")
        assert logged["wa"] == pytest.approx(sum(row["target"] == row["prediction"] for row in rows) / len(rows))

    assert predictions(tmp_path / "subsets" / "audio+text" / "test") == predictions(out / first / "test")
    scores = {name: predictions(tmp_path / "subsets" / name / "test") for name in ("audio", "text", "audio+text")}
    assert {tuple(row["modalities"]) for row in scores["text"]} == {("text",)}
    assert len({str([row["scores"] for row in rows]) for rows in scores.values()}) == 3


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_toy_iemocap_five_folds_two_seeds(tmp_path):
    """The whole of it: killed once in the middle and rerun, it equals the uninterrupted one."""
    iemocap.write(tmp_path / "raw", utterances=340, seed=1)
    script = Path(__file__).parents[2] / "data-bin-scripts" / "iemocap.sh"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    binarize = ["bash", script, tmp_path / "raw", tmp_path, "--accept-counts", "--modalities", "audio,text"]
    subprocess.run(binarize, check=True, env=environment, capture_output=True)
    command = ["crossval", tmp_path / "data-bin", "--protocol", "leave_one_session_out", "--seeds", "1,2", "--jobs", 2]
    further = ["--", *SMALL, "--batch-size", 16, "--max-epoch", 4]
    further += ["--best-checkpoint-metric", "ua", "--maximize-best-checkpoint-metric"]
    whole, out = tmp_path / "whole", tmp_path / "out"
    finished(begin(*command, "--out", whole, *further))

    killed(lambda: len(list(out.rglob("checkpoint_last.pt"))) >= 5, *command, "--out", out, *further)
    done = {path.parent for path in out.rglob("receipt.json") if "predictions" in path.read_text()}
    begun = {path.parent for path in out.rglob("checkpoint_last.pt")} - done
    assert 3 <= len(done) <= 5
    assert begun
    logs = {path: path.stat().st_mtime_ns for folder in done for path in folder.glob("*.log")}
    output = finished(begin(*command, "--out", out, *further))
    assert {path: path.stat().st_mtime_ns for path in logs} == logs
    assert output.count(" seed 1: ") + output.count(" seed 2: ") == 10 - len(done)
    for folder in begun:
        log = (folder / "train.log").read_text()
        assert log.count("begin training epoch 1\n") == 1
    assert files(out, [1, 2]) == files(whole, [1, 2])

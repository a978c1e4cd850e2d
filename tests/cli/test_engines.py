"""Every engine ends with the bytes of one process: torchrun, a SLURM array (here, by submitit), Ray."""

import hashlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from commands import start
from databin_factory import reshard
from halted import environment

from mm_fairseq.cli import _engines, main
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.extract import Settings as ExtractSettings
from mm_fairseq.preprocessing.extract import extract
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.targets import Target, write_targets

WORDS = ["--modalities", "audio,text", "--tokenizer", "words", "--shard-size", "2"]
SETTINGS = Settings(modalities=("audio", "text"), tokenizer="words", shard_size=2)
BACKBONE = ["--backbone", "audio=mfcc", "--device", "cpu"]


def tree(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    rng, rows = np.random.default_rng(0), []
    for number in range(13):
        name = f"u{number:02d}"
        if number != 5:
            soundfile.write(folder / f"{name}.wav", rng.integers(-3000, 3000, 3000).astype(np.int16), 16000)
        split, label = "train" if number % 3 else "test", {"emotion": "sad" if number % 2 else "glad"}
        rows.append(Utterance(name, split, audio=f"{name}.wav", text=f"word{number % 4} again", labels=label))
    Manifest(folder, ["emotion"], rows).write(folder / "manifest.tsv")
    write_targets(folder / "targets.json", [Target("emotion", "single", ("sad", "glad"))])
    return folder


@pytest.fixture(scope="module")
def binarized(prepared, tmp_path_factory):
    """By one process."""
    folder = tmp_path_factory.mktemp("reference") / "data-bin"
    assert main(["binarize", str(prepared), str(folder), *WORDS, "--workers", "1"]) == 0
    return tree(folder)


@pytest.fixture
def own(data_bin, tmp_path):
    """A data-bin of 24 utterances in 4 shards, to extract from."""
    return reshard(shutil.copytree(data_bin, tmp_path / "own"), 6)


@pytest.fixture(scope="module")
def extracted(data_bin, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "data-bin"
    reshard(shutil.copytree(data_bin, folder), 6)
    assert main(["extract", str(folder), *BACKBONE, "--workers", "1"]) == 0
    return tree(folder)


def test_torchrun(prepared, binarized, tmp_path):
    out = tmp_path / "bin"
    output = start("mm-fairseq", "binarize", prepared, out, *WORDS, processes=2)()
    assert tree(out) == binarized
    assert f"rank 0 of 2: {out}: 4 of 7 shards in" in output
    assert f"rank 1 of 2: {out}: 3 of 7 shards in" in output
    assert output.count("13 utterances: 12 ok, 1 repaired, 0 quarantined") == 1


def test_one_after_the_other(prepared, binarized, tmp_path, capsys):
    out = tmp_path / "bin"
    for rank in (2, 0, 1):
        words = [*WORDS, "--nshard", "3", "--rank", str(rank), "--workers", "1"]
        assert main(["binarize", str(prepared), str(out), *words]) == 0
    assert tree(out) == binarized
    told = capsys.readouterr()
    assert [line.split(" in ")[0] for line in told.out.splitlines() if "shards in" in line] == [
        f"rank {rank} of 3: {out}: {count} of 7 shards" for rank, count in ((2, 2), (0, 3), (1, 2))
    ]
    assert told.err == ""  # no bar off a terminal


@pytest.mark.parametrize("command", ["binarize", "extract"])
def test_jobs_of_submitit(command, prepared, binarized, own, extracted, tmp_path, capsys):
    slurm = ["--slurm", "array=2,cluster=local,time=5"]
    out = own if command == "extract" else tmp_path / "bin"
    words = [str(own), *BACKBONE] if command == "extract" else [str(prepared), str(out), *WORDS]
    assert main([command, *words, *slurm]) == 0
    assert tree(out) == (extracted if command == "extract" else binarized)
    told = capsys.readouterr().out
    expected = ": 24 utterances, " if command == "extract" else "13 utterances: 12 ok, 1 repaired, 0 quarantined"
    assert told.count(expected) == 1
    assert "rank" not in told
    logs = [path.read_text() for path in sorted((out.parent / f"{out.name}.jobs").glob("*.out"))]
    assert len(logs) == 2
    assert {f"rank {rank} of 2: " in log for rank, log in enumerate(logs)} == {True}


def test_an_interrupted_array_is_cancelled_and_taken_up(prepared, binarized, tmp_path):
    """In the midst of its job."""
    out = tmp_path / "bin"
    around, halted = environment(tmp_path / "halted", "*/bin/audio/shard-*.bin", 2)
    words = ["binarize", str(prepared), str(out), *WORDS]
    command = [sys.executable, "-m", "mm_fairseq", *words, "--slurm", "array=1,cluster=local"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": around}
    run = subprocess.Popen(command, start_new_session=True, **pipes)
    while run.poll() is None and not halted.is_file():
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=200)[0]
    assert run.returncode == 130, output
    assert "interrupted; what is finished is kept: run again with --resume" in output
    assert not list(tmp_path.glob("bin.jobs/*result.pkl"))
    assert main([*words, "--resume", "--workers", "1"]) == 0
    assert tree(out) == binarized


PATIENT = {  # Ray gives up what is slow, and ends tasks where other programs have filled the memory
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_health_check_failure_threshold": "100",
    "RAY_memory_monitor_refresh_ms": "0",
}


def test_ray(prepared, binarized, own, extracted, tmp_path, monkeypatch):
    """One small cluster on this machine for both commands."""
    pytest.importorskip("ray")
    for name, value in PATIENT.items():
        monkeypatch.setenv(name, value)
    out = tmp_path / "bin"
    parser = _engines.argparse.ArgumentParser()
    _engines.add_arguments(parser)
    args = parser.parse_args(["--ray", "--nshard", "2"], _engines.argparse.Namespace(workers=None))
    on_term = signal.getsignal(signal.SIGTERM)
    assert _engines.share_of(args).ranks == 1
    with _engines.engine_of(args) as engine:
        told = binarize(prepared, out, SETTINGS, engine.cpus, engine=engine)
        assert tree(out) == binarized
        assert told[0] == "13 utterances: 12 ok, 1 repaired, 0 quarantined"
        told = extract(own, ["audio=mfcc"], ExtractSettings(device="cpu", usual_frames={"audio": 936}), engine)
        assert tree(own) == extracted
        assert ": 24 utterances, " in told[0]
        engine.start(lambda share: share.nothing, [_engines.Share(2, 0)], tmp_path)
        (outcome,) = wait(engine)
    assert outcome[0] == 0
    assert "AttributeError: 'Share' object has no attribute 'nothing'" in outcome.error
    assert signal.getsignal(signal.SIGTERM) == on_term


def wait(engine):
    while not (found := list(engine.ended())):
        time.sleep(0.05)
    return found


def test_without_ray_the_extra_is_named(prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["binarize", str(prepared), str(tmp_path / "bin"), "--ray"]) == 2
    assert "pip install 'mm-fairseq[ray]'" in capsys.readouterr().err
    assert not (tmp_path / "bin").exists()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:PORT", "--ray 127.0.0.1:PORT: nothing answers there (Connection refused)"),
        ("ray://127.0.0.1:PORT", "--ray ray://127.0.0.1:PORT: nothing answers there"),
        ("no.such.host.invalid:6379", "nothing answers there"),
        ("127.0.0.1:99999999", "nothing answers there"),
        ("gpu-node", "--ray gpu-node: expected HOST:PORT"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_told_in_seconds(address, reason, prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", object())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and nobody listens
        port = str(free.getsockname()[1])
        began = time.monotonic()
        address = address.replace("PORT", port)
        assert main(["binarize", str(prepared), str(tmp_path / "bin"), "--ray", address]) == 2
    assert time.monotonic() - began < 200
    assert reason.replace(":PORT", f":{port}").replace("HOST:" + port, "HOST:PORT") in capsys.readouterr().err
    assert not (tmp_path / "bin").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--slurm", "array=2", "--ray"], "--slurm and --ray: one or the other"),
        (["--ray", "--rank", "0"], "--ray and --rank: one or the other"),
        (["--slurm", "array=2,cluster=local", "--nshard", "3"], "the number of jobs is --slurm array=N"),
        (["--slurm", "array=2,cluster=local", "--workers", "0"], "--workers 0: at least 1"),
        (["--nshard", "3"], "give both or neither"),
    ],
)
def test_options_that_do_not_go_together(words, reason, prepared, tmp_path, capsys):
    for command in (["binarize", str(prepared), str(tmp_path / "bin")], ["extract", str(tmp_path), *BACKBONE]):
        assert main([*command, *words]) == 2
        assert reason in capsys.readouterr().err
    assert not (tmp_path / "bin").exists()

"""The command: options arrive, real processes share the work and may be killed, errors are one line."""

import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from commands import start
from databin_factory import reshard
from halted import environment

from mm_fairseq.cli import main
from mm_fairseq.databin import cached_streams


@pytest.fixture
def own(roberta_data_bin, tmp_path):
    return reshard(shutil.copytree(roberta_data_bin, tmp_path / "data-bin"), 4)


@pytest.fixture(scope="module")
def backbones(checkpoints):
    specs = (
        f"audio=wav2vec:{checkpoints}/wav2vec/wav2vec.pt",
        f"text=roberta:{checkpoints}/roberta",
        f"video=fabnet:{checkpoints}/fabnet/fabnet.pt",
    )
    return [word for spec in specs for word in ("--backbone", spec)]


def content(folder):
    """Of the cached streams."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*@*/*") if path.is_file()}


def test_options_and_summary(own, backbones, capsys):
    command = ["extract", str(own), *backbones, "--device", "cpu", "--workers", "1", "--dtype", "float32"]
    assert main([*command, "--max-positions-a", "9", "--max-positions-t", "4"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "@" in line]
    streams = [cached_streams(own, name)[0] for name in ("audio", "text", "video")]
    assert [line.split(": ")[0] for line in lines] == [stream.name for stream in streams]
    readers = [stream.open(own, 24) for stream in streams]
    assert [(reader.dtype, reader.lengths.max()) for reader in readers] == [
        (np.float32, 9),
        (np.float32, 4),
        (np.float32, 3),
    ]
    assert [stream.longest for stream in streams][1:] == [4, 301]
    assert main([*command, "--max-positions-a", "9", "--max-positions-t", "4"]) == 2
    error = capsys.readouterr().err
    assert "--resume" in error
    assert error.count("\n") == 1


def test_limits_are_those_of_training(own, capsys):
    assert main(["extract", str(own), "--backbone", "audio=mfcc", "--device", "cpu"]) == 0
    assert cached_streams(own, "audio")[0].longest == 400 + 935 * 160


def test_unsafe_files_need_the_word(own, checkpoints, tmp_path, capsys):
    state = torch.load(checkpoints / "fabnet" / "fabnet.pt", weights_only=True)
    state["extra"] = subprocess.CompletedProcess("words", 0)
    torch.save(state, tmp_path / "fabnet.pt")
    command = ["extract", str(own), "--backbone", f"video=fabnet:{tmp_path}/fabnet.pt", "--device", "cpu"]
    assert main(command) == 2
    assert "--allow-unsafe-checkpoints" in capsys.readouterr().err
    assert not cached_streams(own, "video")
    assert main([*command, "--allow-unsafe-checkpoints"]) == 0
    assert cached_streams(own, "video")
    assert "may run code of their authors" in capsys.readouterr().err


@pytest.fixture(scope="module")
def reference(roberta_data_bin, backbones, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "data-bin"
    reshard(shutil.copytree(roberta_data_bin, folder), 4)
    assert main(["extract", str(folder), *backbones, "--workers", "1", "--device", "cpu"]) == 0
    return content(folder)


def test_torchrun_shares_the_work(own, backbones, reference):
    output = start("mm-fairseq", "extract", own, *backbones, processes=2)()
    assert content(own) == reference
    for rank in (0, 1):
        assert f"rank {rank} of 2: audio@wav2vec-" in output
    assert "12 utterances, " in output


@pytest.mark.parametrize(
    ("workers", "kills"),
    [
        (1, [(signal.SIGINT, "*/text@*/shard-*.json", 2)]),
        (2, [(signal.SIGKILL, "*/audio@*/shard-*.json", 2), (signal.SIGTERM, "*/video@*/shard-*.bin", 1)]),
    ],
)
def test_killed_in_the_midst_it_goes_on(own, backbones, reference, workers, kills, tmp_path):
    """Each kill comes before so many files of that name are there."""
    words = ["extract", str(own), *backbones, "--workers", str(workers), "--device", "cpu", "--resume"]
    for how, sign, count in kills:
        around, halted = environment(tmp_path / how.name, sign, count)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": around}
        run = subprocess.Popen([sys.executable, "-m", "mm_fairseq", *words], **pipes)
        while run.poll() is None and not halted.is_file():
            time.sleep(0.01)
        run.send_signal(how)
        output = run.communicate(timeout=200)[0]
        assert run.returncode == (130 if how == signal.SIGINT else -how), output
        assert 0 < len(list(own.glob("*@*/shard-*.json"))) < 18
    assert main(words) == 0
    assert content(own) == reference

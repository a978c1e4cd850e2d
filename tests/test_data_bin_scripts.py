import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "data-bin-scripts" / "iemocap.sh"


def run(tmp_path, *words, status=0):
    """The calls of `mm-fairseq` that the script makes, one list of words each; each call ends with `status`."""
    log = tmp_path / "log"
    log.write_text("")
    stub = tmp_path / "bin" / "mm-fairseq"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> "{log}"\necho >> "{log}"\nexit {status}\n')
    stub.chmod(0o755)
    path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(SCRIPT), *words], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    return done, [line.split("|")[:-1] for line in log.read_text().splitlines()]


def test_options_go_to_the_command_that_has_them(tmp_path):
    out = tmp_path / "my out"
    options = ["--classes", "6", "--workers", "2", "--accept-counts", "--text-model", "a b"]
    done, calls = run(tmp_path, "raw folder", str(out), *options)
    assert done.returncode == 0, done.stderr
    assert calls == [
        ["prepare", "iemocap", "raw folder", f"{out}/prepared", "--overwrite", "--classes", "6", "--accept-counts"],
        ["binarize", f"{out}/prepared", f"{out}/data-bin", "--resume", "--workers", "2", "--tokenizer", "gpt2:a b"],
    ]


def test_without_options(tmp_path):
    _, calls = run(tmp_path, "raw", str(tmp_path / "out"))
    assert [len(words) for words in calls] == [5, 4]


def test_it_stops_at_the_first_failure(tmp_path):
    done, calls = run(tmp_path, "raw", str(tmp_path / "out"), status=2)
    assert done.returncode == 2
    assert [words[0] for words in calls] == ["prepare"]


def test_usage(tmp_path):
    done, calls = run(tmp_path, "raw")
    assert done.returncode == 2
    assert calls == []
    assert "iemocap.sh RAW OUT" in done.stderr
    assert "set -euo" not in done.stderr

import argparse
import os
import re
import subprocess
from pathlib import Path

import pytest

from mm_fairseq.corpora import CORPORA

FOLDER = Path(__file__).parents[1] / "data-bin-scripts"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.sh") if path.stem != "common")


def run(tmp_path, *words, status=0, script="iemocap"):
    """The calls of `mm-fairseq` that the script makes, one list of words each; each call ends with `status`."""
    log = tmp_path / "log"
    log.write_text("")
    stub = tmp_path / "bin" / "mm-fairseq"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> "{log}"\necho >> "{log}"\nexit {status}\n')
    stub.chmod(0o755)
    path = f"{stub.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(FOLDER / f"{script}.sh"), *words],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
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


@pytest.mark.parametrize("script", SCRIPTS)
def test_usage(tmp_path, script):
    done, calls = run(tmp_path, "raw", script=script)
    assert done.returncode == 2
    assert calls == []
    assert f"{script}.sh RAW OUT [options of `mm-fairseq prepare {script}`" in done.stderr
    assert "started again" in done.stderr
    assert "common.sh" not in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_option_of_the_corpus_goes_to_prepare(tmp_path, script):
    parser = argparse.ArgumentParser(add_help=False)
    CORPORA.get(script).add_arguments(parser)
    words, joined = [], []
    for action in parser._actions:
        value = [] if action.nargs == 0 else [str(action.default)]
        words += [action.option_strings[0], *value]
        joined.append("=".join([action.option_strings[0], *value]))
    for given in (words, joined):
        done, calls = run(tmp_path, "raw", str(tmp_path / "out"), *given, "--workers", "2", script=script)
        assert done.returncode == 0, done.stderr
        assert calls[0] == ["prepare", script, "raw", f"{tmp_path}/out/prepared", "--overwrite", *given]
        assert calls[1][3:] == ["--resume", "--workers", "2"]


def test_a_value_that_is_wanting(tmp_path):
    done, calls = run(tmp_path, "raw", str(tmp_path / "out"), "--label", script="crema_d")
    assert done.returncode != 0
    assert calls == []
    assert re.search(r"--label needs a value", done.stderr)

"""The recipe hands every option of the corpus to `mm-fairseq prepare`."""

import argparse
import os
import subprocess
from pathlib import Path

from mm_fairseq.corpora import CORPORA

RECIPE = Path(__file__).parents[1] / "examples" / "korean_vat" / "run.sh"


def prepared(tmp_path, *options):
    """The words that `mm-fairseq prepare` is given; the training behind it fails."""
    log, folder = tmp_path / "log", tmp_path / "bin"
    folder.mkdir()
    for name, status in (("mm-fairseq", 0), ("fairseq-train", 7)):
        stub = folder / name
        stub.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> "{log}"\necho >> "{log}"\nexit {status}\n')
        stub.chmod(0o755)
    done = subprocess.run(
        ["bash", str(RECIPE), "raw", str(tmp_path / "out"), *options],
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "WORKERS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "unknown option" not in done.stderr, done.stderr
    (words,) = [line.split("|")[:-1] for line in log.read_text().splitlines() if line.startswith("prepare")]
    return words


def test_every_option_of_the_corpus(tmp_path):
    parser = argparse.ArgumentParser(add_help=False)
    CORPORA.get("korean_vat").add_arguments(parser)
    options = []
    for action in parser._actions:
        options += [action.option_strings[0], *([] if action.nargs == 0 else [str(action.default)])]
    assert {"--rate", "--blocks"} <= {*options}
    found = prepared(tmp_path, *options, "--fold", "2")
    assert found == ["prepare", "korean_vat", "raw", f"{tmp_path}/out/prepared", "--overwrite", *options]

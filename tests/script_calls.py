"""Run a script of data-bin-scripts/ with a stand-in for `mm-fairseq` that writes down how it is called."""

import os
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "data-bin-scripts"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.sh") if path.stem != "common")


def recorded(script, folder, *words, status=0):
    """The finished process, and the calls of `mm-fairseq` that it made, one list of words each.

    Args:
        script: its name without the ending.
        folder: for the stand-in and its notes.
        words: of the command line.
        status: what each call of `mm-fairseq` ends with.
    """
    log = folder / "log"
    log.write_text("")
    stub = folder / "bin" / "mm-fairseq"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(f'#!/bin/sh\nprintf "%s|" "$@" >> "{log}"\necho >> "{log}"\nexit {status}\n')
    stub.chmod(0o755)
    done = subprocess.run(
        ["bash", str(FOLDER / f"{script}.sh"), *map(str, words)],
        env={**os.environ, "PATH": f"{stub.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, [line.split("|")[:-1] for line in log.read_text().splitlines()]

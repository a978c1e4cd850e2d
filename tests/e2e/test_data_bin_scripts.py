"""Every script of data-bin-scripts/ turns its toy corpus into a data-bin that fairseq-train reads.

One is run as it is, by bash and in processes of its own. Of the others the calls are taken from the script and made in
this process, since starting a Python takes longer than all that is done here.
"""

import argparse
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import TRAIN, metrics, run
from script_calls import FOLDER, SCRIPTS, recorded

from mm_fairseq.cli import main
from mm_fairseq.corpora import CORPORA

pytestmark = pytest.mark.filterwarnings("ignore")  # fairseq's own, which its commands do not show
UPDATES = 5
FRAMES = ["--frame-size", "16", "--fps", "4", "--faces", "center"]
BACKBONES = {"audio": "mfcc", "text": "embedding:dim=8", "video": "pixels:size=16,fps=4"}
MODEL = ["--arch", "crossmodal_mult", "--d-model", "8", "--num-heads", "2", "--layers", "1", "--conv-kernel", "1"]
MODEL += ["--max-len-for-audio", "2000", "--batch-size", "4", "--num-workers", "0", "--max-update", str(UPDATES)]

COUNTS = "--accept-counts"  # a toy has not the published ones
OPTIONS = {  # of `prepare`
    "iemocap": ["--vad", "--classes", "5"],
    "lists": ["--classes", "iemocap"],
    "table": ["--columns", "audio=file,text=words,speaker=speaker,split=part", "--target", "emotion=feeling"],
}
RAW = {"table": "table.csv", "features": "mmsa_unaligned.pkl"}  # below what the toy writes, where it is not the folder
FEWER = {"crema_d": ("_names", 3), "ravdess": ("names", 6)}  # a toy that draws for long: the list of clips, each n-th


def toy(corpus, out, monkeypatch):
    """Write the smallest toy corpus; returns RAW."""
    module = import_module(f"mm_fairseq.toy.{corpus}")
    if corpus in FEWER:
        name, step = FEWER[corpus]
        every = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given: every(*given)[::step])
    assert main(["toy", corpus, str(out), "--utterances", str(module.MINIMUM)]) == 0
    return out / RAW.get(corpus, "")


def backbones(data_bin):
    """Options of light backbones for all that a data-bin has."""
    streams = json.loads((data_bin / "meta.json").read_text())["streams"]
    assert set(streams) <= {*BACKBONES, "text_asr"}
    kinds = {name: "features" if streams[name].get("dim") else BACKBONES[name] for name in BACKBONES if name in streams}
    return [word for name, spec in kinds.items() for word in (f"--{name}-backbone", spec)]


def options(corpus):
    parser = argparse.ArgumentParser()
    CORPORA.get(corpus).add_arguments(parser)
    given = [COUNTS] if COUNTS in parser.format_help() else []
    return [*given, *OPTIONS.get(corpus, []), "--workers", "1", "--vocab-size", "80"]


def updates(checkpoint):
    return torch.load(checkpoint, weights_only=True)["optimizer_history"][-1]["num_updates"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_from_raw_corpus_to_updates(script, tmp_path, monkeypatch):
    from fairseq_cli import train

    raw, out = toy(script, tmp_path / "raw", monkeypatch), tmp_path / "out"
    done, calls = recorded(script, tmp_path, raw, out, *options(script), *FRAMES)
    assert done.returncode == 0, done.stderr
    assert [words[0] for words in calls] == ["prepare", "binarize"]
    out.mkdir(exist_ok=True)
    for words in calls:
        assert main(words) == 0, words
    account = json.loads((out / "prepared/account.json").read_text())
    assert account["utterances"] > 0
    assert len(account["protocols"]) == len(list((out / "prepared/splits").iterdir()))
    words = [out / "data-bin", *TRAIN, *MODEL, *backbones(out / "data-bin"), "--cpu", "--save-dir", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", ["fairseq-train", *map(str, words), "--no-epoch-checkpoints"])
    state = torch.get_rng_state(), np.random.get_state()
    try:
        train.cli_main()
    finally:
        torch.set_rng_state(state[0])
        np.random.set_state(state[1])
    assert updates(tmp_path / "run/checkpoint_last.pt") == UPDATES


def test_the_script_itself_and_the_last_fold_of_the_last_protocol(tmp_path, monkeypatch):
    raw, out = toy("korean_vat", tmp_path / "raw", monkeypatch), tmp_path / "out"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", FOLDER / "korean_vat.sh", raw, out, *options("korean_vat")]
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    protocol = json.loads((out / "prepared/account.json").read_text())["protocols"][-1]
    chosen = ["--protocol", protocol["name"], "--fold", protocol["folds"][-1]]
    assert chosen == ["--protocol", "by_person", "--fold", "5"]
    words = [out / "data-bin", *TRAIN, *MODEL, *backbones(out / "data-bin"), *chosen, "--save-dir", tmp_path / "run"]
    log = run("fairseq-train", *words, "--no-epoch-checkpoints")
    assert updates(tmp_path / "run/checkpoint_last.pt") == UPDATES
    assert metrics(log, "train")["num_updates"] == UPDATES

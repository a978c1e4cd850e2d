"""The recipe of MELD: what it calls, and (slowly) what it makes of the real texts."""

import os
import re
import subprocess

import pytest
from commands import EXAMPLES, USER_DIR, recipe
from fairseq import options

MAJORITY = 0.313  # weighted F1 of always saying neutral
STANDIN = """#!/bin/sh
printf '%s\\037' "${0##*/}" "$@" >> "$LOG"; echo >> "$LOG"
[ "$1" != user-dir ] || echo "$USER_DIR"
for word in "$@"; do case $word in */data-bin) mkdir -p "$word" ;; esac; done
[ "$1" != binarize ] || [ -z "$STREAM" ] || mkdir -p "$3/$STREAM"
"""


def calls(folder, *words, stream=""):
    """What `run.sh` calls, one list of words each, with stand-ins for all commands; `stream`: the data-bin has it."""
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("mm-fairseq", "fairseq-train", "fairseq-validate"):
        (folder / "bin" / name).write_text(STANDIN)
        (folder / "bin" / name).chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    log = folder / "log"
    log.write_text("")
    done = subprocess.run(
        ["bash", EXAMPLES / "meld/run.sh", "raw", folder / "out", *words],
        env={**os.environ, "PATH": path, "LOG": str(log), "USER_DIR": USER_DIR, "STREAM": stream, "WORKERS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.split("\037")[:-1] for line in log.read_text().splitlines()]


def trained(found):
    [words] = [words for words in found if words[0] == "fairseq-train"]
    return words[1:]


@pytest.mark.parametrize(
    ("words", "stream", "modalities"),
    [
        ([], "", "text"),
        ([], "audio", "audio,text"),
        (["--modalities", "audio"], "audio", "audio"),
        (["--modalities", "text"], "audio", "text"),
    ],
)
def test_modalities_and_options_that_fairseq_train_has(tmp_path, words, stream, modalities):
    found = trained(calls(tmp_path, *words, "--", "--max-epoch", "3", stream=stream))
    parsed = options.parse_args_and_arch(options.get_training_parser(), input_args=found)
    assert (parsed.modalities, parsed.targets, parsed.arch) == (modalities, "emotion", "crossmodal_mult")
    assert parsed.max_epoch == 3
    assert ("--audio-backbone" in found) == ("audio" in modalities)
    assert parsed.best_checkpoint_metric == "wf1"
    assert parsed.save_dir == str(tmp_path / "out" / f"{modalities.replace(',', '-')}-emotion")


def test_options_of_prepare(tmp_path):
    found = calls(tmp_path, "--context", "2", "--accept-counts", "--accept-missing", "--target", "sentiment")
    assert found[1][1:4] == ["prepare", "meld", "raw"]
    assert found[1][5:] == ["--overwrite", "--context", "2", "--context-in-text", "--accept-counts", "--accept-missing"]
    assert found[2][1] == "binarize"
    assert trained(found)[-1] == "--maximize-best-checkpoint-metric"
    assert str(tmp_path / "out/text-sentiment") in found[-1]


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(1800)
def test_the_words_of_the_release_beat_the_majority_by_ten_points(real_data, tmp_path):
    output = recipe("meld", real_data / "meld", tmp_path / "out", "--modalities", "text", timeout=1500)
    match = re.match(r"test wa=(\S+) ua=\S+ wf1=(\S+) mf1=\S+$", output.rstrip().splitlines()[-1])
    assert match, output[-500:]
    assert float(match[2]) >= MAJORITY + 0.1

import argparse
import re

import pytest
from script_calls import SCRIPTS, recorded

from mm_fairseq.cli import binarize
from mm_fairseq.corpora import CORPORA


def run(tmp_path, *words, status=0, script="iemocap"):
    return recorded(script, tmp_path, *words, status=status)


def test_options_go_to_the_command_that_has_them(tmp_path):
    out = tmp_path / "my out"
    options = ["--classes", "6", "--workers", "2", "--accept-counts", "--text-model", "a b"]
    done, calls = run(tmp_path, "raw folder", str(out), *options)
    assert done.returncode == 0, done.stderr
    assert calls == [
        ["prepare", "iemocap", "raw folder", f"{out}/prepared", "--overwrite", "--classes", "6", "--accept-counts"],
        ["binarize", f"{out}/prepared", f"{out}/data-bin", "--resume", "--workers", "2", "--tokenizer", "gpt2:a b"],
    ]


@pytest.mark.parametrize("corpus", CORPORA.names())
def test_every_corpus_has_a_script(corpus):
    assert corpus in SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_every_corpus_has_goes_to_prepare(tmp_path, script):
    options = ["--label-map", "a b.toml", "--accept-leaks"]
    done, calls = run(tmp_path, "raw", str(tmp_path / "out"), *options, "--fps", "5", script=script)
    assert done.returncode == 0, done.stderr
    assert calls[0][4:] == ["--overwrite", *options]
    assert calls[1][3:] == ["--resume", "--fps", "5"]


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
        value = [] if action.nargs == 0 else [str(action.default or "x")]
        words += [action.option_strings[0], *value]
        joined.append("=".join([action.option_strings[0], *value]))
    for given in (words, joined):
        done, calls = run(tmp_path, "raw", str(tmp_path / "out"), *given, "--workers", "2", script=script)
        assert done.returncode == 0, done.stderr
        assert calls[0] == ["prepare", script, "raw", f"{tmp_path}/out/prepared", "--overwrite", *given]
        assert calls[1][3:] == ["--resume", "--workers", "2"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_option_that_nobody_knows_is_told_before_anything_is_done(tmp_path, script):
    for word in ("--acept-missing", "--acept-missing=1", "--accept"):
        done, calls = run(tmp_path, "raw", str(tmp_path / "out"), "--workers", "2", word, script=script)
        assert done.returncode == 2
        assert calls == []
        assert f"error: {word}: unknown; mm-fairseq prepare {script} has --label-map --accept-leaks" in done.stderr
        assert "mm-fairseq binarize has --workers" in done.stderr
        assert not (tmp_path / "out").exists()


def test_every_option_of_binarize_is_passed_on(tmp_path):
    parser = argparse.ArgumentParser(add_help=False)
    binarize.add_arguments(parser)
    for action in parser._actions:
        for option in action.option_strings:
            done, calls = run(tmp_path, "raw", str(tmp_path / "out"), option)
            assert done.returncode == 0, done.stderr
            assert calls[1][3:] == ["--resume", option]


def test_a_value_that_is_wanting(tmp_path):
    done, calls = run(tmp_path, "raw", str(tmp_path / "out"), "--label", script="crema_d")
    assert done.returncode != 0
    assert calls == []
    assert re.search(r"--label needs a value", done.stderr)

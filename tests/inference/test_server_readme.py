"""The commands of examples/serve/README.md, run as they are printed."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from servers import in_thread

from mm_fairseq.cli import serve
from mm_fairseq.inference.server.app import create_app
from mm_fairseq.inference.server.limits import Limits
from mm_fairseq.inference.server.schemas import ServedLimits
from mm_fairseq.inference.server.work import SharedModel

PAGE = Path(__file__).parents[2] / "examples/serve/README.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def run(small_models, tmp_path_factory):
    """Runs words with `CLIP` set, against a server at another port than the page's; gives what they print."""
    folder, clip = tmp_path_factory.mktemp("served"), small_models.clips()[0]
    model = SharedModel.from_pretrained(small_models.checkpoint("ssl_fusion"), max_seconds=60.0)
    with in_thread(create_app(model, Limits(), folder)) as port:

        def call(words, program, cwd):
            script = program.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
            environment = os.environ | {"CLIP": str(clip.video)}
            done = subprocess.run(
                [*words, script], capture_output=True, text=True, cwd=cwd, env=environment, timeout=1000
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        yield call


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_one_request_each(run, tmp_path):
    (block,) = [each for each in blocks("bash") if "/api/predict" in each]
    lines = block.strip().splitlines()
    assert len(lines) == 5
    found = [json.loads(run(["bash", "-c"], line, tmp_path)) for line in lines]
    assert found[0]["architecture"] == "ssl_fusion"
    assert [each["modalities"] for each in found[1:4]] == [["audio", "text", "video"], ["audio"], ["text"]]
    assert len(found[2]["targets"]["emotion"]) == 2
    assert found[4]["picture"] is None
    (shown,) = [json.loads(each) for each in blocks("json")]
    assert shown.keys() == found[1].keys()


def test_limits_are_called_as_options_are():
    """The table has every limit that the API tells, each with the option that sets it."""
    rows = [line.split("|")[1:3] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")][1:]
    table = {field.strip(" `"): option.split()[0].strip("`") if option.split() else "" for option, field in rows}
    told = ServedLimits.model_fields.keys() - {"shortest_hop", "text_characters", "subtitle_bytes"}
    assert table.keys() == told
    options = argparse.ArgumentParser()
    serve.add_arguments(options)
    known = {action.option_strings[0] for action in options._actions}
    assert {option for option in table.values() if option} <= known
    for name in ("queue", "jobs"):
        assert table[name] == f"--{name}"


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
def test_a_recording(run, tmp_path):
    (block,) = [each for each in blocks("bash") if "/api/segments" in each]
    out = run(["bash", "-c"], block, tmp_path)
    assert out.startswith("start,end,")
    assert "WEBVTT" in out
    assert (tmp_path / "timeline.png").read_bytes().startswith(b"\x89PNG")


def test_with_python(run, tmp_path):
    pytest.importorskip("httpx")
    (block,) = blocks("python")
    lines = run([sys.executable, "-c"], block, tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == ["emotion", "sentiment"]

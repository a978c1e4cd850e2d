"""`mm-fairseq predict --window`: files of segments, interrupted, resumed and replaced."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from long_recordings import RATE, noise

from mm_fairseq.cli import _segments
from mm_fairseq.inference import EmotionModel
from mm_fairseq.inference.segments import FILES, PART


def test_segments(ask, small_models, tmp_path):
    (tmp_path / "a.srt").write_text("1\n00:00:06,000 --> 00:00:07,000\nhow nice\n")
    status, out, err = ask(
        "long.wav", "--window", 5, "--hop", 2, "--out", tmp_path / "o", "--subtitles", tmp_path / "a.srt"
    )
    assert (status, err) == (0, "")
    assert "10 windows from 0 s to 23 s" in out
    assert {path.name for path in (tmp_path / "o").iterdir()} == set(FILES)
    found = json.loads((tmp_path / "o" / "segments.json").read_text())
    assert [each["start"] for each in found] == list(range(0, 19, 2))
    assert [each["start"] for each in found if "text" in each["modalities"]] == [2, 4, 6]
    alone = small_models.model("wave_text").predict(audio="long.wav", text="how nice", start=4, end=9)
    scores = {each["label"]: each["score"] for each in alone}
    assert found[2]["scores"]["emotion"] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("interrupted", [4, 5])
def test_an_interrupted_recording_goes_on_from_a_whole_batch(ask, tmp_path, monkeypatch, interrupted):
    words = ["long.wav", "--window", 5, "--hop", 2, "--batch-size", 2]
    assert ask(*words, "--out", tmp_path / "whole")[0] == 0
    whole = _segments.segments

    def torn(*args):
        for number, segment in enumerate(whole(*args)):
            if number == interrupted:
                raise KeyboardInterrupt
            yield segment

    monkeypatch.setattr(_segments, "segments", torn)
    status, _, err = ask(*words, "--out", tmp_path / "o")
    assert status == 130
    assert "4 of 10 windows are kept: the same command goes on from there" in err
    assert [path.name for path in (tmp_path / "o").iterdir()] == [PART]
    monkeypatch.setattr(_segments, "segments", whole)
    status, _, err = ask(*words, "--out", tmp_path / "o")
    assert (status, err) == (0, f"{tmp_path}/o: 4 of 10 windows are there already\n")
    for name in ("segments.json", "segments.csv", "segments.vtt"):
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    (tmp_path / "o" / PART).write_bytes(b'{"window": 4, "\\u001b[31m": 1}\n{}\n')
    _, _, err = ask(*words, "--out", tmp_path / "o")
    assert "begun anew; other than in the interrupted run: \\x1b[31m, " in err


def test_what_else_lies_beside_a_model_changes_nothing(small_models, tmp_path):
    small_models.model("wave_text").save_pretrained(tmp_path)
    with EmotionModel.from_pretrained(tmp_path) as model:
        before = _segments._sum(*_segments._model_files(model))
        (tmp_path / ".cache").mkdir()
        (tmp_path / "README.md").write_text("a model")
        assert _segments._sum(*_segments._model_files(model)) == before
        (tmp_path / next(iter(model.state["tokenizer"]))).write_bytes(b"other words")
        assert _segments._sum(*_segments._model_files(model)) != before


def test_a_finished_recording_is_replaced_only_if_asked_for(ask, tmp_path, monkeypatch):
    out = tmp_path / "o"
    words = ["a.wav", "--window", 1, "--hop", 0.5, "--out", out]
    assert ask(*words)[0] == 0
    before = (out / "segments.json").read_bytes()
    with monkeypatch.context() as nothing:
        nothing.setattr(_segments, "Recording", None)  # told before anything is opened
        status, told, err = ask("b.mp3", *words[1:])
    assert (status, told, err.count("\n")) == (2, "", 1)
    assert f"{out}: segments.json, segments.csv, segments.vtt, timeline.png of an earlier run are there already" in err
    assert "replace what is there with --overwrite, or name another folder" in err
    assert (out / "segments.json").read_bytes() == before
    assert ask("b.mp3", *words[1:], "--overwrite")[0] == 0
    assert (out / "segments.json").read_bytes() != before
    (out / PART).touch()  # an interrupted run: the same command goes on
    assert ask(*words)[0] == 0
    assert (out / "segments.json").read_bytes() == before


def test_one_window_and_one_clip_are_told_in_the_singular(ask, tmp_path, files):
    _, out, _ = ask("a.wav", "--window", 5, "--out", tmp_path / "o")
    assert "1 window from 0 s to 2 s" in out
    soundfile.write(tmp_path / "silence.wav", np.zeros(RATE, np.int16), RATE)
    _, out, _ = ask(tmp_path / "silence.wav", "--window", 5, "--out", tmp_path / "silent")
    assert "note of 1 window: audio silent" in out
    _, out, err = ask("a.wav", "bad.mp4")
    assert out.startswith("1 clip ")
    assert "1 of 2 clips could not be answered" in err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_run_goes_on(checkpoint, files, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(600), RATE)
    words = [sys.executable, "-m", "mm_fairseq", "predict", "--checkpoint", checkpoint, tmp_path / "a.wav"]
    words = [*map(str, words), "--window", "5", "--hop", "1", "--out", str(tmp_path / "o")]
    process = subprocess.Popen(words)
    part = tmp_path / "o" / PART
    while not part.exists() or part.read_bytes().count(b"\n") < 50:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in (tmp_path / "o").iterdir()] == [PART]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert "of 596 windows are there already" in done.stderr
    found = json.loads((tmp_path / "o" / "segments.json").read_text())
    assert [each["start"] for each in found] == list(range(596))

"""`mm-fairseq report` from the command line."""

import json

import pytest

from mm_fairseq.cli import main


@pytest.fixture
def predictions(tmp_path):
    rows = [("a", "sad", "sad"), ("b", "sad", "angry"), ("c", "angry", "angry")]
    path = tmp_path / "predictions.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": i, "split": "test", "name": "emotion", "target": t, "prediction": p, "scores": {p: 0.5}})
            + "\n"
            for i, t, p in rows
        ),
        encoding="utf-8",
    )
    return path


def test_prints_headline_confusion_and_the_page(predictions, tmp_path, capsys):
    out = tmp_path / ("folder_" * 20)
    assert (
        main(["report", str(predictions), str(out), "--name", "[bold]mine", "--compare", f"audio={predictions}"]) == 0
    )
    text = capsys.readouterr().out
    assert "[bold]mine" in text
    assert text.count("0.667") >= 2
    assert "1 (50%)" in text
    assert f"report: {out / 'index.html'}\n" in text
    assert (out / "index.html").is_file()


@pytest.mark.parametrize("pair", ["audio", "=x", "audio="])
def test_compare_needs_name_and_path(predictions, tmp_path, capsys, pair):
    assert main(["report", str(predictions), str(tmp_path / "out"), "--compare", pair]) == 2
    assert "expected NAME=PREDICTIONS" in capsys.readouterr().err


def test_no_such_file_is_one_line(tmp_path, capsys):
    assert main(["report", str(tmp_path / "none"), str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message == f"mm-fairseq report: error: {tmp_path}/none: no such file or folder\n"


def test_out_that_is_a_file_is_one_line(predictions, capsys):
    assert main(["report", str(predictions), str(predictions)]) == 2
    assert capsys.readouterr().err == f"mm-fairseq report: error: {predictions}: File exists\n"

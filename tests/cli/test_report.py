"""`mm-fairseq report` from the command line."""

import json

import pytest

from mm_fairseq.cli import main


@pytest.fixture
def predictions(tmp_path):
    rows = [("a", "sad", "sad", 0.1), ("b", "sad", "angry", 0.8), ("c", "angry", "angry", 0.7)]
    lines = [
        {"id": i, "split": "test", "name": "emotion", "target": truth, "prediction": said, "speaker": i}
        | {"scores": {"sad": 1 - p, "angry": p}}
        for i, truth, said, p in rows
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
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
    assert "audio: wa" in text
    assert f"report: {out / 'index.html'}\n" in text
    assert (out / "index.html").is_file()
    assert text.splitlines()[-1] == "test wa=0.667 ua=0.750 wf1=0.667 mf1=0.667"


@pytest.mark.parametrize(
    ("kind", "row", "metrics"),
    [
        (
            "binary_each",
            {"target": "a", "prediction": "a", "scores": {"a": 0.9, "b": 0.7}},
            "wa ua wf1 mf1",
        ),
        ("multilabel", {"target": ["a"], "prediction": [], "scores": {"a": 0.4}}, "map wf1 mf1 subset_acc"),
        ("regression", {"target": 1, "prediction": 2.5}, "mae corr acc2_has0 acc2_non0 f1_has0 f1_non0 acc7"),
    ],
)
def test_last_line_has_the_main_metrics_of_the_kind(tmp_path, capsys, kind, row, metrics):
    path = tmp_path / "predictions.jsonl"
    path.write_text(json.dumps(row | {"id": "u", "split": "test", "name": "x", "kind": kind}), encoding="utf-8")
    assert main(["report", str(path), str(tmp_path / "out")]) == 0
    split, *pairs = capsys.readouterr().out.splitlines()[-1].split()
    assert (split, " ".join(pair.split("=")[0] for pair in pairs)) == ("test", metrics)


def test_resamples_can_be_left_out_but_not_negative(predictions, tmp_path, capsys):
    words = ["report", str(predictions), str(tmp_path / "out"), "--compare", f"audio={predictions}", "--resamples"]
    assert main([*words, "0"]) == 0
    assert "audio: wa" not in capsys.readouterr().out
    assert main([*words, "-1"]) == 2
    assert "--resamples -1: expected 0 or more" in capsys.readouterr().err


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

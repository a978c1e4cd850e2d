"""One checkpoint on every subset, with a stand-in for the command. The real one runs in tests/e2e."""

import csv
import json

import pytest
import torch

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.evaluation import subsets


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run" / "checkpoint_best.pt"
    path.parent.mkdir()
    path.write_text("2")
    state = {"task_state": {"modalities": ["video", "text", "audio"]}}
    monkeypatch.setattr(subsets, "read_checkpoint", lambda path: state)
    return path


@pytest.fixture
def evaluate(fake_fairseq, data, checkpoint):
    def run(*arguments, split="test", asked=()):
        return subsets.run(data, checkpoint, split, checkpoint.parent / "subsets", arguments, 2, asked)

    return run


@pytest.fixture
def out(checkpoint):
    return checkpoint.parent / "subsets"


def logs(out, split="test"):
    return {path.parent.name: path.read_text() for path in out.glob(f"*/{split}.log")}


def test_every_subset_largest_first():
    assert subsets.subsets(["text", "audio"]) == [("audio", "text"), ("audio",), ("text",)]
    assert len(subsets.subsets(["a", "b", "c"])) == 7


def test_every_subset_is_scored(evaluate, out, checkpoint):
    found = evaluate("--fold", "2", asked=["wa"])
    names = ["audio+text+video", "audio+text", "audio+video", "text+video", "audio", "text", "video"]
    assert [each.name for each in found] == names
    # The stand-in with seed 2: an odd number of modalities costs a right answer.
    assert [each.values["wa"] for each in found] == [0.75, 1, 1, 1, 0.75, 0.75, 0.75]
    assert set(logs(out)) == set(names)
    log = logs(out)["audio+video"]
    assert f"--path {checkpoint} --valid-subset test" in log
    assert "--batch-size 32 --fold 2" in log
    assert f"--modalities audio,video --results-path {out}/audio+video" in log
    table = subsets.table("title", found)
    assert table.columns == ("modalities", "wa", "utterances", "of them without any")
    assert list(table.rows[1]) == ["audio+text", "1.000", "4", "0"]
    rows = list(csv.DictReader((out / "subsets.csv").open()))
    assert {"subset": "text", "metric": "wa", "value": "0.750000"} in rows
    assert json.loads((out / "subsets.json").read_text())["subsets"]["audio+text"]["metrics"]["wa"] == 1
    assert "| audio+text | 1.000 | 4 | 0 |" in (out / "subsets.md").read_text()


def test_the_users_batches(evaluate, out):
    evaluate("--max-tokens", "100")
    assert "--batch-size" not in logs(out)["audio"]


def test_utterances_without_any_are_counted(evaluate, fake_fairseq, data):
    path = data.parent / "bin" / "fairseq-validate"
    path.write_text(path.read_text().replace("modalities[:number + 1]", "modalities[:number]"))
    assert {each.without for each in evaluate()} == {1}


def test_only_what_is_missing_is_scored_again(evaluate, out, checkpoint, data):
    evaluate()
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/test.log")}

    def again(*arguments):
        evaluate(*arguments)
        changed = {path.parent.name for path, time in times.items() if path.stat().st_mtime_ns != time}
        times.update({path: path.stat().st_mtime_ns for path in times})
        return changed

    assert again() == set()
    (out / "text" / "test" / "predictions.jsonl").unlink()
    assert again() == {"text"}
    assert len(again("--fold", "2")) == 7
    checkpoint.write_text("3")
    assert len(again("--fold", "2")) == 7
    (data / "manifest.tsv").write_text("# root=.\nchanged\n")
    assert len(again("--fold", "2")) == 7


def test_faults_are_named(evaluate, checkpoint, data, monkeypatch, tmp_path):
    with pytest.raises(MMFairseqError, match="validate-subsets sets --modalities, --a-only by itself"):
        evaluate("--modalities", "audio", "--a-only")
    with pytest.raises(MMFairseqError, match="unknown metric 'uar'; known: loss, wa"):
        evaluate(asked=["uar"])
    with pytest.raises(MMFairseqError, match="1 of 7 subsets failed: audio"):
        evaluate("--fail", "audio")
    with pytest.raises(MMFairseqError, match="not a data-bin"):
        subsets.run(tmp_path, checkpoint, "test", tmp_path / "out", ())
    monkeypatch.undo()
    torch.save({"model": {}}, checkpoint)
    with pytest.raises(MMFairseqError, match="not a checkpoint of the task emotion_prediction"):
        subsets.run(data, checkpoint, "test", tmp_path / "out", ())
    with pytest.raises(MMFairseqError, match="no such checkpoint"):
        subsets.run(data, tmp_path / "none.pt", "test", tmp_path / "out", ())

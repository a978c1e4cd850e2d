"""The recipe for Fluent Speech Commands on the toy corpus in its form: raw files to a report, briefly and in full."""

import json
import re

import pytest
import torch
from commands import EXAMPLES, USER_DIR, metrics, predictions, recipe, results, run

from mm_fairseq.toy import fluent_speech_commands as toy

TARGETS = ("action", "location", "object")
LAST_LINES = [
    re.compile(rf"^test {name} wa=[01]\.\d{{3}} ua=\d\.\d{{3}} wf1=\d\.\d{{3}} mf1=\d\.\d{{3}}$") for name in TARGETS
]


def corpus(folder, utterances):
    toy.write(folder / "raw", utterances, seed=1)
    return folder / "raw"


def check_last_lines(output):
    for line, form in zip(output.rstrip().splitlines()[-3:], LAST_LINES, strict=True):
        assert form.match(line), output[-500:]


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The recipe for one epoch on new speakers: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("short")
    options = ["--protocol", "unseen_speakers", "--fold", "2", "--accept-counts", "--", "--max-epoch", "1"]
    small = ["--d-model", "16", "--ffn-dim", "16", "--num-heads", "2"]
    arguments = [corpus(folder, toy.MINIMUM), folder / "out", *options, *small]
    return folder / "out", recipe("fluent_speech_commands", *arguments, timeout=1000)


def test_from_raw_corpus_to_test_lines(short):
    out, output = short
    check_last_lines(output)
    record = results(out / "unseen_speakers-2" / "test")
    assert {target["name"]: target["weight"] for target in record["targets"]} == {
        "action": 6 / 24,
        "object": 14 / 24,
        "location": 4 / 24,
    }
    assert (record["arch"], record["protocol"], record["fold"]) == ("wave_text", "unseen_speakers", "2")
    tested = {row["speaker"] for row in predictions(out / "unseen_speakers-2" / "test")}
    trained = (out / "prepared/splits/unseen_speakers/2/train").read_text().split()
    assert tested
    assert not tested & {name.partition("_")[0] for name in trained}


def test_the_report_has_the_parts_and_the_baselines(short):
    out, output = short
    table = output[output.index("Modalities and baselines on test") :]
    for row in ("(audio + text)", "audio alone", "text alone", "transcript look-up", "majority of train"):
        assert row in table
    found = json.loads((out / "unseen_speakers-2/subsets/subsets.json").read_text())["subsets"]
    assert list(found) == ["audio+text", "audio", "text"]
    text = {tuple(row["modalities"]) for row in predictions(out / "unseen_speakers-2/subsets/text/test")}
    assert text == {("text",)}
    assert "two runs" not in (out / "unseen_speakers-2/report/report.md").read_text()


def test_another_size_of_pieces_in_a_checkpoint_that_explains_itself(short, tmp_path):
    out, _ = short
    data = [out / "data-bin", "--user-dir", USER_DIR, "--task", "emotion_prediction"]
    options = ["--arch", "wave_text", "--d-model", 16, "--num-heads", 2, "--audio-split-samples", 500, "--lr", 1e-3]
    options += ["--criterion", "emotion_prediction_cri", "--optimizer", "adam", "--batch-size", 32, "--max-epoch", 1]
    run("fairseq-train", *data, *options, "--modalities", "audio", "--heads", "object", "--save-dir", tmp_path)
    state = torch.load(tmp_path / "checkpoint_best.pt", weights_only=True)
    assert state["cfg"]["model"]["backbone_args"]["audio"]["args"] == {"samples": 500, "dim": 16}
    validate = ["--path", tmp_path / "checkpoint_best.pt", "--valid-subset", "test", "--log-format", "json"]
    first, second = (
        metrics(run("fairseq-validate", *data, *validate, "--batch-size", size), "test") for size in (1, 7)
    )
    assert first["loss"] == pytest.approx(second["loss"], abs=1e-4)
    assert "wa_object" not in first  # one target has plain names
    assert {row["name"] for row in predictions(tmp_path / "test")} == {"object"}


def test_hydra(short, tmp_path):
    overrides = {
        "common.user_dir": USER_DIR,
        "task.data": short[0] / "data-bin",
        "checkpoint.save_dir": tmp_path / "run",
        "optimization.max_epoch": 1,
        "model.d_model": 16,
        "model.num_heads": 2,
        "dataset.num_workers": 1,
        "hydra.run.dir": tmp_path / "hydra",
    }
    config = ["--config-dir", EXAMPLES / "fluent_speech_commands" / "config", "--config-name", "wave_text"]
    run("fairseq-hydra-train", *config, *(f"{key}={value}" for key, value in overrides.items()))
    state = torch.load(tmp_path / "run" / "checkpoint_last.pt", weights_only=True)
    assert state["cfg"]["model"]["backbone_args"]["audio"]["name"] == "wave_pieces"
    assert state["optimizer_history"][-1]["num_updates"] == 3  # 84 utterances


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_the_toy_corpus_is_learnt_by_both_and_by_audio_alone(tmp_path):
    output = recipe("fluent_speech_commands", corpus(tmp_path, 600), tmp_path / "out", "--accept-counts", timeout=1200)
    check_last_lines(output)
    found = json.loads((tmp_path / "out/official-1/subsets/subsets.json").read_text())["subsets"]
    for name in TARGETS:
        assert found["audio+text"]["metrics"][f"wf1_{name}"] == 1
        assert found["audio"]["metrics"][f"wf1_{name}"] >= 0.9
        assert results(tmp_path / "out/official-1/test")["metrics"][f"wf1_{name}"] == 1

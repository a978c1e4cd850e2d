"""The recipe for the Korean corpus, and training on feature files of MulT and MMSA, from raw files to scores."""

import json
import re

import hf_folders
import pytest
from commands import EXAMPLES, TASK, TRAIN, USER_DIR, metrics, predictions, recipe, results, run

from mm_fairseq.cli import main
from mm_fairseq.toy import features, korean_vat

LAST_LINE = re.compile(r"^test wa=[01]\.\d{3} ua=\d\.\d{3} wf1=\d\.\d{3} mf1=\d\.\d{3}$")
SMALL = ["--d-model", "16", "--num-heads", "2", "--layers", "1"]
FEATURES = ["--audio-backbone", "features", "--text-backbone", "features", "--video-backbone", "features"]


@pytest.fixture(scope="module")
def korean(tmp_path_factory):
    """The recipe for one epoch: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("korean")
    korean_vat.write(folder / "raw", 70, seed=1)
    options = ["--accept-counts", "--vocab-size", "80", "--", "--max-epoch", "1", *SMALL]
    return folder / "out", recipe("korean_vat", folder / "raw", folder / "out", *options)


def test_from_frames_to_test_line_and_what_recognised_text_costs(korean):
    out, output = korean
    assert LAST_LINE.match(output.rstrip().splitlines()[-1]), output[-500:]
    table = output[output.index("Under stress: test") :]
    for row in ("text=text_asr", "without=audio", "without=text"):
        assert row in table
    run_folder = out / "audio_text-by_script-1"
    test, heard = (predictions(run_folder / name) for name in ("test", "test@text=text_asr"))
    assert [row["id"] for row in test] == [row["id"] for row in heard]
    assert {row["target"] for row in test} == set(korean_vat.EMOTIONS)
    assert {tuple(row["modalities"]) for row in test} == {("audio", "text")}
    assert [row["scores"] for row in test] != [row["scores"] for row in heard]
    assert results(run_folder / "test")["arch"] == "crossmodal_mult"


def test_other_persons_from_recordings(tmp_path):
    korean_vat.write(tmp_path / "raw", 30, seed=1, recordings=True)
    options = ["--sentences", tmp_path / "raw/sentences.csv", "--protocol", "by_person", "--fold", "2"]
    options += ["--modalities", "audio", "--vocab-size", "80", "--", "--max-epoch", "1", *SMALL]
    output = recipe("korean_vat", tmp_path / "raw", tmp_path / "out", *options)
    assert LAST_LINE.match(output.rstrip().splitlines()[-1]), output[-500:]
    tested = {row["speaker"] for row in predictions(tmp_path / "out/audio-by_person-2/test")}
    trained = (tmp_path / "out/prepared/splits/by_person/2/train").read_text().split()
    assert tested
    assert not tested & {name[1:4] for name in trained}


@pytest.mark.slow
def test_a_frozen_bert_runs_once(korean, tmp_path):
    (tmp_path / "bert").mkdir()
    hf_folders.text_folder(tmp_path / "bert", "bert")
    options = ["--bert", tmp_path / "bert", "--accept-counts", "--", "--max-epoch", "1", *SMALL]
    output = recipe("korean_vat", korean[0].parent / "raw", tmp_path / "out", *options)
    assert LAST_LINE.match(output.rstrip().splitlines()[-1]), output[-500:]
    assert "text=text_asr" in output
    run_folder = tmp_path / "out/audio_text-by_script-1"
    assert "cached features, text@hf_text" in (run_folder / "train.log").read_text()


def test_hydra(korean, tmp_path):
    overrides = {
        "common.user_dir": USER_DIR,
        "task.data": korean[0] / "data-bin",
        "checkpoint.save_dir": tmp_path / "run",
        "optimization.max_epoch": 1,
        "dataset.num_workers": 0,
        "model.layers": 1,
        "hydra.run.dir": tmp_path / "hydra",
    }
    config = ["--config-dir", EXAMPLES / "korean_vat" / "config", "--config-name", "crossmodal_mult"]
    run("fairseq-hydra-train", *config, *(f"{key}={value}" for key, value in overrides.items()))
    assert (tmp_path / "run" / "checkpoint_last.pt").is_file()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    features.write(folder / "raw", 40, seed=1)
    return folder / "raw"


def binarized(files, name, folder, *options):
    assert main(["prepare", "features", str(files / f"{name}.pkl"), str(folder / "prepared"), *options]) == 0
    assert main(["binarize", str(folder / "prepared"), str(folder / "data-bin"), "--workers", "1"]) == 0
    return folder / "data-bin"


def train(data, save, *options):
    shape = ["--arch", "crossmodal_mult", "--batch-size", "8", "--conv-kernel", "1", "--save-dir", save, *SMALL]
    return run("fairseq-train", data, *TRAIN, *shape, "--no-epoch-checkpoints", *options)


@pytest.mark.parametrize("name", ["mult_unaligned", "mult_iemocap"])
def test_features_of_mult(files, tmp_path, name):
    data = binarized(files, name, tmp_path)
    metric, select = ("map", ["--maximize-best-checkpoint-metric"]) if name == "mult_iemocap" else ("mae", [])
    select += ["--best-checkpoint-metric", metric]
    output = train(data, tmp_path / "run", "--max-epoch", "2", *select, *FEATURES)
    assert metrics(output, "valid")[metric] > 0
    checkpoint = ["--path", tmp_path / "run/checkpoint_best.pt", "--results-path", tmp_path / "run"]
    stress = ["--stress", "without=audio", "--batch-size", "4", "--log-format", "json"]
    output = run("fairseq-validate", data, *TASK, *checkpoint, "--valid-subset", "test", *stress)
    rows = predictions(tmp_path / "run/test")
    assert len(rows) == 8
    assert {tuple(row["modalities"]) for row in rows} == {("audio", "text", "video")}
    assert {tuple(row["modalities"]) for row in predictions(tmp_path / "run/test@without=audio")} == {("text", "video")}
    meta = json.loads((data / "meta.json").read_text())
    assert {key: stream["dim"] for key, stream in meta["streams"].items()} == {"audio": 9, "text": 20, "video": 7}


def test_features_of_mmsa_with_transcripts_as_text(files, tmp_path):
    data = binarized(files, "mmsa_unaligned", tmp_path, "--modalities", "audio,video", "--single-labels")
    mixed = ["--audio-backbone", "features", "--video-backbone", "features", "--text-backbone", "embedding:dim=8"]
    output = train(data, tmp_path / "run", "--max-epoch", "1", *mixed)
    assert {"mae_sentiment", "mae_sentiment_text"} <= metrics(output, "valid").keys()


def test_another_backbone_is_refused(files, tmp_path):
    data = binarized(files, "mult_aligned", tmp_path)
    shape = ["--arch", "crossmodal_mult", "--save-dir", tmp_path / "run", "--batch-size", "8"]
    wrong = ["--audio-backbone", "mfcc", *FEATURES[2:]]
    output = run("fairseq-train", data, *TRAIN, *shape, *wrong, fails=True)
    assert "--audio-backbone mfcc: the audio of" in output
    assert "9 a frame: use --audio-backbone features" in output

"""av_graph by the real commands on the toy corpus in AudioSet's form: raw clips to a report, briefly and in full."""

import re
import shutil

import pytest
import torch
from commands import EXAMPLES, TASK, TRAIN, USER_DIR, metrics, predictions, recipe, results, run, together

from mm_fairseq.toy import audioset

pytestmark = pytest.mark.timeout(3000)  # where other work goes on
LAST_LINE = re.compile(r"^test wa=[01]\.\d{3} ua=\d\.\d{3} wf1=\d\.\d{3} mf1=\d\.\d{3}$")
SEGMENTS = ["--audio-segments", "3840,8000", "--video-segments", "1,20"]  # few and short: R3D-18 has its full size
SMALL = ["--hidden-channels", 16, "--num-layers", 2, "--batch-size", 8, "--num-workers", 0]


@pytest.fixture(scope="module")
def pretrained(checkpoints, tmp_path_factory):
    """A copy of the files of both encoders, to be taken away."""
    folder = tmp_path_factory.mktemp("pretrained")
    for name in ("wav2vec2", "r3d_18"):
        shutil.copytree(checkpoints / name, folder / name)
    return {"--wav2vec2": folder / "wav2vec2/wav2vec2.pt", "--r3d": folder / "r3d_18/r3d_18.pth"}


@pytest.fixture(scope="module")
def short(pretrained, tmp_path_factory):
    """The recipe from cached features for two epochs: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("short")
    audioset.write(folder / "raw", audioset.MINIMUM, seed=1)
    files = [word for pair in pretrained.items() for word in pair]
    options = [*files, "--cached", *SEGMENTS, "--", *SMALL, "--update-freq", 1, "--max-epoch", 2]
    return folder / "out", recipe("audioset", folder / "raw", folder / "out", *options, timeout=2800)


def specs(files):
    audio = f"wav2vec2_segments:{files['--wav2vec2']},window=3840,hop=8000"
    return ["--audio-backbone", audio, "--video-backbone", f"r3d_18:{files['--r3d']},window=1,hop=20"]


def train(short, files, save, *options):
    shape = [short[0] / "data-bin", *TRAIN, "--arch", "av_graph", *specs(files), *SMALL, "--save-dir", save]
    return run("fairseq-train", *shape, "--no-epoch-checkpoints", *options)


def test_from_raw_corpus_to_test_line(short):
    out, output = short
    assert LAST_LINE.match(output.rstrip().splitlines()[-1]), output[-500:]
    run_folder = out / "single-audio_video-cached"
    rows = predictions(run_folder / "test")
    assert {row["target"] for row in rows} == {event.name for event in audioset.EVENTS}
    assert {tuple(row["modalities"]) for row in rows} == {("audio", "video")}
    assert results(run_folder / "test")["arch"] == "av_graph"
    log = (run_folder / "train.log").read_text()
    assert "cached features, audio@wav2vec2_segments" in log
    assert "cached features, video@r3d_18" in log


def test_cached_nodes_equal_raw_ones_and_batches_change_nothing(short):
    out, _ = short
    path = out / "single-audio_video-cached/checkpoint_best.pt"

    def scores(name, *options):
        validate = [out / "data-bin", *TASK, "--path", path, "--valid-subset", "test", "--results-path", out / name]
        run("fairseq-validate", *validate, *options)
        return [row["scores"] for row in predictions(out / name / "test")]

    raw, cached, alone = together(
        lambda: scores("raw", "--batch-size", 8, "--backbone-source", "raw"),
        lambda: scores("cached", "--batch-size", 8, "--backbone-source", "cached"),
        lambda: scores("alone", "--batch-size", 1, "--backbone-source", "cached"),
    )
    for of_raw, of_cached, of_alone in zip(raw, cached, alone, strict=True):
        assert of_cached == pytest.approx(of_raw, abs=1e-3)
        assert of_alone == pytest.approx(of_cached, abs=1e-5)


@pytest.mark.parametrize(
    ("modalities", "options"),
    [
        ("audio", ["--dynamic"]),
        ("audio,video", ["--modality-dropout", 0.5, "--cross-edges", "static", "--fusion-layers", "0,1"]),
    ],
    ids=["audio alone", "now and then withheld"],
)
def test_other_modalities_and_edges(short, pretrained, tmp_path, modalities, options):
    log = train(short, pretrained, tmp_path, "--modalities", modalities, "--max-epoch", 1, *options)
    assert metrics(log, "valid")["loss"] < 4


def test_hydra(short, pretrained, tmp_path):
    backbones = dict(zip(("audio", "video"), specs(pretrained)[1::2], strict=True))
    overrides = {
        "common.user_dir": USER_DIR,
        "task.data": short[0] / "data-bin",
        "checkpoint.save_dir": tmp_path / "run",
        "optimization.max_update": 1,
        "dataset.num_workers": 0,
        "dataset.batch_size": 4,
        "model.hidden_channels": 16,
        "model.finetune_backbones": "audio",
        "hydra.run.dir": tmp_path / "hydra",
        **{f"model.{name}_backbone": f"'{spec}'" for name, spec in backbones.items()},
    }
    config = ["--config-dir", EXAMPLES / "audioset" / "config", "--config-name", "av_graph"]
    run("fairseq-hydra-train", *config, *(f"{key}={value}" for key, value in overrides.items()))
    state = torch.load(tmp_path / "run" / "checkpoint_last.pt", weights_only=True)
    entries = state["cfg"]["model"]["backbone_args"]
    assert {name: (entry["name"], entry["frozen"]) for name, entry in entries.items()} == {
        "audio": ("wav2vec2_segments", False),
        "video": ("r3d_18", True),
    }


def test_the_checkpoint_needs_no_pretrained_file(short, pretrained):
    """The last test of this file that may: they are taken away."""
    out, _ = short
    for file in pretrained.values():
        file.unlink()
    before = predictions(out / "single-audio_video-cached/test")
    path = out / "single-audio_video-cached/checkpoint_best.pt"
    validate = [out / "data-bin", *TASK, "--path", path, "--valid-subset", "test", "--batch-size", 8]
    run("fairseq-validate", *validate, "--results-path", out / "without")
    after = predictions(out / "without/test")
    assert [row["prediction"] for row in after] == [row["prediction"] for row in before]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_toy_corpus_is_learnt(checkpoints, tmp_path):
    """The command of the page."""
    audioset.write(tmp_path / "raw", 180, seed=1)
    files = ["--wav2vec2", checkpoints / "wav2vec2/wav2vec2.pt", "--r3d", checkpoints / "r3d_18/r3d_18.pth"]
    options = ["--cached", "--audio-segments", "3840,4000", "--video-segments", "2,20", "--", "--hidden-channels", 64]
    options += ["--num-layers", 2, "--lr", 2e-3, "--batch-size", 8, "--update-freq", 1, "--max-epoch", 25]
    options += ["--patience", 0, "--num-workers", 0]
    recipe("audioset", tmp_path / "raw", tmp_path / "out", *files, *options, timeout=2800)
    run_folder = tmp_path / "out/single-audio_video-cached"
    assert "| wa 1 |" in (run_folder / "train.log").read_text().split("train | epoch")[-1]
    assert results(run_folder / "test")["metrics"]["wa"] > 0.9

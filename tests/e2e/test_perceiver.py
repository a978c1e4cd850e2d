"""perceiver_emo by the real commands on the toy corpus in CREMA-D's form: raw files to a report."""

import re
import shutil

import pytest
import torch
import transformers
from commands import EXAMPLES, TASK, TRAIN, USER_DIR, metrics, predictions, recipe, results, run

from mm_fairseq.toy import crema_d

pytestmark = pytest.mark.timeout(3000)  # where other work goes on
LAST_LINE = re.compile(r"^test wa=[01]\.\d{3} ua=\d\.\d{3} wf1=\d\.\d{3} mf1=\d\.\d{3}$")
SIDE = 32
DATA = ["--fps", 5, "--frame-size", SIDE, "--accept-counts"]
SHORT = ["--max-update", 3, "--total-num-update", 3, "--warmup-updates", 1, "--batch-size", 8]
SIZES = {
    "num_latents": 6,
    "d_latents": 16,
    "num_self_attends_per_block": 1,
    "num_self_attention_heads": 2,
    "num_frames": 2,
    "samples_per_patch": 40,
    "audio_samples_per_frame": 1600,
    "output_num_channels": 16,
}
SMALL = [f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()]
SMALL += [f"--image-size={SIDE}", "--d-model=432", "--label-query-channels=16", "--head-dim=8"]


def released(folder):
    """A checkpoint in the layout of deepmind/multimodal-perceiver, at reduced size and with its 700 labels."""
    config = transformers.PerceiverConfig(
        **SIZES,
        d_model=704,
        num_blocks=1,
        num_cross_attention_heads=1,
        num_labels=700,
        image_size=SIDE // 4,
        _label_trainable_num_channels=16,
        output_shape=[1, SIZES["num_frames"], SIDE, SIDE],
    )
    torch.manual_seed(1)
    transformers.PerceiverForMultimodalAutoencoding(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """The recipe for three updates, begun from a released checkpoint: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("short")
    crema_d.write(folder / "raw", crema_d.MINIMUM, seed=1)
    perceiver = released(folder / "perceiver")
    options = ["--fold", 2, "--perceiver", perceiver, *DATA, "--", *SHORT, "--head-dim", 8]
    output = recipe("crema_d", folder / "raw", folder / "out", *options, timeout=2800)
    shutil.rmtree(perceiver)
    return folder / "out", output


def test_from_raw_corpus_to_test_line(short):
    out, output = short
    assert LAST_LINE.match(output.rstrip().splitlines()[-1]), output[-500:]
    rows = predictions(out / "audio_video-2/test")
    assert {row["target"] for row in rows} == set(crema_d.CLASSES)
    assert {tuple(row["modalities"]) for row in rows} == {("audio", "video")}
    tested = {row["speaker"] for row in rows}
    trained = (out / "prepared/splits/by_actor/2/train").read_text().split()
    assert tested
    assert not tested & {name.partition("_")[0] for name in trained}
    record = results(out / "audio_video-2/test")
    assert (record["arch"], record["protocol"], record["fold"]) == ("perceiver_emo", "by_actor", "2")


def test_the_checkpoint_needs_no_released_one(short):
    out, _ = short
    path = out / "audio_video-2/checkpoint_best.pt"
    state = torch.load(path, weights_only=True)["cfg"]["model"]
    assert {name: entry["name"] for name, entry in state["backbone_args"].items()} == {
        "audio": "waveform",
        "video": "pixels",
    }
    assert state["fusion_args"]["num_latents"] == SIZES["num_latents"]
    validate = [out / "data-bin", *TASK, "--path", path, "--valid-subset", "test", "--log-format", "json"]
    found = []
    for size in (1, 7):
        folder = out / f"again{size}"
        run("fairseq-validate", *validate, "--batch-size", size, "--results-path", folder)
        found.append([row["scores"] for row in predictions(folder / "test")])
    for one, other in zip(*found, strict=True):
        assert other == pytest.approx(one, abs=1e-5)
    log = (out / "audio_video-2/train.log").read_text()
    assert "left out" in log


@pytest.mark.parametrize(
    ("modalities", "options"),
    [
        ("audio,text,video", ["--text-backbone", "embedding:dim=8", "--soft-labels", "--modality-dropout", 0.3]),
        ("audio,video", ["--reconstruction-weight", 0.1, "--reconstruction-points", 8]),
        ("text", ["--text-backbone", "embedding:dim=8"]),
    ],
    ids=["text too, votes", "reconstruction", "text alone"],
)
def test_other_modalities_and_losses(short, tmp_path, modalities, options):
    data = [short[0] / "data-bin", *TRAIN, "--arch", "perceiver_emo", "--modalities", modalities, *SMALL]
    data += ["--batch-size", 8, "--max-update", 2, "--no-epoch-checkpoints", "--save-dir", tmp_path, *options]
    log = run("fairseq-train", *data)
    assert metrics(log, "valid")["loss"] < 5
    assert ("reconstruction_loss" in metrics(log, "train")) == ("--reconstruction-weight" in options)


def test_hydra(short, tmp_path):
    overrides = {
        "common.user_dir": USER_DIR,
        "task.data": short[0] / "data-bin",
        "checkpoint.save_dir": tmp_path / "run",
        "optimization.max_epoch": 1,
        "dataset.num_workers": 0,
        "dataset.batch_size": 8,
        "model.d_model": 432,
        "model.image_size": SIDE,
        "model.label_query_channels": 16,
        "hydra.run.dir": tmp_path / "hydra",
        **{f"model.{name}": value for name, value in SIZES.items()},
    }
    config = ["--config-dir", EXAMPLES / "crema_d" / "config", "--config-name", "perceiver_emo"]
    run("fairseq-hydra-train", *config, *(f"{key}={value}" for key, value in overrides.items()))
    assert (tmp_path / "run" / "checkpoint_last.pt").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_toy_corpus_is_learnt(tmp_path):
    """The command of the page."""
    crema_d.write(tmp_path / "raw", 360, seed=1)
    page = (EXAMPLES / "crema_d/README.md").read_text("utf-8")
    command = page[page.index("run.sh raw out ") + len("run.sh raw out ") :]
    options = command[: command.index("```")].replace("\\\n", " ").split()
    recipe("crema_d", tmp_path / "raw", tmp_path / "out", *options, timeout=1700)
    run_folder = tmp_path / "out/audio_video-1"
    assert "| wa 1 |" in (run_folder / "train.log").read_text()
    assert results(run_folder / "test")["metrics"]["wa"] > 0.9

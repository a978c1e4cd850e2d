"""Folders of Hugging Face in the real commands."""

import shutil

import pytest
from commands import TASK, TRAIN, metrics, run, start
from hf_folders import WORDS, audio_folder, text_folder

SMALL = ["--arch", "ssl_fusion", "--encoder-layers", 1, "--encoder-layers-cross", 1, "--encoder-ffn-embed-dim", 32]
SMALL += ["--encoder-attention-heads", 2, "--modalities", "audio,text", "--no-epoch-checkpoints"]


@pytest.fixture(scope="module")
def training(data_bin, tmp_path_factory):
    """Audio frozen and cached, text fine-tuned."""
    folder = tmp_path_factory.mktemp("hf")
    data = shutil.copytree(data_bin, folder / "data-bin")
    (data / "dict.txt").write_text("".join(f"{number} 1\n" for number in range(len(WORDS))))
    text_folder(folder / "roberta", "roberta")
    shutil.copyfile(folder / "roberta" / "tokenizer.json", data / "tokenizer.json")
    audio_folder(folder / "wavlm", "wavlm", do_normalize=True)
    specs = {"audio": f"hf_audio:{folder}/wavlm,layer=weighted", "text": f"hf_text:{folder}/roberta,layer=2"}
    run("mm-fairseq", "extract", data, "--backbone", f"audio={specs['audio']}")
    flags = ["--audio-backbone", specs["audio"], "--text-backbone", specs["text"], "--finetune-backbones", "text"]
    train = [*TRAIN, *SMALL, *flags, "--batch-size", 8, "--save-dir", folder / "checkpoints"]
    log = run("fairseq-train", data, *train, "--max-epoch", 2)
    return folder, data, train, log


def test_cached_features_are_used_and_a_checkpoint_needs_no_folder(training):
    folder, data, train, log = training
    assert "audio: cached features, audio@hf_audio-" in log
    for name in ("roberta", "wavlm"):
        (folder / name).rename(folder / f"{name} elsewhere")
    path = shutil.copy(folder / "checkpoints" / "checkpoint_last.pt", folder)
    validate = [data, *TASK, "--path", path, "--valid-subset", "valid", "--batch-size", 3, "--log-format", "json"]
    validated, resumed = start("fairseq-validate", *validate), start("fairseq-train", data, *train, "--max-epoch", 3)
    expected = metrics(log, "valid")
    found = metrics(validated(), "valid")
    for key in ("loss", "wa", "ua", "wf1"):
        assert found[key] == pytest.approx(expected[key], abs=1e-3), key
    assert metrics(resumed(), "valid")["num_updates"] == 3 * expected["num_updates"] / 2

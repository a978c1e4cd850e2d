"""Pretrained files: features equal those of the upstream classes, and a wrong file never loads in silence."""

from argparse import Namespace
from pathlib import Path

import public_files
import pytest
import torch
from fairseq.models.roberta import RobertaModel
from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel
from public_files import features
from torch import nn

from mm_fairseq.backbones.files import model_args
from mm_fairseq.errors import MMFairseqError

FILES = {
    "wav2vec/wav2vec.pt": ("audio", "wav2vec"),
    "wav2vec/wav2vec_args.pt": ("audio", "wav2vec"),
    "roberta/model.pt": ("text", "roberta"),
    "roberta_args/model.pt": ("text", "roberta"),
    "fabnet/fabnet.pt": ("video", "fabnet"),
    "fabnet/fabnet_train.pt": ("video", "fabnet"),
}
NEEDED = {
    "audio": "feature_aggregator.conv_layers.0.1.weight",
    "text": "sentence_encoder.layers.0.fc1.weight",
    "video": "encoder.2.weight",
}


def load(modality, name, path):
    return public_files.load(modality, f"{name}:{path}")


@pytest.mark.parametrize("file", ["wav2vec/wav2vec.pt", "wav2vec/wav2vec_args.pt"])
def test_wav2vec_equals_upstream(checkpoints, file):
    state = torch.load(checkpoints / file, weights_only=True)
    config = Wav2VecConfig()
    for key, value in model_args(state, Path(file)).items():
        setattr(config, key, value)
    upstream = Wav2VecModel(config).eval()
    upstream.load_state_dict(state["model"])
    x = torch.randn(1, 7000)
    with torch.no_grad():
        expected = upstream.feature_aggregator(upstream.feature_extractor(x)).transpose(1, 2)
    torch.testing.assert_close(
        features(load("audio", "wav2vec", checkpoints / file), "audio", x), expected, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("folder", ["roberta", "roberta_args"])
def test_roberta_equals_upstream(checkpoints, folder):
    path = checkpoints / folder
    companions = {"gpt2_encoder_json": str(path / "encoder.json"), "gpt2_vocab_bpe": str(path / "vocab.bpe")}
    hub = RobertaModel.from_pretrained(str(path), "model.pt", bpe="gpt2", **companions).eval()
    tokens = hub.encode("what do you want from me")[None]
    with torch.no_grad():
        expected = hub.extract_features(tokens)
    backbones = load("text", "roberta", path)
    torch.testing.assert_close(features(backbones, "text", tokens), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(
        features(backbones, "text", tokens), features(load("text", "roberta", path / "model.pt"), "text", tokens)
    )


@pytest.mark.parametrize("file", ["fabnet/fabnet.pt", "fabnet/fabnet_train.pt"])
def test_fabnet_equals_the_released_layout(checkpoints, file):
    layers, width = [], 3
    for index, out in enumerate((32, 64, 128, 256, 256, 256, 256, 256)):
        layers.append(nn.Conv2d(width, out, 4, 2, 1))
        layers += [nn.BatchNorm2d(out)] if 0 < index < 7 else []
        layers += [nn.LeakyReLU(0.2)] if index < 7 else []
        width = out
    net = nn.ModuleDict({"encoder": nn.Sequential(*layers)}).eval()
    state = torch.load(checkpoints / file, weights_only=True)
    weights = state.get("state_dict_model") or state["state_dict"]
    net.load_state_dict({key: value for key, value in weights.items() if key.startswith("encoder.")})
    frames = torch.randint(0, 256, (3, 3, 256, 256), dtype=torch.uint8)
    with torch.no_grad():  # in double precision, where the order of the sums does not show
        expected = net.double()["encoder"](frames.double() / 255).flatten(1)
    found = features(load("video", "fabnet", checkpoints / file).double(), "video", frames[None])[0]
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-8)


def test_fabnet_files_without_counters_load(checkpoints, tmp_path):
    state = torch.load(checkpoints / "fabnet/fabnet.pt", weights_only=True)
    weights = {
        f"module.{key}": value
        for key, value in state["state_dict_model"].items()
        if not key.endswith("num_batches_tracked")
    }
    torch.save({"state_dict": weights}, tmp_path / "old.pth")
    frames = torch.randint(0, 256, (1, 1, 3, 256, 256), dtype=torch.uint8)
    old, new = (load("video", "fabnet", path) for path in (tmp_path / "old.pth", checkpoints / "fabnet/fabnet.pt"))
    assert torch.equal(features(old, "video", frames), features(new, "video", frames))


def test_fabnet_wants_frames_of_256(checkpoints):
    with pytest.raises(MMFairseqError, match=r"256x256.*128x64"):
        features(
            load("video", "fabnet", checkpoints / "fabnet/fabnet.pt"), "video", torch.zeros(1, 1, 3, 64, 128).byte()
        )


@pytest.mark.parametrize("file", FILES)
def test_a_missing_weight_is_an_error(checkpoints, tmp_path, file):
    modality, name = FILES[file]
    state = torch.load(checkpoints / file, weights_only=True)
    place = next(key for key in ("state_dict_model", "state_dict", "model") if key in state)
    gone = [key for key in state[place] if key.endswith(NEEDED[modality])]
    assert len(gone) == 1
    del state[place][gone[0]]
    torch.save(state, tmp_path / "cut.pt")
    with pytest.raises(MMFairseqError, match=r"cut\.pt: weights do not fit"):
        load(modality, name, tmp_path / "cut.pt")


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("wrong", ["wav2vec/wav2vec.pt", "roberta/model.pt", "fabnet/fabnet.pt", "roberta/dict.txt"])
def test_a_file_of_another_kind_is_an_error(checkpoints, file, wrong):
    modality, name = FILES[file]
    if name not in wrong or wrong.endswith(".txt"):
        with pytest.raises(MMFairseqError, match=wrong.rpartition("/")[2]):
            load(modality, name, checkpoints / wrong)


@pytest.mark.parametrize("name", ["wav2vec", "roberta", "fabnet"])
def test_broken_files_are_errors(checkpoints, tmp_path, name):
    file, modality = next((file, modality) for file, (modality, other) in FILES.items() if other == name)
    whole = (checkpoints / file).read_bytes()
    contents = {"empty.pt": b"", "half.pt": whole[: len(whole) // 2], "noise.pt": bytes(range(256)) * 8}
    for broken, content in contents.items():
        (tmp_path / broken).write_bytes(content)
        with pytest.raises(MMFairseqError, match=rf"{broken}: not a readable checkpoint"):
            load(modality, name, tmp_path / broken)
    with pytest.raises(MMFairseqError, match=r"absent\.pt: no such"):
        load(modality, name, tmp_path / "absent.pt")


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["wav2vec", "roberta", "fabnet"])
def test_foreign_code_is_not_run(tmp_path, name):
    modality = next(modality for modality, other in FILES.values() if other == name)
    torch.save({"model": {}, "args": Namespace(trap=Trap(tmp_path / "sprung"))}, tmp_path / "trap.pt")
    with pytest.raises(MMFairseqError, match=r"trap\.pt: not a readable checkpoint"):
        load(modality, name, tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


LAYER = "[(512, 10, 5)]"


@pytest.mark.parametrize(
    "value",
    [
        "__import__('pathlib').Path('{path}').touch()",
        "[(512, 10, 5)] + [__import__('pathlib').Path('{path}').touch()]",
        "[(512, 10, 5)] * 10**9",
        "[(512, 10, 5)] * 65",
        "(" * 5000,
        "[(512, 10)]",
        "[(512, 10, 0)]",
        "[('a', 10, 5)]",
        "[(99999, 10, 5)]",
        "",
        "[]",
        7,
        [[1, 2, "x"]],
    ],
)
def test_hostile_layer_strings_have_no_effect(checkpoints, tmp_path, value):
    state = torch.load(checkpoints / "wav2vec/wav2vec.pt", weights_only=True)
    sprung = tmp_path / "sprung"
    state["cfg"]["model"]["conv_feature_layers"] = value.format(path=sprung) if isinstance(value, str) else value
    torch.save(state, tmp_path / "hostile.pt")
    with pytest.raises(MMFairseqError, match=r"hostile\.pt: conv_feature_layers"):
        load("audio", "wav2vec", tmp_path / "hostile.pt")
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("activation", "tanh"), ("aggregator", "gru"), ("residual_scale", "0.5"), ("log_compression", "yes")],
)
def test_wav2vec_options_are_checked(checkpoints, tmp_path, option, value):
    state = torch.load(checkpoints / "wav2vec/wav2vec.pt", weights_only=True)
    state["cfg"]["model"][option] = value
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(MMFairseqError, match=rf"odd\.pt.*{option}.*{value}"):
        load("audio", "wav2vec", tmp_path / "odd.pt")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("activation_fn", "__import__('os')"),
        ("encoder_attention_heads", 7),
        ("encoder_layers", "two"),
        ("dropout", [1]),
    ],
)
def test_roberta_options_are_checked(checkpoints, tmp_path, option, value):
    state = torch.load(checkpoints / "roberta/model.pt", weights_only=True)
    setattr(state["cfg"]["model"], option, value)
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(MMFairseqError, match=r"roberta|odd"):
        load("text", "roberta", tmp_path / "odd.pt")

"""wav2vec 2.0 and its kin against fairseq's own classes, on files of the public forms."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from public_files import features, load, plain
from speech_models import ARCHITECTURES, LARGE, TASKS, make, saved, states
from torch import nn

from mm_fairseq.backbones import BackboneSet
from mm_fairseq.errors import MMFairseqError

NAMES = sorted(ARCHITECTURES)


@pytest.mark.parametrize("form", ["args", "cfg"])
@pytest.mark.parametrize("options", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("name", NAMES)
def test_every_state_equals_upstream(tmp_path, name, options, form):
    model, path = saved(tmp_path, name, form, **options)
    x = torch.randn(1, 2003)
    normalised = F.layer_norm(x, x.shape) if TASKS[name]["normalize"] else x
    expected = states(name, model, normalised)
    for layer, number in (("last", 3), (3, 3), (2, 2), (-4, 0), (0, 0)):
        found = features(load("audio", f"{name}:{path},layer={layer}"), "audio", x)
        torch.testing.assert_close(found, expected[number], atol=1e-5, rtol=1e-5)
    encoder = load("audio", f"{name}:{path},layer=weighted").encoders["audio"]
    with torch.no_grad():
        found = encoder(x, torch.zeros(x.shape, dtype=torch.bool)).x
    assert found.size(1) % 2 == 1  # upstream makes an even number of frames of it
    assert encoder.states == 4
    torch.testing.assert_close(found, torch.cat(expected, 2), atol=1e-5, rtol=1e-5)
    assert (expected[2] - expected[3]).abs().max() > 0.1


@pytest.mark.parametrize("normalize", [True, False])
def test_samples_are_normalised_as_the_file_says(tmp_path, normalize):
    model, path = saved(tmp_path, "wav2vec2", task={"normalize": normalize})
    x = 0.2 + 0.3 * torch.randn(1, 2000)
    expected = states("wav2vec2", model, F.layer_norm(x, x.shape) if normalize else x)[-1]
    torch.testing.assert_close(features(load("audio", f"wav2vec2:{path}"), "audio", x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", ["last", 1, "weighted"])
@pytest.mark.parametrize("options", [{}, LARGE], ids=["base", "large"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_padded_equals_alone(tmp_path, name, options, normalize, layer):
    _, path = saved(tmp_path, name, task={"normalize": normalize}, **options)
    encoder = load("audio", f"{name}:{path},layer={layer}").encoders["audio"]
    lengths = torch.tensor([3000, 1777, 640, encoder.receptive_field, encoder.receptive_field - 1])
    mask = torch.arange(3000) >= lengths[:, None]
    x = torch.randn(5, 3000)
    x[mask] = float("nan")
    with torch.no_grad():
        batch = encoder(x, mask)
        for row, length in enumerate(lengths[:4]):
            alone = encoder(x[row : row + 1, :length], mask[row : row + 1, :length]).x[0]
            torch.testing.assert_close(batch.x[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)
            assert (~batch.padding_mask[row]).sum() == len(alone) > 0
            assert (batch.x[row, len(alone) :] == 0).all()
    assert batch.padding_mask[4].all()
    assert (batch.x[4] == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["args", "cfg", "seq2seq"])
def test_fine_tuned_files_give_the_encoder_inside(tmp_path, name, form):
    config, model = make(name)
    expected = states(name, model, x := torch.randn(1, 2000))[-1]
    model.remove_pretraining_modules() if name != "data2vec" else setattr(model, "final_proj", None)
    model.ema = None
    task = {**TASKS[name], "normalize": False}
    inner, outer = plain(config) | {"_name": ARCHITECTURES[name]}, {"dropout": 0.0, "_name": "wav2vec_ctc"}
    head = {"w2v_model": model, "proj": nn.Linear(24, 32)}
    if form == "args":
        inner = Namespace(**{**inner, **task, "arch": inner["_name"]})
        state = {"args": Namespace(arch="wav2vec_ctc", w2v_args=inner, **task)}
    else:
        state = {"cfg": {"model": outer | {"w2v_args": {"model": inner, "task": task}}, "task": task}, "args": None}
    whole = nn.ModuleDict({"encoder" if form == "seq2seq" else "w2v_encoder": nn.ModuleDict(head)})
    torch.save(state | {"model": whole.state_dict()}, tmp_path / "ctc.pt")
    backbones = load("audio", f"{name}:{tmp_path / 'ctc.pt'}")
    torch.testing.assert_close(features(backbones, "audio", x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_dropout_in_training_is_upstreams(tmp_path, name):
    dropouts = {"dropout": 0.2, "attention_dropout": 0.3, "activation_dropout": 0.1, "dropout_input": 0.4}
    model, path = saved(
        tmp_path, name, task={"normalize": False}, required_seq_len_multiple=1, encoder_layerdrop=0.5, **dropouts
    )
    encoder, x = load("audio", f"{name}:{path}").encoders["audio"].train(), torch.randn(1, 2000)
    model.train().encoder.layerdrop = 0.0  # no layer is skipped here
    model.ema = None
    torch.manual_seed(1)
    expected = model.extract_features(x, padding_mask=None, mask=False)
    expected = expected[0] if name == "hubert" else expected["x"]
    torch.manual_seed(1)
    found = encoder(x, torch.zeros(x.shape, dtype=torch.bool)).x
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_fine_tuned_files_need_the_options_of_the_encoder(tmp_path):
    _, model = make("wav2vec2")
    whole = nn.ModuleDict({"w2v_encoder": nn.ModuleDict({"w2v_model": model})})
    torch.save({"args": Namespace(arch="wav2vec_ctc"), "model": whole.state_dict()}, tmp_path / "ctc.pt")
    with pytest.raises(MMFairseqError, match=r"ctc\.pt: a fine-tuned model without w2v_args"):
        load("audio", f"wav2vec2:{tmp_path / 'ctc.pt'}")


def test_options_may_be_omegaconf_nodes(tmp_path):
    model, path = saved(tmp_path, "wav2vec2")
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"]["final_dim"] = "${task.final_dim}"
    torch.save(state | {"cfg": OmegaConf.create(state["cfg"])}, path)
    x = torch.randn(1, 2000)
    expected = states("wav2vec2", model, x)[-1]
    torch.testing.assert_close(features(load("audio", f"wav2vec2:{path}"), "audio", x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("layer", "layers"), [("last", 3), (2, 2), (-2, 2), (0, 0), ("weighted", 3)])
def test_layers_that_do_not_run_do_not_learn(tmp_path, layer, layers):
    _, path = saved(tmp_path, "wav2vec2", **LARGE)
    encoder = load("audio", f"wav2vec2:{path},layer={layer}").encoders["audio"]
    assert encoder.layers() == list(encoder.encoder.layers[:layers])
    backbones = BackboneSet(
        {"audio": {"name": "wav2vec2", "args": {**TINY, "layer": layer, "layer_norm_first": True}, "frozen": False}}
    ).train()
    x = torch.randn(1, 2000)
    out = backbones({"audio": x}, {"audio": torch.zeros(x.shape, dtype=torch.bool)})["audio"].x
    out.square().sum().backward()
    learning = {name for name, weight in backbones.named_parameters() if weight.requires_grad}
    assert learning == {name for name, weight in backbones.named_parameters() if weight.grad is not None}


TINY = {
    "conv_feature_layers": [[8, 10, 5], [8, 3, 2]],
    "encoder_layers": 3,
    "encoder_embed_dim": 8,
    "encoder_ffn_embed_dim": 8,
    "encoder_attention_heads": 2,
    "conv_pos": 8,
    "conv_pos_groups": 2,
}


@pytest.mark.parametrize(
    ("layer", "allowed"),
    [(4, "-4 to 3"), (-5, "-4 to 3"), ("first", "last, weighted"), (1.5, "a whole number or a word")],
)
def test_a_layer_that_is_not_there_is_an_error(tmp_path, layer, allowed):
    _, path = saved(tmp_path, "hubert")
    with pytest.raises(MMFairseqError, match=rf"layer=.*{allowed}"):
        load("audio", f"hubert:{path},layer={layer}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", [*NAMES, "wav2vec"])
def test_another_architecture_is_an_error(tmp_path, checkpoints, name, other):
    path = checkpoints / "wav2vec" / "wav2vec.pt" if other == "wav2vec" else saved(tmp_path, other)[1]
    if name != other:
        with pytest.raises(MMFairseqError, match=rf"\.pt: the architecture in the file is '{other}.*expected {name}"):
            load("audio", f"{name}:{path}")


OPTIONS = [
    ("sample_rate", 8000, "sample_rate is 8000.*16000"),
    ("layer_type", "conformer", "layer_type is 'conformer'; allowed: transformer"),
    ("layer_type", "trf_adp", "layer_type is 'trf_adp'; allowed: transformer"),
    ("quantize_input", True, "quantize_input"),
    ("crop_seq_to_multiple", 2, "crop_seq_to_multiple"),
    ("conv_pos_batch_norm", True, "conv_pos_batch_norm"),
    ("extractor_mode", "batch_norm", "extractor_mode is 'batch_norm'; allowed: default, layer_norm"),
    ("activation_fn", "__import__('os')", "activation_fn"),
    ("encoder_layers", 10**9, "encoder_layers is 1000000000; allowed: 0 to 64"),
    ("encoder_embed_dim", -8, "encoder_embed_dim"),
    ("encoder_attention_heads", "4", "encoder_attention_heads is '4'"),
    ("encoder_attention_heads", 7, "does not take"),
    ("dropout", 2.0, "does not take"),
    ("normalize", "yes", "normalize is 'yes'"),
    ("encoder_layers", 2, "weights do not fit"),
]


@pytest.mark.parametrize("form", ["args", "cfg"])
@pytest.mark.parametrize(("option", "value", "told"), OPTIONS)
def test_wrong_options_are_errors(tmp_path, form, option, value, told):
    _, path = saved(tmp_path, "wav2vec2", form)
    state = torch.load(path, weights_only=True)
    cfg = state.get("cfg")
    part = vars(state["args"]) if cfg is None else cfg["task" if option in TASKS["wav2vec2"] else "model"]
    part[option] = value
    torch.save(state, path)
    with pytest.raises(MMFairseqError, match=told):
        load("audio", f"wav2vec2:{path}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [
        "__import__('pathlib').Path('{path}').touch()",
        "[(512, 10, 5)] + [__import__('pathlib').Path('{path}').touch()]",
        "[(512, 10, 5)] * 10**9",
    ],
)
def test_hostile_layer_strings_have_no_effect(tmp_path, name, value):
    _, path = saved(tmp_path, name)
    state = torch.load(path, weights_only=True)
    state["cfg"]["model"]["conv_feature_layers"] = value.format(path=tmp_path / "sprung")
    torch.save(state, path)
    with pytest.raises(MMFairseqError, match=r"model\.pt: conv_feature_layers"):
        load("audio", f"{name}:{path}")
    assert not (tmp_path / "sprung").exists()


KEYS = ["encoder.pos_conv.0.weight_g", "encoder.layers.2.fc1.weight", "post_extract_proj.weight", "layer_norm.bias"]


@pytest.mark.parametrize("key", [*KEYS, "feature_extractor.conv_layers.0.2.weight", "encoder.layer_norm.weight"])
def test_a_missing_weight_is_an_error_even_of_a_layer_that_does_not_run(tmp_path, key):
    _, path = saved(tmp_path, "wav2vec2")
    state = torch.load(path, weights_only=True)
    del state["model"][key]
    torch.save(state, path)
    with pytest.raises(MMFairseqError, match=rf"(?s)model\.pt: weights do not fit.*{key}"):
        load("audio", f"wav2vec2:{path},layer=1")


def test_an_unknown_weight_is_an_error(tmp_path):
    _, path = saved(tmp_path, "wav2vec2")
    state = torch.load(path, weights_only=True)
    torch.save(state | {"model": state["model"] | {"adapter.fc.weight": torch.zeros(1)}}, path)
    with pytest.raises(MMFairseqError, match=r"model\.pt: weights that no wav2vec2 has: adapter\.fc\.weight"):
        load("audio", f"wav2vec2:{path}")


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", NAMES)
def test_broken_and_foreign_files_are_errors(tmp_path, name):
    _, path = saved(tmp_path, name)
    whole = path.read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    torch.save({"model": {}, "args": Namespace(trap=Trap(tmp_path / "sprung"))}, tmp_path / "trap.pt")
    for broken in ("half.pt", "trap.pt"):
        with pytest.raises(MMFairseqError, match=rf"{broken}: not a readable checkpoint"):
            load("audio", f"{name}:{tmp_path / broken}")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("state", [{"args": 5}, {"cfg": 5}, {"cfg": {"model": 5}}, {"cfg": {"model": {}, "task": 5}}])
def test_options_of_another_type_are_errors(tmp_path, state):
    torch.save(state | {"model": {}}, tmp_path / "odd.pt")
    with pytest.raises(MMFairseqError, match=r"odd\.pt"):
        load("audio", f"wav2vec2:{tmp_path / 'odd.pt'}")

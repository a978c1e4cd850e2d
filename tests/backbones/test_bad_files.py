"""Files with the right type of content and odd weights in it: one error that names the file."""

import pytest
import torch
from public_files import load

from mm_fairseq.backbones import build
from mm_fairseq.errors import MMFairseqError

EMBED, BIAS = "sentence_encoder.embed_tokens.weight", "decoder.sentence_encoder.layers.0.self_attn.in_proj_bias"


def changed(weights, key, value):
    """Weights with the one whose name ends on `key` replaced, left out if the new one is None."""
    out = {name: old for name, old in weights.items() if not name.endswith(key)}
    return out if value is None else {**out, "encoder." + key.removeprefix("decoder."): value}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda weights: [1], "the weights are a list"),
        (lambda weights: {**weights, 3: torch.zeros(1)}, "named 3"),
        (lambda weights: changed(weights, EMBED, None), "embed_tokens.weight is missing"),
        (lambda weights: changed(weights, EMBED, torch.tensor(1.0)), r"embed_tokens.weight is of shape \(\)"),
        (lambda weights: changed(weights, BIAS, torch.zeros(2)), r"in_proj_bias is of shape \(2,\)"),
    ],
)
def test_roberta(checkpoints, tmp_path, change, words):
    state = torch.load(checkpoints / "roberta_args/model.pt", weights_only=True)
    torch.save({**state, "model": change(state["model"])}, tmp_path / "odd.pt")
    with pytest.raises(MMFairseqError, match=rf"odd\.pt: .*{words}"):
        load("text", f"roberta:{tmp_path / 'odd.pt'}")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ([1, 2], "are a list"),
        ({3: torch.zeros(1)}, "named 3"),
        (None, "no `model`.*'1', 'a"),
    ],
)
def test_wav2vec(checkpoints, tmp_path, model, words):
    state = torch.load(checkpoints / "wav2vec/wav2vec_args.pt", weights_only=True)
    state["model"], state[1] = model, 2
    torch.save({"args": state["args"], 1: 2, "a": 3} if model is None else state, tmp_path / "odd.pt")
    with pytest.raises(MMFairseqError, match=rf"odd\.pt: .*{words}"):
        load("audio", f"wav2vec:{tmp_path / 'odd.pt'}")


@pytest.mark.parametrize("weights", [[1, 2], torch.zeros(3), {1: torch.zeros(1), "encoder.0.weight": torch.zeros(1)}])
def test_fabnet_and_r3d(tmp_path, weights):
    torch.save({"state_dict": weights}, tmp_path / "odd.pt")
    with pytest.raises(MMFairseqError, match=r"odd\.pt: (the weights are a (list|Tensor)|a weight is named 1)"):
        load("video", f"fabnet:{tmp_path / 'odd.pt'}")
    torch.save(weights if isinstance(weights, dict) else {"stem.0.weight": weights}, tmp_path / "odd.pt")
    with pytest.raises(MMFairseqError, match=r"odd\.pt: "):
        load("video", f"r3d_18:{tmp_path / 'odd.pt'}")


def test_vq_wav2vec_has_the_codes_that_it_asks_for(checkpoints, tmp_path):
    state = torch.load(checkpoints / "vq_wav2vec/vq-wav2vec_kmeans.pt", weights_only=True)
    options = vars(state["args"]) if state.get("args") else state["cfg"]["model"]
    options["vq_vars"] = 16000
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(MMFairseqError, match=r"odd\.pt: vq_vars is 16000, more than"):
        load("audio", f"vq_wav2vec:{tmp_path / 'odd.pt'}")


@pytest.mark.parametrize("name", ["wav2vec", "vq_wav2vec"])
def test_activations_are_named(name):
    with pytest.raises(MMFairseqError, match="activation='exec': allowed are relu, gelu"):
        build({"name": name, "args": {"activation": "exec"}})


@pytest.mark.parametrize(
    ("name", "size"), [*(("mfcc", each) for each in ("n_mfcc", "n_fft", "hop", "n_mels")), ("logmel", "n_fft")]
)
def test_spectra_have_sizes(name, size):
    with pytest.raises(MMFairseqError, match=f"{size}=0: at least 1"):
        build({"name": name, "args": {size: 0}})


def test_the_norm_behind_the_last_layer_of_a_roberta_learns_only_if_it_runs():
    args = {"vocabulary": 9, "encoder_layers": 2, "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 8}
    args |= {"encoder_attention_heads": 2, "encoder_normalize_before": True}
    for layer, learns in ((1, False), (2, True), ("weighted", True)):
        norm = build({"name": "roberta", "args": args | {"layer": layer}}).encoder.sentence_encoder.layer_norm
        assert norm.weight.requires_grad == norm.bias.requires_grad == learns

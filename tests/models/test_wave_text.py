"""wave_text: a sample's logits do not depend on its batch, whichever of its modalities are there."""

import math

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from small_backbones import entry, items
from task_factory import task_of
from torch import nn

from mm_fairseq.datasets.collate import pad
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.models.wave_text import WaveText, WaveTextConfig

LIKE = {"audio": np.zeros(0, np.float32), "text": np.zeros(0, np.int64)}
LENGTHS = {"audio": (4000, 1700, 3999, 400), "text": (9, 3, 8, 2)}
OUTPUTS = {"action": 3, "object": 4, "location": 2}
SIMPLE = {"audio": "wave_pieces", "text": "embedding"}
SUBSETS = [("audio",), ("text",), ("audio", "text")]
SIZES = {"d_model": 8, "num_heads": 2, "ffn_dim": 16}


def model_of(names=("audio", "text"), backbones=SIMPLE, **options):
    torch.manual_seed(0)
    cfg = WaveTextConfig(**{**SIZES, **options})
    cfg.backbone_args = {name: entry(backbones[name]) for name in names}
    return WaveText(cfg, OUTPUTS).eval()


def rows_of(names=("audio", "text"), gaps=()):
    made = {name: items(name, LENGTHS[name]) for name in names}
    return [{name: None if (name, row) in gaps else made[name][row] for name in names} for row in range(4)]


def net_input(rows, device="cpu"):
    padded = {name: pad([row[name] for row in rows], int(name == "text"), LIKE[name]) for name in rows[0]}
    return {
        "inputs": {name: x.to(device) for name, (x, _) in padded.items()},
        "padding_masks": {name: mask.to(device) for name, (_, mask) in padded.items()},
    }


def logits_of(model, rows):
    with torch.no_grad():
        out = model(**net_input(rows, next(model.parameters()).device))["logits"]
    assert {name: each.shape[1] for name, each in out.items()} == OUTPUTS
    return torch.cat([out[name] for name in sorted(OUTPUTS)], dim=-1).cpu()


CASES = [(names, SIMPLE) for names in SUBSETS] + [(("audio", "text"), {"audio": "mfcc", "text": "roberta"})]


@pytest.mark.parametrize(("names", "backbones"), CASES, ids=["+".join(k[n] for n in names) for names, k in CASES])
def test_alone_equals_batched(names, backbones, device):
    model, rows = model_of(names, backbones).to(device), rows_of(names)
    together = logits_of(model, rows)
    alone = torch.cat([logits_of(model, [row]) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3  # the input does matter


def test_what_stands_in_the_padding_is_not_seen():
    model, given = model_of(), net_input(rows_of())
    expected = model(**given)["features"]["fused"]
    for name, x in given["inputs"].items():
        x[given["padding_masks"][name]] = 7
    torch.testing.assert_close(model(**given)["features"]["fused"], expected, atol=1e-5, rtol=1e-5)


GAPS = {
    "one each": {("audio", 0), ("text", 1)},
    "nothing in row 1": {("audio", 1), ("text", 1)},
    "no audio at all": {("audio", row) for row in range(4)},
    "no text at all": {("text", row) for row in range(4)},
    "nothing at all": {(name, row) for row in range(4) for name in LIKE},
}


@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS)
def test_missing_modalities_are_the_same_in_any_company(gaps):
    model, rows = model_of(), rows_of(gaps=gaps)
    together = logits_of(model, rows)
    assert together.isfinite().all()
    torch.testing.assert_close(together, torch.cat([logits_of(model, [row]) for row in rows]), atol=1e-5, rtol=1e-5)
    untouched = [row for row in range(4) if not any((name, row) in gaps for name in LIKE)]
    torch.testing.assert_close(together[untouched], logits_of(model, rows_of())[untouched], atol=1e-5, rtol=1e-5)


def test_a_row_without_text_is_answered_from_its_audio_alone_and_the_other_way_round():
    model = model_of()
    rows = rows_of(gaps={("text", 1), ("audio", 2)})
    before = logits_of(model, rows)
    alone = model_of(("audio",))
    alone.load_state_dict(
        {key: value for key, value in model.state_dict().items() if not key.startswith("cross") and ".text." not in key}
    )
    torch.testing.assert_close(before[1:2], logits_of(alone, [{"audio": rows[1]["audio"]}]), atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        for layer in model.encoders["audio"].layers:
            layer.linear1.weight.normal_()
    change = (logits_of(model, rows) - before).abs().amax(1)
    assert change[2] == 0
    assert change[[0, 1, 3]].min() > 1e-4


def test_layers_are_torchs_and_the_answer_is_position_zero():
    """The same by torch's own modules over whole sequences, row by row."""
    model, rows = model_of(), rows_of()
    sizes = (SIZES["d_model"], SIZES["num_heads"], SIZES["ffn_dim"], 0.0)

    def positions(count):
        angle = torch.arange(count)[:, None] / 10000 ** (torch.arange(0, 8, 2) / 8)
        return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)

    def self_attended(name, x):
        x = x + positions(x.size(1))
        for ours in model.encoders[name].layers:
            layer = nn.TransformerEncoderLayer(*sizes, batch_first=True).eval()
            layer.load_state_dict(ours.state_dict())
            x = layer(x)
        return x

    for row in rows:
        samples = torch.from_numpy(row["audio"])
        samples = (samples - samples.mean()) / samples.std(correction=0)
        linear = model.backbones.encoders["audio"].pieces.linear
        filled = nn.functional.pad(samples, (0, -len(samples) % linear.in_features))
        audio = self_attended("audio", linear(filled.view(1, -1, linear.in_features)))
        text = self_attended("text", model.backbones.encoders["text"].table(torch.from_numpy(row["text"]))[None])
        for ours in model.cross:
            attention = nn.MultiheadAttention(SIZES["d_model"], SIZES["num_heads"], batch_first=True).eval()
            attention.load_state_dict(ours.self_attn.state_dict())
            text = ours.norm1(text + attention(text, audio, audio)[0])
            text = ours.norm2(text + ours.linear2(ours.linear1(text).relu()))
        expected = torch.cat([model.heads.out[f"to_{name}"](text[:, 0]) for name in sorted(OUTPUTS)], -1)
        torch.testing.assert_close(logits_of(model, [row]), expected.detach(), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_gradients_reach_every_parameter(names):
    model = model_of(names, dropout=0.0).train()
    rows = rows_of(names)
    logits = model(**net_input(rows))["logits"]
    sum((each * torch.randn_like(each)).sum() for each in logits.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().max() > 0, name


def test_of_a_batch_without_text_every_parameter_still_has_a_gradient():
    """DistributedDataParallel waits for all of them."""
    model = model_of().train()
    logits = model(**net_input(rows_of(gaps=GAPS["no text at all"])))["logits"]
    sum(each.sum() for each in logits.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_initialisation_keeps_constants_out_of_the_parameters():
    """The original's first defect: scores divided and embeddings multiplied by numbers near 0."""
    model = model_of(d_model=64, num_heads=8)
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 * (3 + 2 + 2)
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)
    assert not [name for name, _ in model.named_parameters() if "position" in name or "scale" in name]
    for part in (model.encoders, model.cross, model.heads):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                bound = math.sqrt(6 / sum(module.weight.shape))
                assert 0.8 * bound < module.weight.abs().max() <= bound
                assert (module.bias == 0).all()


def test_dropout_is_drawn_in_training_alone():
    model, rows = model_of(), rows_of()
    assert torch.equal(logits_of(model, rows), logits_of(model, rows))
    model.train()
    assert not torch.equal(logits_of(model, rows), logits_of(model, rows))


def test_limits_are_those_of_the_options():
    model = model_of(max_len_for_audio=5, max_len_for_text=7)
    assert model.input_limits() == {"audio": (1, 2000), "text": (1, 7)}
    long = [{"audio": items("audio", [400 * 200])[0], "text": items("text", [300])[0]}]
    assert logits_of(model, long).isfinite().all()  # positions are computed, however long


def test_no_self_attention_at_all():
    model = model_of(text_representation_layers=0, audio_representation_layers=0, cross_attention_layers=0)
    assert logits_of(model, rows_of()).isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_heads": 3}, "--num-heads 3 does not divide --d-model 8"),
        ({"num_heads": 0}, "--num-heads 0: at least 1"),
        ({"d_model": -8}, "--d-model -8"),
        ({"dropout": 1.0}, r"--dropout 1\.0"),
        ({"cross_attention_layers": -1}, "--cross-attention-layers -1: must not be negative"),
        ({"max_len_for_text": 0}, "--max-len-for-text 0"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(MMFairseqError, match=words):
        model_of(**options)


def test_video_is_refused():
    cfg = WaveTextConfig(**SIZES)
    cfg.backbone_args = {"text": entry("embedding"), "video": entry("fabnet")}
    with pytest.raises(MMFairseqError, match="not video: --modalities audio,text"):
        WaveText(cfg, OUTPUTS)


def built(data_bin, **options):
    cfg = OmegaConf.create({**vars(WaveTextConfig()), **SIZES, "_name": "wave_text", **options})
    return task_of(data_bin, modalities="audio,text").build_model(cfg), cfg


def test_options_reach_the_backbones(data_bin):
    model, cfg = built(data_bin, audio_split_samples=500)
    assert cfg.backbone_args["audio"]["args"] == {"samples": 500, "dim": 8}
    assert cfg.backbone_args["text"]["args"]["dim"] == 8
    assert isinstance(model.encoders["audio"].project, nn.Identity)
    copy = WaveText(cfg, model_outputs(model))  # from what the checkpoint holds alone
    copy.load_state_dict(model.state_dict())
    rows = rows_of()
    given = net_input(rows)
    given["inputs"]["text"].clamp_(max=5)
    with torch.no_grad():
        found, expected = (each.eval()(**given)["features"]["fused"] for each in (copy, model))
    torch.testing.assert_close(found, expected)


def model_outputs(model):
    return {key.removeprefix("to_"): layer.out_features for key, layer in model.heads.out.items()}


def test_another_backbone_is_projected_and_its_own_options_win(data_bin):
    model, cfg = built(data_bin, audio_backbone="mfcc:n_mfcc=5,n_mels=16", text_backbone="embedding:dim=6")
    assert {name: encoder.project.in_features for name, encoder in model.encoders.items()} == {"audio": 5, "text": 6}
    _, cfg = built(data_bin, audio_backbone="wave_pieces:samples=250")
    assert cfg.backbone_args["audio"]["args"]["samples"] == 250


@pytest.mark.parametrize("backbone", ["mfcc", "wave_pieces:samples=250"])
def test_pieces_of_a_size_that_nothing_has_are_refused(data_bin, backbone):
    with pytest.raises(MMFairseqError, match=rf"--audio-split-samples 500: .*--audio-backbone is {backbone}"):
        built(data_bin, audio_backbone=backbone, audio_split_samples=500)

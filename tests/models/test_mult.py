"""crossmodal_mult: a sample's logits do not depend on its batch, whatever is missing in it or beside it."""

import math
from functools import partial
from itertools import combinations

import model_rows
import pytest
import torch
from model_rows import GAPS, batch_of, logits_of
from omegaconf import OmegaConf
from small_backbones import entry
from torch import nn

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import MODALITIES
from mm_fairseq.models.mult import CrossmodalMult, CrossmodalMultConfig
from mm_fairseq.modules.pooling import POOLINGS

OUTPUTS = {"emotion": 4, "sentiment": 1}
LENGTHS = {"audio": (4000, 900, 560, 400), "text": (9, 3, 5, 2), "video": (2, 1, 3, 1)}  # audio: 23, 4, 2 and 1 frames
BACKBONES = {"audio": "mfcc", "text": "embedding", "video": "fabnet"}
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(MODALITIES, size)]


def model_of(names, **options):
    torch.manual_seed(0)
    cfg = CrossmodalMultConfig(**{"d_model": 8, "layers": 2, "num_heads": 2, **options})
    cfg.backbone_args = {name: entry(BACKBONES[name]) for name in names}
    model = CrossmodalMult(cfg, OUTPUTS)
    for parameter in model.parameters():
        if parameter.dim() > 1:  # wide enough for differences to be seen
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model.eval()


rows_of = partial(model_rows.rows_of, LENGTHS)


@pytest.mark.parametrize("options", [{}, {"attn_mask": True, "merge_how": "average"}, {"merge_how": "attentive"}])
@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_alone_equals_batched(names, options, device):
    model = model_of(names, **options).to(device)
    rows = rows_of(names)
    together = logits_of(model, rows, names)
    alone = torch.cat([logits_of(model, [row], names) for row in rows])
    assert together.shape == (4, 5)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-4  # the input does matter


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_any_kernel_keeps_rows_apart(kernel):
    names = ("audio", "text")
    model, rows = model_of(names, conv_kernel=kernel), rows_of(names)
    alone = torch.cat([logits_of(model, [row], names) for row in rows])
    torch.testing.assert_close(logits_of(model, rows, names), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("how", POOLINGS)
@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS)
def test_missing_modalities_are_the_same_in_any_company(gaps, how):
    names = MODALITIES
    model, rows = model_of(names, merge_how=how), rows_of(names, gaps)
    together = logits_of(model, rows, names)
    alone = torch.cat([logits_of(model, [row], names) for row in rows])
    assert together.isfinite().all()
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    untouched = [row for row in range(4) if not any((name, row) in gaps for name in names)]
    whole = logits_of(model, rows_of(names), names)
    torch.testing.assert_close(together[untouched], whole[untouched], atol=1e-5, rtol=1e-5)


def fused_of(model, rows, names):
    """What comes out of the fusion, before the residual layer."""
    found = []
    hook = model.fusion.register_forward_hook(lambda module, args, out: found.append(out))
    logits_of(model, rows, names)
    hook.remove()
    return found[0]


def test_a_missing_modality_is_zeros_and_adds_nothing():
    names = MODALITIES
    model = model_of(names)
    before = fused_of(model, rows_of(names, {("audio", 1)}), names)
    assert (before[1, :16] == 0).all()
    assert (before[[0, 2, 3], :16] != 0).all()
    with torch.no_grad():  # of attention to audio, nothing is left in row 1
        for name in ("text_from_audio", "video_from_audio"):
            for layer in model.fusion.cross[name].layers:
                layer.self_attn.in_proj_weight.normal_()
                layer.self_attn.out_proj.bias.normal_()
    change = (fused_of(model, rows_of(names, {("audio", 1)}), names) - before).abs().amax(1)
    assert change[1] == 0
    assert change[[0, 2, 3]].min() > 1e-4


@pytest.mark.parametrize("how", POOLINGS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_gradients_reach_every_parameter(names, training, how):
    model = model_of(names, merge_how=how).train(training)
    out = model(*batch_of(rows_of(names), names))["logits"]
    (out["emotion"].logsumexp(-1).sum() + out["sentiment"].square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("training", [True, False])
def test_an_utterance_with_nothing_gives_finite_gradients(training):
    names = MODALITIES
    model = model_of(names).train(training)
    for rows in (rows_of(names, GAPS["nothing in row 1"]), rows_of(names, GAPS["nothing at all"])):
        model.zero_grad()
        out = model(*batch_of(rows, names))["logits"]
        loss = out["emotion"].logsumexp(-1).sum() + out["sentiment"].sum()
        loss.backward()
        assert loss.isfinite()
        grads = {name: p.grad for name, p in model.named_parameters()}
        assert not [name for name, grad in grads.items() if grad is None]  # which DDP would not bear
        assert all(grad.isfinite().all() for grad in grads.values())


def test_what_attends_to_what():
    """Three modalities: six cross-modal transformers, memories of at least 3 layers at twice the width."""
    model = model_of(MODALITIES, layers=2, attn_dropout=0.3, attn_dropout_a=0.1, attn_dropout_v=0.2)
    assert len(model.fusion.cross) == 6
    for name, transformer in model.fusion.cross.items():
        expected = {"audio": 0.1, "text": 0.3, "video": 0.2}[name.split("_from_")[1]]
        assert [layer.self_attn.dropout for layer in transformer.layers] == [expected] * 2
    for transformer in model.fusion.memory.values():
        assert [layer.self_attn.dropout for layer in transformer.layers] == [0.3] * 3
        assert transformer.layers[0].self_attn.embed_dim == 16
    assert model.fusion.out_dim == 3 * 16
    pair = model_of(("audio", "text"))
    assert sorted(pair.fusion.cross) == ["audio_from_text", "text_from_audio"]
    assert [len(transformer.layers) for transformer in pair.fusion.memory.values()] == [2, 2]
    assert pair.fusion.out_dim == 16
    single = model_of(("audio",), attn_dropout_a=0.1)
    assert not single.fusion.cross
    assert single.fusion.memory["audio"].layers[0].self_attn.dropout == 0.1


def test_residual_layer_by_hand():
    model = model_of(("text",))
    rows = rows_of(("text",))
    fused = fused_of(model, rows, ("text",))
    first, _, _, second = model.residual.inner
    with torch.no_grad():
        expected = second(first(fused).relu()) + fused
        inputs, masks = batch_of(rows, ("text",))
        torch.testing.assert_close(model(inputs, masks)["features"]["fused"], expected)


def test_audio_alone_as_the_original_has_it():
    model = model_of(("audio",), do_audio=True)
    assert not model.fusion.projections
    assert model.fusion.out_dim == model.backbones.dims["audio"] == 8
    rows = rows_of(("audio",))
    alone = torch.cat([logits_of(model, [row], ("audio",)) for row in rows])
    torch.testing.assert_close(logits_of(model, rows, ("audio",)), alone, atol=1e-5, rtol=1e-5)


def test_audio_alone_tells_of_sizes_that_it_does_not_have(caplog):
    model_of(("audio",), do_audio=True, conv_kernel=5)
    assert "--conv-kernel 5: --do-audio" in caplog.text


def test_the_mask_changes_the_result_and_goes_by_time():
    names = ("audio", "text")
    rows = rows_of(names)
    logits = [logits_of(model_of(names, attn_mask=mask, merge_how="average"), rows, names) for mask in (False, True)]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_input_limits_are_in_raw_units():
    names = MODALITIES
    limits = model_of(names, max_len_for_audio=10, max_len_for_text=24, max_len_for_video=7).input_limits()
    assert limits == {"audio": (400, 400 + 9 * 160), "text": (1, 24), "video": (1, 7)}


def test_half_precision_runs_through():
    names = MODALITIES
    model = model_of(names).half()
    assert logits_of(model, rows_of(names, {("audio", 1), ("video", 0)}), names).isfinite().all()
    assert logits_of(model, rows_of(names, GAPS["nothing at all"]), names).isfinite().all()


def test_saved_weights_give_the_same_logits(tmp_path):
    names = ("audio", "text")
    model, rows = model_of(names), rows_of(names)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    torch.manual_seed(1)
    other = CrossmodalMult(cfg_of(names), OUTPUTS).eval()
    assert not torch.equal(logits_of(other, rows, names), logits_of(model, rows, names))
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(logits_of(other, rows, names), logits_of(model, rows, names))


def cfg_of(names):
    cfg = CrossmodalMultConfig(d_model=8, layers=2, num_heads=2)
    cfg.backbone_args = {name: entry(BACKBONES[name]) for name in names}
    return cfg


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"merge_how": "max"}, r"--merge-how 'max'.*average, last, attentive"),
        ({"num_heads": 3}, r"--num-heads 3 does not divide --d-model 8"),
        ({"num_heads": 0}, r"--num-heads 0: at least 1"),
        ({"d_model": 0}, r"--d-model 0"),
        ({"layers": 0}, r"--layers 0"),
        ({"conv_kernel": 0}, r"--conv-kernel 0"),
        ({"attn_dropout_v": 1.0}, r"--attn-dropout-v 1.0: a probability"),
        ({"out_dropout": -0.1}, r"--out-dropout -0.1"),
        ({"embed_dropout": math.nan}, r"--embed-dropout nan"),
        ({"max_len_for_audio": 0}, r"--max-len-for-audio 0"),
        ({"max_len_for_video": -2}, r"--max-len-for-video -2"),
        ({"do_audio": True}, r"--do-audio.*audio, text.*--modalities audio"),
        ({"resample_rate": -1}, r"--resample-rate -1"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(MMFairseqError, match=words):
        model_of(("audio", "text"), **options)


def test_heads_must_divide_the_width_of_the_audio_features():
    with pytest.raises(MMFairseqError, match=r"--num-heads 3 does not divide.*width 8 \(--do-audio\)"):
        model_of(("audio",), do_audio=True, num_heads=3, d_model=9)


def defaults(**options):
    return CrossmodalMult.backbone_defaults(OmegaConf.structured(CrossmodalMultConfig(**options)))


def test_options_of_mfcc_reach_the_backbone():
    assert defaults() == {}
    given = {"resample_rate": 8000, "n_fft_size": 400, "n_mfcc": 40}
    assert defaults(**given) == {"audio": {"rate": 8000, "n_fft": 400, "hop": 200, "n_mfcc": 40}}
    assert defaults(resample_rate=8000) == {"audio": {"rate": 8000, "n_fft": 200, "hop": 100}}  # 25 ms
    assert defaults(n_mfcc=13, audio_backbone="mfcc:n_mfcc=13,hop=80") == {"audio": {"n_mfcc": 13}}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_mfcc": 20, "audio_backbone": "logmel"}, r"--n-mfcc 20: for --audio-backbone mfcc, not 'logmel'"),
        ({"n_fft_size": 200, "audio_backbone": "mfcc:n_fft=400"}, r"--n-fft-size 200, but.*'mfcc:n_fft=400'"),
    ],
)
def test_options_of_mfcc_are_for_mfcc(options, words):
    with pytest.raises(MMFairseqError, match=words):
        defaults(**options)


def test_options_of_mfcc_need_audio():
    with pytest.raises(MMFairseqError, match="--n-mfcc 20: the training has no audio"):
        model_of(("text",), n_mfcc=20)

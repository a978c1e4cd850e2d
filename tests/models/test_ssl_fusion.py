"""ssl_fusion: a sample's logits do not depend on its batch, whatever is missing in it or beside it."""

from functools import partial
from itertools import combinations

import model_rows
import numpy as np
import pytest
import torch
from model_rows import GAPS, batch_of, logits_of
from omegaconf import OmegaConf
from small_backbones import entry
from task_factory import task_of
from torch import nn

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import MODALITIES
from mm_fairseq.models.ssl_fusion import CROSS, FUSIONS, SemiEmo, SemiEmoConfig, SSLFusion, SSLFusionConfig
from mm_fairseq.modules.fusion import CoAttention, ShallowFusion

OUTPUTS = {"emotion": 4, "sentiment": 1}
LENGTHS = {"audio": (4000, 900, 2500, 1700), "text": (9, 3, 5, 4), "video": (2, 1, 1, 1)}
PRETRAINED = {"audio": "wav2vec", "text": "roberta", "video": "fabnet"}
SIMPLE = {"audio": "mfcc", "text": "embedding", "video": "fabnet"}
SUBSETS = [(subset, PRETRAINED) for size in (1, 2, 3) for subset in combinations(MODALITIES, size)]
SUBSETS += [(subset, SIMPLE) for subset in (("audio",), ("text",), ("audio", "text"))]


def model_of(names, fusion="inter_modal", backbones=SIMPLE, **options):
    torch.manual_seed(0)
    sizes = {"encoder_layers": 1, "encoder_layers_cross": 1, "encoder_attention_heads": 2, "encoder_ffn_embed_dim": 16}
    cfg = SSLFusionConfig(fusion=fusion, **{**sizes, "embed_dim": 8, **options})
    cfg.backbone_args = {name: entry(backbones[name]) for name in names}
    model = SSLFusion(cfg, OUTPUTS)
    for part in (model.projections, model.encoders, model.fusion, model.heads):
        for parameter in part.parameters():
            if parameter.dim() > 1:  # wide enough for differences to be seen
                nn.init.normal_(parameter, std=parameter.size(-1) ** -0.5)
    return model.eval()


rows_of = partial(model_rows.rows_of, LENGTHS)


CASES = [(fusion, *subset) for fusion in FUSIONS for subset in (SUBSETS if fusion in CROSS else SUBSETS[-1:])]


@pytest.mark.parametrize(
    ("fusion", "names", "backbones"),
    CASES,
    ids=[f"{fusion}-{'+'.join(kinds[n] for n in names)}" for fusion, names, kinds in CASES],
)
def test_alone_equals_batched(fusion, names, backbones, device):
    model = model_of(names, fusion, backbones).to(device)
    rows = rows_of(names)
    together = logits_of(model, rows, names)
    alone = torch.cat([logits_of(model, [row], names) for row in rows])
    assert together.shape == (4, 5)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-4  # the input does matter


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS)
def test_missing_modalities_are_the_same_in_any_company(gaps, fusion):
    names = MODALITIES
    model = model_of(names, fusion, PRETRAINED)
    rows = rows_of(names, gaps)
    together = logits_of(model, rows, names)
    alone = torch.cat([logits_of(model, [row], names) for row in rows])
    assert together.isfinite().all()
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    untouched = [row for row in range(4) if not any((name, row) in gaps for name in names)]
    torch.testing.assert_close(
        together[untouched], logits_of(model, rows_of(names), names)[untouched], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_missing_modality_leaves_no_trace(fusion):
    names = ("audio", "text")
    model = model_of(names, fusion)
    rows = rows_of(names, {("audio", 1)})
    before = logits_of(model, rows, names)
    with torch.no_grad():
        model.encoders["audio"].start.copy_(torch.randn(8))
    change = (logits_of(model, rows, names) - before).abs().amax(1)
    assert change[1] == 0
    assert change[[0, 2, 3]].min() > 1e-4


def test_a_missing_modality_is_not_silence():
    names = ("audio", "text")
    model = model_of(names)
    rows = rows_of(names)[:1]
    silent = [{**rows[0], "audio": np.zeros(4000, np.float32)}]
    gone = [{**rows[0], "audio": None}]
    assert (logits_of(model, silent, names) - logits_of(model, gone, names)).abs().max() > 1e-3


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("training", [True, False])
def test_an_utterance_with_nothing_gives_finite_gradients(fusion, training):
    names = MODALITIES
    model = model_of(names, fusion, PRETRAINED, dropout=0.1).train(training)
    for rows in (rows_of(names, GAPS["nothing in row 1"]), rows_of(names, GAPS["nothing at all"])):
        model.zero_grad()
        out = model(*batch_of(rows, names))["logits"]
        loss = out["emotion"].logsumexp(-1).sum() + out["sentiment"].sum()
        loss.backward()
        assert loss.isfinite()
        grads = {name: p.grad for name, p in model.named_parameters()}
        assert not [name for name, grad in grads.items() if grad is None]  # which DDP would not bear
        assert all(grad.isfinite().all() for grad in grads.values())
        assert any(grad.abs().sum() > 0 for grad in grads.values())


def test_frozen_backbones_get_no_gradient():
    names = ("audio", "text")
    cfg = SSLFusionConfig(embed_dim=8, encoder_attention_heads=2)
    cfg.backbone_args = {"audio": entry("wav2vec", frozen=True), "text": entry("roberta")}
    model = SSLFusion(cfg, OUTPUTS).train()
    model(*batch_of(rows_of(names), names))["logits"]["emotion"].sum().backward()
    assert all(p.grad is None for p in model.backbones.encoders["audio"].parameters())
    assert any(p.grad is not None for p in model.backbones.encoders["text"].parameters())
    assert not model.backbones.encoders["audio"].training


def test_summarising_backbones_have_no_stream_encoder():
    assert set(model_of(MODALITIES, backbones=PRETRAINED).encoders) == {"audio", "video"}
    assert set(model_of(MODALITIES).encoders) == {"audio", "text", "video"}


def test_input_limits_are_in_raw_units():
    limits = model_of(MODALITIES, backbones=PRETRAINED, max_positions_a=10, max_positions_t=512).input_limits()
    shortest, longest = limits["audio"]
    assert longest == shortest + 9 * 160
    assert limits["text"] == (1, 24)  # RoBERTa's own limit is smaller
    assert limits["video"] == (1, 301)


def test_half_precision_runs_through():
    names = MODALITIES
    model = model_of(names, backbones={**PRETRAINED, "audio": "mfcc"}).half()
    rows = rows_of(names, {("audio", 1), ("video", 0)})
    assert logits_of(model, rows, names).isfinite().all()
    assert logits_of(model, rows_of(names, GAPS["nothing at all"]), names).isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fusion": "sum"}, r"--fusion 'sum'; allowed: inter_modal, stack_up, .*, late"),
        ({"fusion": "gated", "fusion_rank": 8}, r"--fusion-rank 8: for --fusion low_rank, not gated"),
        ({"fusion": "low_rank", "fusion_rank": 0}, r"--fusion-rank 0: at least 1"),
        ({"encoder_attention_heads": 3}, r"--encoder-attention-heads 3.*8"),
        ({"encoder_attention_heads": 0}, r"--encoder-attention-heads 0"),
        ({"max_positions_a": 0}, r"--max-positions-a 0"),
        ({"max_positions_v": -1}, r"--max-positions-v -1"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(MMFairseqError, match=words):
        model_of(MODALITIES, **options)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({}, ShallowFusion), ({"stack_up": True}, CoAttention), ({"fusion": "stack_up"}, CoAttention)],
)
def test_semiemo_joins_position_zero_without_a_hidden_layer(options, kind):
    cfg = SemiEmoConfig(**options)
    cfg.backbone_args = {"audio": entry("vq_bert"), "text": entry("roberta")}
    model = SemiEmo(cfg, OUTPUTS)
    assert type(model.fusion) is kind
    assert not model.encoders  # both backbones sum up their input themselves
    assert isinstance(model.heads.dense, nn.Identity)
    assert model.fusion.out_dim == sum(model.backbones.dims.values())


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_ssl_freezes_what_semiemo_trains(roberta_data_bin, checkpoints, frozen):
    cfg = OmegaConf.structured(
        SemiEmoConfig(
            frozen_ssl=frozen,
            audio_backbone=f"wav2vec:{checkpoints}/wav2vec/wav2vec.pt",
            text_backbone=f"roberta:{checkpoints}/roberta",
        )
    )
    cfg = OmegaConf.create({**cfg, "_name": "semiemo"})
    model = task_of(roberta_data_bin, modalities="audio,text").build_model(cfg)
    assert {name: entry["frozen"] for name, entry in cfg.backbone_args.items()} == {"audio": frozen, "text": frozen}
    assert any(weight.requires_grad for weight in model.backbones.parameters()) != frozen

"""What each architecture attends to over time: all has a meaning, and a batch changes neither it nor the answer."""

import re

import pytest
import torch
from model_rows import batch_of, rows_of
from perceiver_models import clips
from perceiver_models import model_of as perceiver
from small_backbones import entry
from torch import nn

from mm_fairseq.models.av_graph import AVGraph, AVGraphConfig
from mm_fairseq.models.mult import CrossmodalMult, CrossmodalMultConfig
from mm_fairseq.models.ssl_fusion import FUSIONS, SSLFusion, SSLFusionConfig
from mm_fairseq.models.wave_text import WaveText, WaveTextConfig
from mm_fairseq.modules.recording import recorded

ALL, AV = ("audio", "text", "video"), ("audio", "video")
OUTPUTS = {"emotion": 4}
LENGTHS = {"audio": (4000, 900, 2500, 1700), "text": (9, 3, 5, 4), "video": (2, 1, 1, 1)}
BACKBONES = {"audio": "mfcc", "text": "embedding", "video": "fabnet"}
SSL = {"embed_dim": 8, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_embed_dim": 16}
MULT = {"d_model": 8, "layers": 2, "num_heads": 2}
WAVE = {"d_model": 8, "num_heads": 2, "ffn_dim": 16}


def made(architecture, cfg, names=ALL, lengths=LENGTHS, **backbones):
    """A model whose weights are wide enough for differences; batches of four rows and of each of them alone."""
    torch.manual_seed(0)
    cfg.backbone_args = {name: entry(kind) for name, kind in (BACKBONES | backbones).items() if name in names}
    model = architecture(cfg, OUTPUTS).eval()
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and not name.startswith("backbones"):
            nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return model, batches(rows_of(lengths, names), names)


def batches(rows, names):
    parts = [rows, *([row] for row in rows)]
    return [dict(zip(("inputs", "padding_masks"), batch_of(part, names), strict=True)) for part in parts]


def ssl(fusion):
    return lambda: made(SSLFusion, SSLFusionConfig(fusion=fusion, **SSL))


def mult(**options):
    return lambda: made(CrossmodalMult, CrossmodalMultConfig(**MULT, **options))


CASES = {
    **{fusion: ssl(fusion) for fusion in FUSIONS},
    "mult": mult(),
    "mult, attentive": mult(merge_how="attentive"),
    "mult, average": mult(merge_how="average", attn_mask=True),
    "wave_text": lambda: made(WaveText, WaveTextConfig(**WAVE), ("audio", "text"), audio="wave_pieces"),
    "perceiver": lambda: (perceiver(), batches(clips(), ALL)),
}
SHOWN = {  # what is shown of each modality, and how many others ask for it
    **{fusion: dict.fromkeys(ALL, ("encoders", 1)) for fusion in FUSIONS},
    **{case: dict.fromkeys(ALL, ("fusion.cross", 2)) for case in CASES if case.startswith(("inter", "stack", "mult"))},
    "wave_text": {"audio": ("cross", 1), "text": ("encoders", 1)},
    "perceiver": dict.fromkeys(ALL, ("net", 1)),
}


def found_of(model, batch):
    with torch.no_grad(), recorded(model) as found:
        logits = model(**batch)["logits"]
    return logits, [each for each in found if not each.path.startswith("backbones.")]


def meaning(model, seen):
    """Which of `attends` an entry belongs to, and the modality of its keys."""
    hits = [(n, match, each) for n, each in enumerate(model.attends) if (match := re.fullmatch(each.path, seen.path))]
    assert len(hits) == 1, seen.path
    number, match, each = hits[0]
    return number, match.expand(each.query), match.expand(each.key) or seen.modality


@pytest.mark.parametrize("case", CASES)
def test_recording_changes_no_answer_and_a_batch_no_weight(case):
    model, (together, *alone) = CASES[case]()
    with torch.no_grad():
        usual = model(**together)["logits"]
        frames = {name: ~each.padding_mask for name, each in model.backbones(**together).items()}
    logits, found = found_of(model, together)
    assert all(torch.equal(logits[name], usual[name]) for name in usual)
    assert found
    for row, batch in enumerate(alone):
        _, single = found_of(model, batch)
        assert [each.path for each in single] == [each.path for each in found]
        for one, many in zip(single, found, strict=True):
            _, query, key = meaning(model, one)
            assert {query, key} <= {*ALL, ""}
            size = one.weights.shape[1:]
            torch.testing.assert_close(many.weights[row, : size[0], : size[1]], one.weights[0], atol=1e-5, rtol=1e-4)
            assert (many.weights[row][~many.query_mask[row]][:, size[1] :] == 0).all()
            if not one.rate:
                assert size[1] == int(frames[key][row].sum()) + model.in_front(key)
            total = one.weights[0].sum(1)
            torch.testing.assert_close(total.clamp(max=1 + 1e-5), total)
            if case != "perceiver":
                torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("case", CASES)
def test_every_modality_is_attended_to_where_its_architecture_attends(case):
    model, (together, *_) = CASES[case]()
    places = {}
    for each in found_of(model, together)[1]:
        number, query, key = meaning(model, each)
        places.setdefault((number, key), set()).add(query)
    for key, (prefix, count) in SHOWN[case].items():
        number = min(number for number, name in places if name == key)
        assert model.attends[number].path.replace("\\", "").startswith(prefix)
        assert len(places[number, key]) == count


def test_shares_of_a_perceivers_modalities_and_its_label_make_a_whole():
    model, (together, *_) = CASES["perceiver"]()
    shares = sum(each.weights.sum((1, 2)) for each in found_of(model, together)[1])
    assert ((shares > 0.5) & (shares < 1)).all()


def test_a_perceivers_weights_lie_where_its_windows_are():
    """One window of four frames in the middle of nine: frames 2 to 5, of sound and pictures."""
    model, (_, first, *_) = perceiver(AV, eval_windows=1), batches(clips(AV), AV)
    for each in found_of(model, first)[1]:
        there = each.weights[0, 0] > 0
        assert there.nonzero().flatten().tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("options", [{}, {"cross_edges": "static", "fusion_layers": "0,2"}])
def test_av_graph_reads_out_each_kind_and_video_through_audio(options):
    pytest.importorskip("torch_geometric")
    cfg = AVGraphConfig(hidden_channels=8, num_layers=3, **options)
    lengths = {"audio": (4000, 900, 1700, 700), "video": (9, 3, 1, 4)}
    model, (together, *alone) = made(AVGraph, cfg, AV, lengths, audio="wav2vec2_segments", video="fabnet")
    _, found = found_of(model, together)
    crossing = len(str(options.get("fusion_layers", "-1")).split(","))
    assert [meaning(model, each)[0] for each in found] == [1] * crossing + [0, 0]
    with torch.no_grad():
        nodes = [
            {name: int((~each.padding_mask).sum()) for name, each in model.backbones(**batch).items()}
            for batch in alone
        ]
    at = dict.fromkeys(AV, 0)
    for row, batch in enumerate(alone):
        _, single = found_of(model, batch)
        for one, many in zip(single, found, strict=True):
            number, _, key = meaning(model, one)
            weights = many.weights[0] if number == 1 else many.weights[row]
            if number == 1:  # all clips of a batch are one graph
                rows, columns = (slice(at[name], at[name] + nodes[row][name]) for name in AV)
                torch.testing.assert_close(weights[rows, columns], one.weights[0], atol=1e-5, rtol=1e-4)
                assert weights[rows].sum() == pytest.approx(float(one.weights.sum()), rel=1e-4)
            else:
                torch.testing.assert_close(weights[:, : nodes[row][key]], one.weights[0], atol=1e-5, rtol=1e-4)
        at = {name: at[name] + nodes[row][name] for name in AV}

"""Inter-modal fusion against a plain reference that updates every query position, and what missing modalities do."""

from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mm_fairseq.modules.fusion import CoAttention, InterModalFusion, ShallowFusion, Stream

DIMS = {"text": 12, "audio": 8, "video": 4}
LENGTHS = {"audio": (5, 3, 6), "text": (4, 4, 2), "video": (1, 3, 2)}
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(sorted(DIMS), size)]


def fusion_of(names, layers=2):
    torch.manual_seed(0)
    fusion = InterModalFusion({name: DIMS[name] for name in names}, 2, layers, 16, 0.0, 0.0)
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=0.5)
    return fusion


def co_attention_of(names, layers=2, dropout=0.0):
    torch.manual_seed(0)
    fusion = CoAttention({name: DIMS[name] for name in names}, 2, layers, dropout, 0.0)
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=0.5)
    return fusion


def streams_of(names, absent=()):
    """Three rows; `absent` holds (modality, row) pairs of which there is a start vector alone, as an encoder leaves."""
    torch.manual_seed(1)
    out = {}
    for name in names:
        lengths = torch.tensor(LENGTHS[name])
        mask = torch.arange(int(lengths.max())) >= lengths[:, None]
        present = torch.ones(3, dtype=torch.bool)
        for gone, row in absent:
            if gone == name:
                mask[row, 1:], present[row] = True, False
        out[name] = Stream(torch.randn(3, mask.size(1), DIMS[name]), mask, present)
    return out


def reference(layers, query, key, key_mask):
    """Position 0 after updating all positions of `query` (B, Tq, D), by torch's attention and functional layers."""
    x = query
    for layer in layers:
        attention = nn.MultiheadAttention(x.size(-1), 2, kdim=key.size(-1), vdim=key.size(-1), batch_first=True)
        attention.load_state_dict(layer.attention.state_dict())
        attended = attention(x, key, key, key_padding_mask=key_mask)[0]
        norm = layer.attention_norm
        x = F.layer_norm(x + attended, x.shape[-1:], norm.weight, norm.bias)
        inner, outer = layer.ffn[0], layer.ffn[-1]
        hidden = F.linear(F.gelu(F.linear(x, inner.weight, inner.bias)), outer.weight, outer.bias)
        x = F.layer_norm(x + hidden, x.shape[-1:], layer.ffn_norm.weight, layer.ffn_norm.bias)
    return x[:, 0]


def directed(fusion, query, key, streams):
    layers = fusion.cross[f"{query}_from_{key}"]
    return reference(layers, streams[query].x, streams[key].x, streams[key].padding_mask)


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_position_zero_alone_equals_updating_all(names):
    fusion, streams = fusion_of(names), streams_of(names)
    expected = []
    for query in names:
        vector = streams[query].x[:, 0] if len(names) == 1 else torch.ones(3, DIMS[query])
        for key in names:
            if key != query:
                vector = vector * directed(fusion, query, key, streams)
        expected.append(vector)
    out = fusion(streams)
    assert out.shape == (3, fusion.out_dim)
    torch.testing.assert_close(out, torch.cat(expected, -1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gone", sorted(DIMS))
def test_a_missing_modality_leaves_the_two_modality_formula(gone):
    names = sorted(DIMS)
    fusion, streams = fusion_of(names), streams_of(names, {(gone, 1)})
    first, second = [name for name in names if name != gone]
    parts = dict(zip(names, fusion(streams)[1].split([DIMS[name] for name in names]), strict=True))
    assert (parts[gone] == 0).all()
    torch.testing.assert_close(parts[first], directed(fusion, first, second, streams)[1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts[second], directed(fusion, second, first, streams)[1], atol=1e-5, rtol=1e-5)
    complete = fusion(streams_of(names))
    torch.testing.assert_close(fusion(streams)[[0, 2]], complete[[0, 2]])


@pytest.mark.parametrize("alone", sorted(DIMS))
def test_a_modality_alone_contributes_its_own_summary(alone):
    names = sorted(DIMS)
    streams = streams_of(names, {(name, 1) for name in names if name != alone})
    parts = dict(zip(names, fusion_of(names)(streams)[1].split([DIMS[name] for name in names]), strict=True))
    for name in names:
        expected = streams[name].x[1, 0] if name == alone else torch.zeros(DIMS[name])
        torch.testing.assert_close(parts[name], expected)


@pytest.mark.parametrize("kind", ["inter_modal", "shallow", "stack_up"])
def test_gradients_are_finite_whatever_is_missing(kind):
    names = sorted(DIMS)
    streams = streams_of(names, {(name, 1) for name in names} | {("audio", 0), ("video", 0), ("text", 2)})
    streams = {name: stream._replace(x=stream.x.requires_grad_()) for name, stream in streams.items()}
    fusion = {"inter_modal": fusion_of, "stack_up": co_attention_of}.get(kind, lambda names: ShallowFusion(DIMS))(names)
    out = fusion(streams)
    assert (out[1] == 0).all()
    out.square().sum().backward()
    for name, stream in streams.items():
        assert stream.x.grad.isfinite().all(), name
        assert (stream.x.grad[1] == 0).all(), name
    assert all(parameter.grad.isfinite().all() for parameter in fusion.parameters())


def test_shallow_fusion_concatenates_position_zero():
    streams = streams_of(sorted(DIMS), {("text", 2)})
    out = ShallowFusion(DIMS)(streams)
    expected = torch.cat([streams[name].x[:, 0] for name in ("audio", "text", "video")], -1)
    torch.testing.assert_close(out[:2], expected[:2])
    assert (out[2, 8:20] == 0).all()
    torch.testing.assert_close(out[2, :8], expected[2, :8])


def added(fusion, query, key, streams):
    """What `key` adds to position 0 of `query`, by torch's attention over every position."""
    x = streams[query].x
    for layer in fusion.cross[f"{query}_from_{key}"]:
        plain = nn.MultiheadAttention(DIMS[query], 2, kdim=DIMS[key], vdim=DIMS[key], batch_first=True)
        plain.load_state_dict(layer.state_dict())
        x = x + plain(x, streams[key].x, streams[key].x, key_padding_mask=streams[key].padding_mask)[0]
    return (x - streams[query].x)[:, 0]


@pytest.mark.parametrize("names", SUBSETS, ids="+".join)
def test_co_attention_equals_attention_and_residual(names):
    fusion, streams = co_attention_of(names), streams_of(names)
    expected = [
        streams[query].x[:, 0] + sum(added(fusion, query, key, streams) for key in names if key != query)
        for query in names
    ]
    out = fusion(streams)
    assert out.shape == (3, fusion.out_dim)
    torch.testing.assert_close(out, torch.cat(expected, -1), atol=1e-5, rtol=1e-5)
    assert {name.split(".")[-1] for name, _ in fusion.named_parameters()} <= {
        *("in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight", "weight", "bias")
    }  # of attention alone


@pytest.mark.parametrize("gone", sorted(DIMS))
def test_co_attention_with_a_missing_modality_is_that_of_two(gone):
    names = sorted(DIMS)
    fusion, streams = co_attention_of(names), streams_of(names, {(gone, 1)})
    first, second = [name for name in names if name != gone]
    parts = dict(zip(names, fusion(streams)[1].split([DIMS[name] for name in names]), strict=True))
    assert (parts[gone] == 0).all()
    for query, key in ((first, second), (second, first)):
        expected = streams[query].x[1, 0] + added(fusion, query, key, streams)[1]
        torch.testing.assert_close(parts[query], expected, atol=1e-5, rtol=1e-5)


def test_co_attention_drops_what_is_added():
    names = ("audio", "text")
    fusion, streams = co_attention_of(names, layers=1, dropout=0.5).train(), streams_of(names)
    start = torch.cat([streams[name].x[:, 0] for name in names], -1)
    torch.manual_seed(0)
    change = torch.stack([fusion(streams) - start for _ in range(200)])
    assert (change == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(change.amax(0).relu() - (-change).amax(0).relu(), 2 * (fusion.eval()(streams) - start))

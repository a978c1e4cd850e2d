"""Recorded weights against torch's own, and against what the same modules give."""

import threading

import pytest
import torch
from torch import nn

from mm_fairseq.modules.attention import attend
from mm_fairseq.modules.graph import adjacency
from mm_fairseq.modules.hetero import CROSS, HeteroLayer
from mm_fairseq.modules.perceiver import Tokens, folded_attention, projected_attention, token_weights
from mm_fairseq.modules.pooling import Pooling
from mm_fairseq.modules.recording import record, recorded, recording
from mm_fairseq.modules.transformer import Transformer

LENGTHS, KEYS = (6, 4, 1), (5, 3, 0)


def mask_of(lengths):
    return torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]


def attention(key_dim):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(12, 3, kdim=key_dim, vdim=key_dim, batch_first=True).double()
    for weight in module.parameters():
        nn.init.normal_(weight)
    return module


@pytest.mark.parametrize("learning", [False, True])
@pytest.mark.parametrize("queries", [1, 6])
@pytest.mark.parametrize("key_dim", [12, 7])
def test_weights_are_those_of_torch_and_the_result_stays(queries, key_dim, learning):
    module, key = attention(key_dim), torch.randn(3, 5, key_dim).double()
    query, query_mask, key_mask = torch.randn(3, 6, 12).double()[:, :queries], mask_of(LENGTHS), mask_of(KEYS)
    with torch.set_grad_enabled(learning):
        usual = attend(module, query, key, query_mask[:, :queries], key_mask)
        with recorded(module) as found:
            out = attend(module, query, key, query_mask[:, :queries], key_mask)
    assert torch.equal(out, usual)
    (entry,) = found
    _, expected = module(query, key, key, key_padding_mask=key_mask)
    assert entry.path == ""
    assert not entry.weights.requires_grad
    torch.testing.assert_close(entry.weights[:2], expected[:2], atol=1e-12, rtol=1e-12)
    assert (entry.weights[2] == 0).all()
    assert (entry.weights[1, :, 3:] == 0).all()
    assert torch.equal(entry.query_mask, query_mask[:, :queries])


def test_weights_of_self_attention_that_sees_nothing_later():
    module, x = attention(12), torch.randn(2, 5, 12).double()
    mask = mask_of((5, 3))
    with recorded(module) as found:
        attend(module, x, x, mask, mask, causal=True)
    hidden = torch.ones(5, 5).triu(1).bool()
    _, expected = module(x, x, x, key_padding_mask=mask, attn_mask=hidden)
    for row, length in enumerate((5, 3)):
        kept = found[0].weights[row, :length, :length]
        torch.testing.assert_close(kept, expected[row, :length, :length], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("last", [False, True])
def test_a_transformer_is_recorded_layer_by_layer_and_alone_as_in_a_batch(last):
    torch.manual_seed(0)
    model = nn.ModuleDict({"cross": Transformer(8, 2, 2, 16)}).eval()
    x, key = torch.randn(3, 6, 8), torch.randn(3, 5, 8)
    masks = mask_of(LENGTHS), mask_of(KEYS)
    usual = model["cross"](x, masks[0], key, masks[1], last=last)
    with recorded(model) as found:
        out = model["cross"](x, masks[0], key, masks[1], last=last)
    assert torch.equal(out, usual)
    assert [each.path for each in found] == [f"cross.layers.{number}.self_attn" for number in (0, 1)]
    assert [each.weights.size(1) for each in found] == [6, 1 if last else 6]
    with recorded(model) as alone:
        model["cross"](x[1:2, :4], masks[0][1:2, :4], key[1:2, :3], masks[1][1:2, :3], last=last)
    for batched, single in zip(found, alone, strict=True):
        rows = slice(0, single.weights.size(1))
        torch.testing.assert_close(batched.weights[1:2, rows, :3], single.weights, atol=1e-6, rtol=1e-5)
        real = ~batched.query_mask[1]
        torch.testing.assert_close(batched.weights[1][real].sum(1), torch.ones(int(real.sum())))


def test_pooling_weights_give_what_is_pooled():
    pooling, x, mask = Pooling("attentive", 4), torch.randn(3, 6, 4), mask_of((6, 2, 0))
    nn.init.normal_(pooling.score.weight)
    with recorded(pooling) as found:
        out = pooling(x, mask)
    torch.testing.assert_close((found[0].weights @ x.masked_fill(mask[..., None], 0.0))[:, 0], out)
    assert (found[0].weights[2] == 0).all()
    with recorded(pooling) as found:
        Pooling("average", 4)(x, mask)
    assert found == []


def test_edges_between_kinds_are_those_of_torch_geometric():
    pytest.importorskip("torch_geometric")
    torch.manual_seed(0)
    layer = HeteroLayer(("audio", "video"), 6, ("video", "audio"), 0.0, True).eval()
    x = {"audio": torch.randn(4, 6), "video": torch.randn(3, 6)}
    between = torch.tensor([[0, 1, 2, 2], [0, 0, 1, 3]])
    within = {kind: adjacency(torch.zeros(2, 0, dtype=torch.long), len(each), torch.float) for kind, each in x.items()}
    usual = layer(x, within | {CROSS: between})
    with recorded(layer) as found:
        out = layer(x, within | {CROSS: between})
    assert all(torch.equal(out[kind], usual[kind]) for kind in out)
    _, (edges, alpha) = layer.between((x["video"], x["audio"]), between, return_attention_weights=True)
    (entry,) = found
    assert entry.path == "between"
    assert entry.weights.shape == (1, 4, 3)
    torch.testing.assert_close(entry.weights[0, edges[1], edges[0]], alpha[:, 0])
    torch.testing.assert_close(entry.weights[0].sum(1), torch.tensor([1.0, 1.0, 0.0, 1.0]))


@pytest.mark.parametrize("most", [2**26, 1])
def test_weights_of_tokens_give_what_the_latents_see(most, monkeypatch):
    """With values that are the tokens' own place, what comes out is the weights themselves."""
    monkeypatch.setattr("mm_fairseq.modules.perceiver.MOST", most)
    torch.manual_seed(0)
    mask = mask_of((4, 3))
    tokens = [
        Tokens(torch.randn(2, 4, 6), torch.randn(4), mask),
        Tokens(torch.randn(2, 3, 8), torch.randn(2), torch.zeros(2, 3, dtype=torch.bool)),
    ]
    norm, key, value, queries = nn.LayerNorm(10), nn.Linear(10, 8), nn.Linear(10, 8), torch.randn(5, 8)
    found = token_weights(queries, tokens, norm, key, 2)
    whole = norm(torch.cat([each.whole() for each in tokens], 1))
    hidden = torch.cat([each.mask for each in tokens], 1)
    q, k = (x.unflatten(-1, (2, 4)).transpose(-2, -3) for x in (queries, key(whole)))
    weights = (q @ k.transpose(-1, -2) / 2).masked_fill(hidden[:, None, None], -torch.inf).softmax(-1)  # B x H x N x T
    torch.testing.assert_close(torch.cat(found, 1), weights.mean((1, 2)))
    out = (weights @ value(whole).unflatten(-1, (2, 4)).transpose(1, 2)).transpose(1, 2).flatten(2)
    for attention_of in (folded_attention, projected_attention):
        torch.testing.assert_close(attention_of(queries, tokens, norm, key, value, 2), out, atol=1e-5, rtol=1e-5)
    assert (found[0][mask] == 0).all()


def test_other_models_and_other_threads_are_not_recorded():
    model, other = nn.Linear(1, 1), nn.Linear(1, 1)
    weights = torch.ones(1, 1, 2)
    assert not recording()
    with recorded(model) as found:
        record(other, weights)
        seen = []
        thread = threading.Thread(target=lambda: (seen.append(recording()), record(model, weights)))
        thread.start()
        thread.join()
        assert (seen, found, recording()) == ([False], [], True)
        record(model, weights)
    record(model, weights)
    assert len(found) == 1
    assert not recording()

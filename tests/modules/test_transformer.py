"""Transformer layers against torch's own, and against themselves without padding."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mm_fairseq.modules import attention
from mm_fairseq.modules.positions import sinusoid
from mm_fairseq.modules.transformer import Transformer, TransformerLayer

QUERIES, KEYS = (6, 3, 1), (5, 8, 2)


@pytest.fixture(autouse=True, params=["short", "long"])
def way(request, monkeypatch):
    """Learn by the attention of short sequences, or by that of long ones."""
    if request.param == "long":
        monkeypatch.setattr(attention, "suits", lambda *args: False)


def mask_of(lengths):
    return torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]


def layer_of(norm_first, key_dim=None, activation=F.relu, dropouts=(0.0, 0.0, 0.0)):
    torch.manual_seed(0)
    layer = TransformerLayer(12, 3, 20, norm_first, *dropouts, key_dim, activation)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def batch(key_dim=12):
    torch.manual_seed(1)
    return torch.randn(3, 6, 12), mask_of(QUERIES), torch.randn(3, 8, key_dim), mask_of(KEYS)


def rest(layer, x, attended):
    """What follows attention."""
    if layer.norm_first:
        x = x + attended
        return x + layer.linear2(layer.activation(layer.linear1(layer.norm2(x))))
    x = layer.norm1(x + attended)
    return layer.norm2(x + layer.linear2(layer.activation(layer.linear1(x))))


@pytest.mark.parametrize("activation", [F.relu, F.gelu])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_self_attention_equals_torch(norm_first, activation, training):
    layer = layer_of(norm_first, activation=activation)
    theirs = nn.TransformerEncoderLayer(12, 3, 20, 0.0, activation, batch_first=True, norm_first=norm_first)
    theirs.load_state_dict(layer.state_dict())
    x, mask, _, _ = batch()
    found, expected = (each.train(training) for each in (layer, theirs))
    outs = found(x, mask), expected(x, src_key_padding_mask=mask)
    torch.testing.assert_close(outs[0][~mask], outs[1][~mask], atol=1e-5, rtol=1e-5)
    causal = nn.Transformer.generate_square_subsequent_mask(6)
    outs = found(x, mask, causal=True), expected(x, causal, src_key_padding_mask=mask)
    torch.testing.assert_close(outs[0][~mask], outs[1][~mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("key_dim", [None, 12, 7])
@pytest.mark.parametrize("norm_first", [False, True])
def test_cross_attention_equals_torch(norm_first, key_dim):
    layer = layer_of(norm_first, key_dim)
    x, mask, key, key_mask = batch(key_dim or 12)
    query, keys = x, key
    if norm_first:
        query, keys = layer.norm1(x), (layer.key_norm or layer.norm1)(key)
    attended, _ = nn.MultiheadAttention.forward(layer.self_attn, query, keys, keys, key_padding_mask=key_mask)
    expected = rest(layer, x, attended)
    torch.testing.assert_close(layer(x, mask, key, key_mask)[~mask], expected[~mask], atol=1e-5, rtol=1e-5)
    assert (layer.key_norm is None) == (not norm_first or key_dim != 7)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_last_is_the_last_real_frame(norm_first, causal, cross):
    layer = layer_of(norm_first)
    x, mask, key, key_mask = batch()
    others = (key, key_mask) if cross else (None, None)
    out = layer(x, mask, *others, causal=causal)
    last = layer(x, mask, *others, causal=causal, last=True)
    assert last.shape == (3, 1, 12)
    for row, length in enumerate(QUERIES):
        torch.testing.assert_close(last[row, 0], out[row, length - 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 1e-9])  # the second one drops nothing and takes the way of training
def test_a_longer_neighbour_changes_nothing(norm_first, causal, cross, dropout):
    torch.manual_seed(0)
    model = Transformer(12, 3, 2, 20, norm_first, dropout, dropout, dropout, dropout)
    x, mask, key, key_mask = batch()
    x[mask], key[key_mask] = 50.0, -50.0
    out = model(x, mask, *((key, key_mask) if cross else ()), causal=causal)
    for row, (queries, keys) in enumerate(zip(QUERIES, KEYS, strict=True)):
        parts = [x[row : row + 1, :queries], mask[row : row + 1, :queries]]
        parts += [key[row : row + 1, :keys], key_mask[row : row + 1, :keys]] if cross else []
        torch.testing.assert_close(out[row, :queries], model(*parts, causal=causal)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_gradients_reach_every_parameter_and_rows_without_keys_survive(norm_first, cross, dropout):
    torch.manual_seed(0)
    model = Transformer(12, 3, 2, 20, norm_first, dropout, dropout, dropout, dropout)
    x, mask, key, key_mask = batch()
    mask[1], key_mask[2] = True, True
    x.requires_grad_()
    out = model(x, mask, *((key, key_mask) if cross else ()))
    out[~mask].square().sin().sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_attention_to_nothing_adds_nothing():
    layer = layer_of(True)
    x, mask, key, key_mask = batch()
    key_mask[0] = True
    out = layer(x, mask, key, key_mask)
    torch.testing.assert_close(out[0], rest(layer, x, torch.zeros_like(x))[0])


@pytest.mark.parametrize("norm_first", [False, True])
def test_stack_by_hand(norm_first):
    torch.manual_seed(0)
    model = Transformer(12, 3, 2, 20, norm_first).eval()
    x, mask, key, key_mask = batch()
    expected = 12**0.5 * x + sinusoid(6, 12, x)
    other = 12**0.5 * key + sinusoid(8, 12, key)
    for layer in model.layers:
        expected = layer(expected, mask, other, key_mask)
    if norm_first:
        expected = F.layer_norm(expected, (12,))
    torch.testing.assert_close(model(x, mask, key, key_mask), expected)


def test_dropout_draws_in_training_alone():
    model = Transformer(12, 3, 1, 20, True, 0.2, 0.2, 0.2, 0.2)
    x, mask, _, _ = batch()
    assert not torch.equal(model(x, mask), model(x, mask))
    model.eval()
    assert torch.equal(model(x, mask), model(x, mask))
    assert copy.deepcopy(model).state_dict().keys() == model.state_dict().keys()

"""The Perceiver's parts against those of transformers, and attention without projections against that with them."""

import pytest
import torch
from torch import nn

from mm_fairseq.modules.perceiver import (
    Tokens,
    folded_attention,
    folding_pays,
    fourier,
    grid,
    projected_attention,
    space_to_depth,
)

theirs = pytest.importorskip("transformers.models.perceiver.modeling_perceiver")
WIDTH, QUERIES = 24, 5


def parts(keys=12, values=8):
    torch.manual_seed(0)
    norm, key, value = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, keys), nn.Linear(WIDTH, values)
    nn.init.normal_(norm.weight, 1.0, 0.5)
    nn.init.normal_(norm.bias)
    return torch.randn(QUERIES, keys, requires_grad=True), norm, key, value


def tokens(batch=3, masked=True, learned=True):
    torch.manual_seed(1)
    out = []
    for length, own in ((7, 20), (30, 9), (1, 24)):
        mask = (
            torch.rand(batch, length) < 0.4 if masked and length > 1 else torch.zeros(batch, length, dtype=torch.bool)
        )
        padding = torch.randn(WIDTH - own, requires_grad=learned)
        out.append(Tokens(2 * torch.randn(batch, length, own) + 1, padding, mask))
    return out


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
def test_folded_equals_projected(heads, masked):
    (queries, *rest), given = parts(), tokens(masked=masked)
    given[0] = given[0]._replace(x=given[0].x.requires_grad_())
    learned = [
        queries,
        given[0].x,
        *(each.padding for each in given[:2]),
        *(w for m in rest for w in m.parameters() if w is not rest[1].bias),
    ]
    found, gradients = [], []
    for attend in (folded_attention, projected_attention):
        out = attend(queries, given, *rest, heads)
        out.square().sum().backward()
        found.append(out.detach())
        gradients.append([weight.grad.clone() for weight in learned])
        for weight in learned:
            weight.grad = None
    assert found[0].shape == (3, QUERIES, 8)
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)
    scale = max(grad.abs().max() for grad in gradients[1])
    for ours, other in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, other, atol=1e-5 * float(scale), rtol=1e-4)


def test_both_equal_transformers():
    config = pytest.importorskip("transformers").PerceiverConfig(attention_probs_dropout_prob=0.0)
    layer = theirs.PerceiverSelfAttention(config, True, 12, 8, num_heads=2, q_dim=WIDTH, kv_dim=WIDTH)
    for weight in layer.parameters():
        nn.init.normal_(weight)
    given, x = tokens(), torch.randn(QUERIES, WIDTH)
    mask = torch.cat([each.mask for each in given], 1)[:, None, None]
    whole = torch.cat([each.whole() for each in given], 1)
    expected = layer(x.expand(3, -1, -1), inputs=whole, inputs_mask=torch.zeros(()).masked_fill(mask, -1e30))[0]
    queries = layer.query(layer.layernorm1(x))
    for attend in (folded_attention, projected_attention):
        out = attend(queries, given, layer.layernorm2, layer.key, layer.value, 2)
        torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)


def test_rows_at_once_and_recomputed_weights_change_nothing(monkeypatch):
    (queries, *rest), given = parts(), tokens()
    expected = folded_attention(queries, given, *rest, 1)
    gradient = torch.autograd.grad(expected.square().sum(), [queries, given[1].padding])
    monkeypatch.setattr("mm_fairseq.modules.perceiver.MOST", 1)
    out = folded_attention(queries, given, *rest, 1, recompute=True)
    torch.testing.assert_close(out, expected)
    again = torch.autograd.grad(out.square().sum(), [queries, given[1].padding])
    torch.testing.assert_close(again, gradient, atol=1e-4, rtol=1e-4)


def test_dropout_keeps_the_mean_and_forgets_whole_tokens():
    (queries, *rest), given = parts(), tokens()
    with torch.no_grad():
        expected = folded_attention(queries, given, *rest, 1)
        out = torch.stack([folded_attention(queries, given, *rest, 1, dropout=0.3) for _ in range(3000)])
    assert (out[0] - out[1]).abs().max() > 0.01
    torch.testing.assert_close(out.mean(0), expected, atol=0.06, rtol=0)


def test_folding_pays_for_one_head_at_the_released_size_and_not_for_eight():
    assert folding_pays(784, 1, 243, 704, 2 * 704)
    assert not folding_pays(784, 8, 243, 704, 2 * 704)


@pytest.mark.parametrize(("sizes", "bands", "resolutions"), [((9,), 6, (40,)), ((3, 4, 5), 4, (3, 8, 8))])
def test_fourier_features_are_those_of_transformers(sizes, bands, resolutions):
    encoding = theirs.PerceiverFourierPositionEncoding(bands, resolutions)
    expected = encoding(sizes, 1, torch.device("cpu"), torch.float32)[0]
    torch.testing.assert_close(fourier(grid(sizes), bands, resolutions), expected, atol=1e-5, rtol=1e-5)


def test_patches_are_those_of_transformers():
    frames = torch.randn(2, 3, 3, 8, 12)
    assert torch.equal(space_to_depth(frames, 4), theirs.space_to_depth(frames, 1, 4).flatten(1, 3))

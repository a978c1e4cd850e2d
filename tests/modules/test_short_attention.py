"""Short sequences: equal to torch's own attention, gradients included."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mm_fairseq.modules import short_attention as module
from mm_fairseq.modules.attention import attend
from mm_fairseq.modules.short_attention import short_attention, suits

KEYS = (5, 9, 2, 0)  # the last row has no key
KEY_MASK = torch.arange(9) >= torch.tensor(KEYS)[:, None]


def packed_of(packing, steep=1.0):
    torch.manual_seed(0)
    times = (7, 9, 9) if len(packing) > 1 else (9,)
    widths = zip(times, packing, strict=False)
    return [(steep * torch.randn(4, t, width, dtype=torch.double)).requires_grad_() for t, width in widths]


def plain(packed, heads, weigh=lambda weights: weights):
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for x in packed for part in x.split(8, dim=-1))
    scores = query @ key.transpose(2, 3) / query.size(-1) ** 0.5
    weights = scores.masked_fill(KEY_MASK[:, None, None], float("-inf")).softmax(-1).nan_to_num(0.0)
    return (weigh(weights) @ value).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("packing", [(24,), (8, 16), (8, 8, 8)])
@pytest.mark.parametrize("heads", [1, 2, 8])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_equals_the_formula_with_its_gradients(packing, heads, dropout, monkeypatch):
    drawn = []

    class Keep(module.Draw):
        def __call__(self, size):
            drawn.append((super().__call__(size), self.factor))
            return drawn[-1][0]

    monkeypatch.setattr(module, "Draw", Keep)
    packed = packed_of(packing)
    found = short_attention(packed, heads, KEY_MASK, dropout)
    weigh = (lambda weights: weights * drawn[0][0].view_as(weights) * drawn[0][1]) if dropout else (lambda w: w)
    with torch.no_grad():
        expected = plain(packed, heads, weigh)
    torch.testing.assert_close(found, expected)
    assert (found[3] == 0).all()
    above = torch.randn_like(found)
    ours = torch.autograd.grad(found, packed, above)
    rows = [x[:3].detach().requires_grad_() for x in packed]  # a row without keys has no gradient, the formula has NaN
    weigh_rows = (lambda w: w * drawn[0][0].unflatten(0, (4, heads))[:3] * drawn[0][1]) if dropout else (lambda w: w)
    query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for x in rows for part in x.split(8, dim=-1))
    scores = query @ key.transpose(2, 3) / query.size(-1) ** 0.5
    weights = scores.masked_fill(KEY_MASK[:3, None, None], float("-inf")).softmax(-1)
    theirs = torch.autograd.grad((weigh_rows(weights) @ value).transpose(1, 2).flatten(2), rows, above[:3])
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine[:3], other)
        assert (mine[3] == 0).all()


def test_attend_is_torchs_on_the_same_weights():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x, key = torch.randn(3, 6, 8, requires_grad=True), torch.randn(3, 9, 8)
    mask = KEY_MASK[:3]
    assert suits([x, key, key], 2)
    found = attend(attention, x, key, torch.zeros(3, 6, dtype=torch.bool), mask)
    expected = attention(x, key, key, key_padding_mask=mask, need_weights=False)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    ours, theirs = (
        torch.autograd.grad(each.square().sum(), [x, *attention.parameters()]) for each in (found, expected)
    )
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def test_dropout_keeps_the_mean():
    packed = [torch.ones(50, 20, 24, requires_grad=True)]
    out = short_attention(packed, 2, torch.zeros(50, 20, dtype=torch.bool), 0.25)
    out = out.detach()
    assert out.std() > 0.01
    assert float(out.mean()) == pytest.approx(1, abs=0.01)


def test_where_it_suits():
    x = torch.randn(4, 100, 24, requires_grad=True)
    assert suits([x], 8)
    assert not suits([x.detach()], 8)
    assert not suits([x.half()], 8)
    assert not suits([torch.randn(1, module.LONGEST + 1, 24, requires_grad=True)], 8)
    assert not suits([torch.randn(100, 128, 24, requires_grad=True)], 8)
    with torch.no_grad():
        assert not suits([x], 8)


def test_nothing_but_padding():
    packed = packed_of((24,))
    out = short_attention(packed, 2, torch.ones(4, 9, dtype=torch.bool), 0.1)
    assert (out == 0).all()
    assert F.mse_loss(torch.autograd.grad(out.sum(), packed)[0], torch.zeros(4, 9, 24, dtype=torch.double)) == 0

"""Self-attention of rows against a plain formula with the same dropped weights, and against torch's own without any."""

import pytest
import torch
from torch import nn

from mm_fairseq.modules import self_attention as module
from mm_fairseq.modules.self_attention import self_attention

LENGTHS = (7, 4, 1)
MASK = torch.arange(7) >= torch.tensor(LENGTHS)[:, None]


def qkv_of(dtype=torch.double):
    torch.manual_seed(0)
    return torch.randn(3, 7, 24, dtype=dtype, requires_grad=True)


def plain(qkv, heads, kept=None, factor=1.0):
    """(B, T, D) by the formula; `kept` has a (H, T, T) mask for each row."""
    out = torch.zeros(3, 7, 8, dtype=qkv.dtype)
    for row, length in enumerate(LENGTHS):
        query, key, value = (
            part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in qkv[row, :length].chunk(3, dim=-1)
        )
        weights = (query @ key.transpose(1, 2) / query.size(-1) ** 0.5).softmax(-1)
        if kept is not None:
            weights = weights * kept[row] * factor
        out[row, :length] = (weights @ value).transpose(0, 1).flatten(1)
    return out


def gradients(out, qkv):
    weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((out * weight).masked_fill(MASK[..., None], 0.0).sum(), qkv)[0]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_equals_the_formula_with_its_gradients(dropout, monkeypatch):
    qkv, drawn = qkv_of(), []

    class Draw(module.Draw):
        def __call__(self, size):
            drawn.append((super().__call__(size), self.factor))
            return drawn[-1][0]

    monkeypatch.setattr(module, "Draw", Draw)
    out = self_attention(qkv, 2, MASK, True, dropout)
    assert len(drawn) == (3 if dropout else 0)
    assert not dropout or sum((~kept).sum() for kept, _ in drawn) > 0
    kept, factor = ([mask for mask, _ in drawn], drawn[0][1]) if dropout else (None, 1.0)
    expected = plain(qkv, 2, kept, factor)
    real = ~MASK
    torch.testing.assert_close(out[real], expected[real], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(gradients(out, qkv), gradients(expected, qkv), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.float])
def test_every_precision_runs_with_dropout(dtype, device):
    qkv = qkv_of().detach().to(device, dtype).requires_grad_()
    out = self_attention(qkv, 2, MASK.to(device), True, 0.3)
    out[~MASK.to(device)].float().sum().backward()
    assert out.dtype == dtype
    assert qkv.grad.isfinite().all()


def test_equals_torch_without_dropout():
    qkv = qkv_of(torch.float)
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
        layer.out_proj.weight.copy_(torch.eye(8))
    expected, _ = layer(*qkv.chunk(3, -1), key_padding_mask=MASK)
    out = self_attention(qkv, 2, MASK, True, 0.0)
    torch.testing.assert_close(out[~MASK], expected[~MASK], atol=1e-6, rtol=1e-5)


def test_mean_over_many_draws_is_the_undropped():
    qkv = qkv_of(torch.float).detach()
    torch.manual_seed(2)
    found = torch.stack([self_attention(qkv, 2, MASK, True, 0.3) for _ in range(4000)]).mean(0)
    expected = self_attention(qkv, 2, MASK, True, 0.0)
    torch.testing.assert_close(found[~MASK], expected[~MASK], atol=0.06, rtol=0)

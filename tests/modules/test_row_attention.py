"""Attention of rows against a plain formula with the same dropped weights, and against torch's own without any."""

import pytest
import torch
from torch import nn

from mm_fairseq.modules import attention
from mm_fairseq.modules import row_attention as module

QUERIES, KEYS = (7, 4, 1, 3), (5, 9, 2, 0)  # the last row has no key


def mask_of(lengths):
    return torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]


QUERY_MASK, KEY_MASK = mask_of(QUERIES), mask_of(KEYS)


def parts_of(dtype=torch.double, packing=(8, 16)):
    """Queries, keys and values, packed into tensors of these widths."""
    torch.manual_seed(0)
    times = (7, 9) if len(packing) == 2 else (7, 9, 9)
    return [torch.randn(4, t, width, dtype=dtype, requires_grad=True) for t, width in zip(times, packing, strict=True)]


def row_attention(packed, heads, query_mask, key_mask, dropout=0.0, causal=False):
    """Frames in front, and torch's own attention where it is taken."""
    if module.by_rows(*packed):
        packed = [x.transpose(1, 2) for x in packed]
        return module.row_attention(packed, heads, query_mask, key_mask, dropout, causal).transpose(1, 2)
    out = attention._fused(split(packed), heads, query_mask, key_mask, dropout, causal)
    return out.masked_fill(key_mask.all(1)[:, None, None], 0.0)


def split(packed):
    return [part for x in packed for part in x.split(8, dim=-1)]


def plain(packed, heads, queries=QUERIES, keys=KEYS, kept=None, factor=1.0, causal=False):
    """(B, Tq, D) by the formula; `kept` has a (H, Tq, Tk) mask for each row with keys."""
    out, kept = torch.zeros_like(split(packed)[0]), iter(kept or ())
    for row, (lq, lk) in enumerate(zip(queries, keys, strict=True)):
        if not lk:
            continue
        query, key, value = (
            part[row, :length].unflatten(-1, (heads, -1)).transpose(0, 1)
            for part, length in zip(split(packed), (lq, lk, lk), strict=True)
        )
        scores = query @ key.transpose(1, 2) / query.size(-1) ** 0.5
        if causal:
            seen = [[j * lq < (i + 1) * lk for j in range(lk)] for i in range(lq)]
            scores = scores.masked_fill(~torch.tensor(seen), float("-inf"))
        weights = scores.softmax(-1)
        if factor != 1:
            weights = weights * next(kept) * factor
        out[row, :lq] = (weights @ value).transpose(0, 1).flatten(1)
    return out


def gradients(out, packed):
    weight = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((out * weight).masked_fill(QUERY_MASK[..., None], 0.0).sum(), packed)


def pieces_of(heads):
    return list(module._pieces(heads, list(zip(QUERIES, KEYS, strict=True))))


def weights_of(masks, heads=2):
    """Masks of pieces put together: (H, Tq, Tk) for each row that has keys."""
    whole = torch.zeros(4 * heads, 7, 9, dtype=torch.bool)
    for mask, (some, part, keys) in zip(masks, pieces_of(heads), strict=True):
        whole[some, part, :keys] = mask
    rows = zip(whole.unflatten(0, (4, heads)), QUERIES, KEYS, strict=True)
    return [row[:, :queries, :keys] for row, queries, keys in rows if keys]


@pytest.mark.parametrize("steep", [1, 40])  # the second one needs the maximum subtracted
@pytest.mark.parametrize("piece", [2**17, 150, 36, 12, 1])  # all rows at once, two, a row, a head, a query of it
@pytest.mark.parametrize("packing", [(8, 16), (8, 8, 8)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_equals_the_formula_with_its_gradients(dropout, causal, packing, piece, steep, monkeypatch):
    packed, drawn = parts_of(packing=packing), []
    packed = [(steep * x.detach()).requires_grad_() for x in packed]

    class Draw(module.Draw):
        def __call__(self, size):
            drawn.append((super().__call__(size), self.factor))
            return drawn[-1][0]

    monkeypatch.setattr(module, "Draw", Draw)
    monkeypatch.setattr(module, "PIECE", piece)
    out = row_attention(packed, 2, QUERY_MASK, KEY_MASK, dropout, causal)
    assert len(drawn) == (len(pieces_of(2)) if dropout else 0)
    assert not dropout or sum((~kept).sum() for kept, _ in drawn) > 0
    kept, factor = (weights_of([mask for mask, _ in drawn]), drawn[0][1]) if dropout else (None, 1.0)
    expected = plain(packed, 2, kept=kept, factor=factor, causal=causal)
    real = ~QUERY_MASK
    torch.testing.assert_close(out[real], expected[real], atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(gradients(out, packed), gradients(expected, packed), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("piece", [1, 7, 30, 100, 600, 10**6])
def test_every_weight_is_in_one_piece(piece, monkeypatch):
    monkeypatch.setattr(module, "PIECE", piece)
    seen = torch.zeros(4 * 5, 7, 9, dtype=torch.int)
    for some, part, keys in pieces_of(5):
        seen[some, part, :keys] += 1
        assert seen[some, part, :keys].numel() <= max(piece, keys)
    assert seen.max() == 1
    for row, queries, keys in zip(seen.unflatten(0, (4, 5)), QUERIES, KEYS, strict=True):
        assert (row[:, :queries, :keys] == 1).all()


def test_self_attention_of_one_packed_tensor():
    torch.manual_seed(0)
    qkv = torch.randn(4, 7, 24, dtype=torch.double, requires_grad=True)
    for dropout in (0.0, 1e-9):  # both ways; the second one drops nothing
        out = row_attention([qkv], 2, QUERY_MASK, QUERY_MASK, dropout)
        expected = plain([qkv], 2, QUERIES, QUERIES)
        torch.testing.assert_close(out[~QUERY_MASK], expected[~QUERY_MASK], atol=1e-8, rtol=1e-8)
        torch.testing.assert_close(gradients(out, [qkv]), gradients(expected, [qkv]), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_causal_keys_are_those_of_the_time_so_far_whatever_the_padding(dropout):
    """Four queries over eight keys: query i hears of key j while j < 2 (i + 1)."""
    packed = parts_of()
    lengths = [mask_of((7, 4, 1, 3)), mask_of((9, 8, 1, 1))]
    lengths[1][0] = True
    torch.manual_seed(1)
    out = row_attention(packed, 2, *lengths, dropout, causal=True)
    for i in range(4):
        (gradient,) = torch.autograd.grad(out[1, i].sum(), packed[1], retain_graph=True)
        heard = gradient[1].abs().sum(-1).nonzero()[:, 0]
        assert heard.max() < 2 * (i + 1)
        assert dropout or heard.tolist() == list(range(2 * (i + 1)))


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16, torch.float])
def test_every_precision_runs_with_dropout(dtype, device):
    packed = [x.detach().to(device, dtype).requires_grad_() for x in parts_of()]
    out = row_attention(packed, 2, QUERY_MASK.to(device), KEY_MASK.to(device), 0.3)
    out[~QUERY_MASK.to(device)].float().sum().backward()
    assert out.dtype == dtype
    assert all(x.grad.isfinite().all() for x in packed)
    assert (out[3] == 0).all()


def test_equals_torch_without_dropout():
    query, pair = parts_of(torch.float)
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(8).repeat(3, 1))
        layer.out_proj.weight.copy_(torch.eye(8))
    expected, _ = layer(query, *pair.chunk(2, -1), key_padding_mask=KEY_MASK)
    out = row_attention([query, pair], 2, QUERY_MASK, KEY_MASK)
    real = ~QUERY_MASK
    real[3] = False  # NaN there
    torch.testing.assert_close(out[real], expected[real], atol=1e-6, rtol=1e-5)


def test_mean_over_many_draws_is_the_undropped():
    packed = [x.detach().requires_grad_() for x in parts_of(torch.float)]  # without a gradient torch's own would do
    torch.manual_seed(2)
    found = torch.stack([row_attention(packed, 2, QUERY_MASK, KEY_MASK, 0.3).detach() for _ in range(4000)]).mean(0)
    expected = row_attention(packed, 2, QUERY_MASK, KEY_MASK)
    torch.testing.assert_close(found[~QUERY_MASK], expected[~QUERY_MASK], atol=0.06, rtol=0)

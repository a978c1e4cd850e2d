"""Scaled dot-product attention among the real frames of each row.

On a CPU torch has no fused attention with dropout: it would write and read the (B, H, Tq, Tk) weights ten times. Here
each row is taken by itself, without its padding, and the backward pass computes its weights once more.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .dropout import Draw, number, quick


def row_attention(
    packed: Sequence[Tensor],
    heads: int,
    query_mask: Tensor,
    key_mask: Tensor,
    dropout: float = 0.0,
    causal: bool = False,
) -> Tensor:
    """Attend.

    With `causal` a query sees keys up to its own time: query i of a row with Lq real ones sees key j of Lk where
    j / Lk < (i + 1) / Lq. For equal lengths that is j <= i.

    Args:
        packed: queries (B, Tq, D), keys and values (B, Tk, D); those of equal length may stand side by side in one
            tensor, as (B, T, 3 D) or (B, Tk, 2 D).
        heads: H, which divides D.
        query_mask: (B, Tq); padding stands behind.
        key_mask: (B, Tk); padding stands behind. A row may be all padding.
        dropout: of the weights.
        causal: see above.

    Returns:
        (B, Tq, D), zeros in rows without a key; what stands in the padding means nothing.
    """
    if quick(packed[0], dropout):
        lengths = [(~mask).sum(1).tolist() for mask in (query_mask, key_mask)]
        return _Rows.apply(heads, lengths, dropout, causal, *packed)
    query, key, value = _parts(packed, heads)  # B x H x T x d
    empty = key_mask.all(dim=1)[:, None, None]
    seen = ~key_mask[:, None] | empty  # B x 1 x Tk; softmax of nothing is NaN
    if causal:
        seen = seen & (~_later(query_mask, key_mask) | empty)
    out = F.scaled_dot_product_attention(query, key, value, seen[:, None], dropout_p=dropout)
    return out.transpose(1, 2).flatten(2).masked_fill(empty, 0.0)


def _parts(packed: Sequence[Tensor], heads: int) -> list[Tensor]:
    """Queries, keys and values, (B, H, T, d) each, as views."""
    dim = sum(x.size(-1) for x in packed) // 3
    return [part.unflatten(-1, (heads, -1)).transpose(1, 2) for x in packed for part in x.split(dim, dim=-1)]


def _later(query_mask: Tensor, key_mask: Tensor) -> Tensor:
    """(B, Tq, Tk), True where a key lies behind its query."""
    queries, keys = ((~mask).sum(1)[:, None, None] for mask in (query_mask, key_mask))
    i, j = (torch.arange(mask.size(1), device=mask.device) for mask in (query_mask, key_mask))
    return j * queries >= (i[:, None] + 1) * keys


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, heads: int, lengths: list[list[int]], dropout: float, causal: bool, *packed: Tensor
    ) -> Tensor:
        parts = _parts(packed, heads)
        out = torch.zeros_like(parts[0].transpose(1, 2), memory_format=torch.contiguous_format)  # B x Tq x H x d
        drawn, draw = [], Draw(dropout)
        for place, *row, queries, keys in zip(out.transpose(1, 2), *parts, *lengths, strict=True):
            if not queries or not keys:
                continue
            query, key, value = row[0][:, :queries], row[1][:, :keys], row[2][:, :keys]
            weights = _weights(query, key, causal)
            drawn.append(draw(weights.shape))
            place[:, :queries] = _product(weights.mul_(number(drawn[-1], weights.dtype)), value, draw.factor)
        ctx.save_for_backward(*packed, *drawn)
        ctx.heads, ctx.lengths, ctx.causal, ctx.factor, ctx.count = heads, lengths, causal, draw.factor, len(packed)
        return out.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        packed, drawn = ctx.saved_tensors[: ctx.count], iter(ctx.saved_tensors[ctx.count :])
        outs = [torch.zeros_like(x, memory_format=torch.contiguous_format) for x in packed]
        parts, places = _parts(packed, ctx.heads), _parts(outs, ctx.heads)
        gradients = gradient.unflatten(-1, (ctx.heads, -1)).transpose(1, 2)  # B x H x Tq x d
        for above, *rows, queries, keys in zip(gradients, *parts, *places, *ctx.lengths, strict=True):
            if not queries or not keys:
                continue
            above, counts = above[:, :queries], (queries, keys, keys) * 2
            query, key, value, *out = (row[:, :count] for row, count in zip(rows, counts, strict=True))
            root = query.size(-1) ** -0.5
            weights = _weights(query, key, ctx.causal)
            kept = number(next(drawn), weights.dtype)
            inner = _product(above, value.transpose(1, 2), ctx.factor).mul_(kept)
            inner = torch._softmax_backward_data(inner, weights, -1, weights.dtype)
            out[0].copy_(_product(inner, key, root))
            out[1].copy_(_product(inner.transpose(1, 2), query, root))
            out[2].copy_(_product(weights.mul_(kept).transpose(1, 2), above, ctx.factor))
        return (None, None, None, None, *outs)


def _weights(query: Tensor, key: Tensor, causal: bool) -> Tensor:
    scores = _product(query, key.transpose(1, 2), query.size(-1) ** -0.5)  # H x Tq x Tk
    if causal:
        whole = [x.new_zeros(1, x.size(1), dtype=torch.bool) for x in (query, key)]
        scores.masked_fill_(_later(*whole), float("-inf"))
    return scores.softmax(-1)


def _product(first: Tensor, second: Tensor, factor: float) -> Tensor:
    return torch.baddbmm(first.new_empty(()), first, second, beta=0, alpha=factor)

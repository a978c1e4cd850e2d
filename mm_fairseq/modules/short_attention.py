"""Scaled dot-product attention of short sequences, in training on a CPU: all rows in one product.

Where the (B, H, Tq, Tk) weights of a batch are few megabytes, to keep them for the backward pass takes half the time of
`row_attention`, which goes row by row and computes them again.

Notation: d width of a head.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .dropout import Draw, number
from .row_attention import by_rows

LONGEST = 128  # frames
MOST = 2**22  # weights in a batch: 16 MB


def suits(packed: Sequence[Tensor], heads: int) -> bool:
    """Whether `short_attention` is the faster way; `packed` as there."""
    first, last = packed[0], packed[-1]
    times = (first.size(1), last.size(1))
    return by_rows(*packed) and max(times) <= LONGEST and heads * first.size(0) * times[0] * times[1] <= MOST


def short_attention(packed: Sequence[Tensor], heads: int, key_mask: Tensor, dropout: float = 0.0) -> Tensor:
    """Attend.

    Args:
        packed: queries (B, Tq, D), keys and values (B, Tk, D); those of equal length may stand side by side in one
            tensor, as (B, T, 3 D) or (B, Tk, 2 D).
        heads: H, which divides D.
        key_mask: (B, Tk). A row may be all padding.
        dropout: of the weights, below 1.

    Returns:
        (B, Tq, D), zeros in rows without a key.
    """
    return _Attention.apply(heads, key_mask, dropout, *packed)


def _apart(x: Tensor, heads: int, dim: int) -> list[Tensor]:
    """The one to three parts of a packed tensor, (B H, T, d) each."""
    parts = x.split(heads * dim, dim=-1)
    return [part.unflatten(-1, (heads, dim)).transpose(1, 2).reshape(-1, x.size(1), dim) for part in parts]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads: int, key_mask: Tensor, dropout: float, *packed: Tensor) -> Tensor:
        batch, dim = packed[0].size(0), sum(x.size(-1) for x in packed) // 3 // heads
        query, key, value = (part for x in packed for part in _apart(x, heads, dim))
        weights = _product(query, key.transpose(1, 2), dim**-0.5)  # B H x Tq x Tk
        empty = key_mask.all(dim=1)
        if key_mask.any():
            hidden = (key_mask & ~empty[:, None])[:, None, None]
            weights.unflatten(0, (batch, heads)).masked_fill_(hidden, float("-inf"))
        weights = weights.softmax(-1)
        if empty.any():
            weights.unflatten(0, (batch, heads))[empty] = 0.0
        draw = Draw(dropout) if dropout else None
        ctx.factor, ctx.scale, ctx.heads, ctx.widths = draw.factor if draw else 1.0, dim**-0.5, heads, len(packed)
        kept = draw(weights.shape) if draw else None
        ctx.save_for_backward(query, key, value, weights, *([kept] if kept is not None else []))
        dropped = weights if kept is None else number(kept, weights.dtype).mul_(weights)
        out = _product(dropped, value, ctx.factor)
        return out.unflatten(0, (batch, heads)).transpose(1, 2).flatten(2)  # B x Tq x D

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        query, key, value, weights, *kept = ctx.saved_tensors
        above = _apart(gradient, ctx.heads, query.size(-1))[0]
        inner = _product(above, value.transpose(1, 2), ctx.factor)
        dropped = weights
        if kept:
            ones = number(kept[0], weights.dtype)
            inner, dropped = inner.mul_(ones), ones.mul_(weights)
        of_value = _product(dropped.transpose(1, 2), above, ctx.factor)
        inner = torch._softmax_backward_data(inner, weights, -1, weights.dtype)
        found = [_product(inner, key, ctx.scale), _product(inner.transpose(1, 2), query, ctx.scale), of_value]
        groups = {1: [found], 2: [found[:1], found[1:]], 3: [[each] for each in found]}[ctx.widths]
        return None, None, None, *(_together(parts, ctx.heads) for parts in groups)


def _together(parts: list[Tensor], heads: int) -> Tensor:
    """The opposite of `_apart`."""
    apart = [part.unflatten(0, (-1, heads)).transpose(1, 2) for part in parts]  # B x T x H x d
    batch, time, _, dim = apart[0].shape
    out = apart[0].new_empty(batch, time, len(parts), heads, dim)
    for place, part in enumerate(apart):
        out[:, :, place] = part
    return out.flatten(2)


def _product(first: Tensor, second: Tensor, factor: float) -> Tensor:
    return torch.baddbmm(first.new_empty(()), first, second, beta=0, alpha=factor)

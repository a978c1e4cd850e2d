"""Scaled dot-product attention among the real frames of each row.

On a CPU torch's own writes the (B, H, Tq, Tk) weights to memory and reads them back, ten times with dropout. Here each
row is taken by itself, without its padding, in pieces that stay in the processor's cache, and the backward pass computes
the weights once more (Dao et al. 2022, "FlashAttention", arXiv 2205.14135, section 3.1).

Notation: d width of a head.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .dropout import Draw, number

PIECE = 2**17  # weights at once
STEEP = 30.0  # scores below this size need no maximum subtracted before the exponential


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
        dropout: of the weights, below 1.
        causal: see above.

    Returns:
        (B, Tq, D), zeros in rows without a key; what stands in the padding means nothing.
    """
    first = packed[0]
    learning = torch.is_grad_enabled() and any(x.requires_grad for x in packed)
    if learning and first.device.type == "cpu" and first.dtype in (torch.float, torch.double):
        lengths = [(~mask).sum(1).tolist() for mask in (query_mask, key_mask)]
        return _Rows.apply(heads, lengths, dropout, causal, *packed)
    query, key, value = _parts(packed, heads)
    query, key, value = (x.transpose(2, 3) for x in (query, key, value))  # B x H x T x d
    empty = key_mask.all(dim=1)[:, None, None]
    seen = ~key_mask[:, None] | empty  # B x 1 x Tk; softmax of nothing is NaN
    if causal:
        seen = seen & (~_later(query_mask, key_mask) | empty)
    out = F.scaled_dot_product_attention(query, key, value, seen[:, None], dropout_p=dropout)
    return out.transpose(1, 2).flatten(2).masked_fill(empty, 0.0)


def _parts(packed: Sequence[Tensor], heads: int) -> list[Tensor]:
    """Queries, keys and values, (B, H, d, T) each, as views."""
    dim = sum(x.size(-1) for x in packed) // 3
    return [part.transpose(1, 2).unflatten(1, (heads, -1)) for x in packed for part in x.split(dim, dim=-1)]


def _later(query_mask: Tensor, key_mask: Tensor) -> Tensor:
    """(B, Tq, Tk), True where a key lies behind its query."""
    queries, keys = ((~mask).sum(1)[:, None, None] for mask in (query_mask, key_mask))
    i, j = (torch.arange(mask.size(1), device=mask.device) for mask in (query_mask, key_mask))
    return j * queries >= (i[:, None] + 1) * keys


class _Rows(torch.autograd.Function):
    """Channels stand in front of frames, which makes products of a few channels fast.

    A row of ones below the values gives the sum of the weights along with their product. In the same way the products
    of the backward pass subtract the logarithm of that sum from the scores, and from the gradient of the weights its
    mean.
    """

    @staticmethod
    def forward(
        ctx: Any, heads: int, lengths: list[list[int]], dropout: float, causal: bool, *packed: Tensor
    ) -> Tensor:
        query, key, value = _parts(packed, heads)
        dim, draw = query.size(2), Draw(dropout) if dropout else None
        query, key, value = query * dim**-0.5, key.contiguous(), _extended(value, 1.0)
        steep = (query.norm(dim=2).amax((1, 2)) * key.norm(dim=2).amax((1, 2)) > STEEP).tolist()
        out, shift, total = (
            torch.zeros_like(query),
            query.new_zeros(query[:, :, 0].shape),
            torch.ones_like(query[:, :, 0]),
        )
        room, drawn = query.new_empty(_largest(heads, lengths)), []
        for row, some, part, keys in _pieces(heads, lengths):
            weights = _scores(query[row, some, :, part], key[row, some, :, :keys], room)
            if causal:
                weights.masked_fill_(_hidden(part, lengths[0][row], keys), float("-inf"))
            if steep[row]:
                shift[row, some, part] = weights.amax(-1)
                weights.sub_(shift[row, some, part, None])
            weights.exp_()
            if draw:
                total[row, some, part] = weights.sum(-1)
                drawn.append(draw(weights.shape))
                weights.mul_(number(drawn[-1], weights.dtype))
            product = torch.bmm(value[row, some, :, :keys], weights.transpose(1, 2))
            out[row, some, :, part] = product[:, :dim]
            if not draw:
                total[row, some, part] = product[:, dim]
        ctx.factor = draw.factor if draw else 1.0
        out *= ctx.factor / total[:, :, None]
        ctx.save_for_backward(out, shift + total.log(), *packed, *drawn)
        ctx.heads, ctx.lengths, ctx.causal, ctx.count = heads, lengths, causal, len(packed)
        return out.flatten(1, 2).transpose(1, 2).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        out, logarithm, *rest = ctx.saved_tensors
        packed, drawn = rest[: ctx.count], iter(rest[ctx.count :])
        query, key, value = _parts(packed, ctx.heads)
        dim, above = query.size(2), gradient.transpose(1, 2).unflatten(1, (ctx.heads, -1))
        mean = (above * out).sum(2)  # B x H x Tq
        query, key = _extended(query * dim**-0.5, -logarithm), _extended(key, 1.0)
        value, above = _extended(value, 1.0), _extended(above * ctx.factor, -mean)
        gradients = [torch.zeros_like(x[:, :, :dim]) for x in (query, key, value)]
        room, other = out.new_empty(2, _largest(ctx.heads, ctx.lengths))
        for row, some, part, keys in _pieces(ctx.heads, ctx.lengths):
            weights = _scores(query[row, some, :, part], key[row, some, :, :keys], room)
            if ctx.causal:
                weights.masked_fill_(_hidden(part, ctx.lengths[0][row], keys), float("-inf"))
            weights.exp_()
            kept = number(next(drawn), weights.dtype) if ctx.factor > 1 else None
            end = dim if kept is not None else dim + 1
            inner = _scores(above[row, some, :end, part], value[row, some, :end, :keys], other)
            if kept is not None:
                inner.mul_(kept).sub_(mean[row, some, part, None])
            inner.mul_(weights)
            if kept is not None:
                weights.mul_(kept)
            to_query, to_key, to_value = gradients
            to_query[row, some, :, part] = torch.bmm(key[row, some, :dim, :keys], inner.transpose(1, 2))
            to_key[row, some, :, :keys] += torch.bmm(query[row, some, :dim, part], inner)
            to_value[row, some, :, :keys] += torch.bmm(above[row, some, :dim, part], weights)
        gradients[0] *= dim**-0.5
        outs = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in packed]
        for place, found in zip(_parts(outs, ctx.heads), gradients, strict=True):
            place.copy_(found)
        return (None, None, None, None, *outs)


def _extended(x: Tensor, row: Tensor | float) -> Tensor:
    """(B, H, d, T) with one channel more, (B, H, T) or a number."""
    out = x.new_empty(*x.shape[:2], x.size(2) + 1, x.size(3))
    out[:, :, :-1], out[:, :, -1] = x, row
    return out


def _pieces(heads: int, lengths: list[list[int]]) -> Iterator[tuple[int, slice, slice, int]]:
    """Row, heads, queries and number of keys of each piece."""
    for row, (queries, keys) in enumerate(zip(*lengths, strict=True)):
        if queries and keys:
            step = min(queries, max(1, PIECE // keys))
            some = max(1, PIECE // (queries * keys))
            for first in range(0, heads, some):
                for start in range(0, queries, step):
                    yield row, slice(first, min(first + some, heads)), slice(start, min(start + step, queries)), keys


def _largest(heads: int, lengths: list[list[int]]) -> int:
    """Weights in the largest piece."""
    sizes = [
        (some.stop - some.start) * (part.stop - part.start) * keys for _, some, part, keys in _pieces(heads, lengths)
    ]
    return max(sizes, default=0)


def _scores(query: Tensor, key: Tensor, room: Tensor) -> Tensor:
    """(n, d, Tq) with (n, d, Tk) to (n, Tq, Tk), in memory that is there."""
    shape = query.size(0), query.size(2), key.size(2)
    return torch.bmm(query.transpose(1, 2), key, out=room[: shape[0] * shape[1] * shape[2]].view(shape))


def _hidden(part: slice, queries: int, keys: int) -> Tensor:
    """(Tq, Tk) of a part of the queries of a row, True where a key lies behind its query."""
    return torch.arange(keys) * queries >= torch.arange(part.start + 1, part.stop + 1)[:, None] * keys

"""Scaled dot-product attention among the real frames of each row.

On a CPU torch's own writes the (B, H, Tq, Tk) weights to memory and reads them back, ten times with dropout. Here they
come in pieces that stay near the processor, without the padding of longer neighbours, and the backward pass computes
them once more (Dao et al. 2022, "FlashAttention", arXiv 2205.14135, section 3.1).

Notation: d width of a head.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .dropout import Draw

PIECE = 2**18  # weights at once
STEEP = 60.0  # of smaller scores the exponential needs no maximum subtracted


def by_rows(*tensors: Tensor) -> bool:
    """Whether `row_attention` is the way to go: to learn from these on a CPU."""
    learning = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return learning and all(x.device.type == "cpu" and x.dtype in (torch.float, torch.double) for x in tensors)


def row_attention(
    packed: Sequence[Tensor],
    heads: int,
    query_mask: Tensor,
    key_mask: Tensor,
    dropout: float = 0.0,
    causal: bool = False,
) -> Tensor:
    """Attend, on a CPU.

    Args:
        packed: queries (B, D, Tq), keys and values (B, D, Tk), channels in front; those of equal length may stand side
            by side in one tensor, as (B, 3 D, T) or (B, 2 D, Tk).
        heads: H, which divides D.
        query_mask: (B, Tq); padding stands behind.
        key_mask: (B, Tk); padding stands behind. A row may be all padding.
        dropout: of the weights, below 1.
        causal: see `later`.

    Returns:
        (B, D, Tq), zeros in rows without a key; what stands in the padding means nothing.
    """
    return _Rows.apply(heads, query_mask, key_mask, dropout, causal, *packed)


def later(query_mask: Tensor, key_mask: Tensor) -> Tensor:
    """Which keys lie behind their query in time.

    Query i of a row with Lq real ones sees key j of Lk where j / Lk < (i + 1) / Lq; for equal lengths that is j <= i.

    Args:
        query_mask: (B, Tq).
        key_mask: (B, Tk).

    Returns:
        (B, Tq, Tk), True where the query must not see the key; nowhere in rows without a key.
    """
    queries, keys = ((~mask).sum(1)[:, None, None] for mask in (query_mask, key_mask))
    i, j = (torch.arange(mask.size(1), device=mask.device) for mask in (query_mask, key_mask))
    return (j * queries >= (i[:, None] + 1) * keys) & (keys > 0)


def _parts(packed: Sequence[Tensor], heads: int, count: int = 3) -> list[Tensor]:
    """Queries, keys and values, (B, H, d, T) each, as views."""
    dim = sum(x.size(1) for x in packed) // count
    return [part.unflatten(1, (heads, -1)) for x in packed for part in x.split(dim, dim=1)]


@contextmanager
def one_thread() -> Iterator[None]:
    """Small products one after another: threads would wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Rows(torch.autograd.Function):
    """Channels stand in front of frames, which makes products of a few channels fast.

    What else there is to add is a channel more in these products. Keys that are padding get minus infinity, so that
    their weights are zeros. A row of ones below the values gives the sum of the weights. In the backward pass the
    scores lose the logarithm of that sum, and the gradients of the weights their mean.
    """

    @staticmethod
    @one_thread()
    def forward(
        ctx: Any, heads: int, query_mask: Tensor, key_mask: Tensor, dropout: float, causal: bool, *packed: Tensor
    ) -> Tensor:
        query, key, value = _parts(packed, heads)
        dim, draw = query.size(2), Draw(dropout) if dropout else None
        query, key, value = _with(query * dim**-0.5, 1.0), _with(key, _hidden(key_mask, key)), _with(value, 1.0)
        most = (x[:, :dim].abs().amax(2) for x in (query, key))
        steep = (torch.mul(*most).sum(1) > STEEP).tolist()
        out, total, shift = (torch.zeros_like(x) for x in (query[:, :dim], query[:, 0], query[:, 0]))
        plan = _Plan(heads, query_mask, key_mask, causal)
        weights_room, kept_room = query.new_empty(2, plan.largest)
        drawn = torch.empty(plan.bits[-1] if draw else 0, dtype=torch.uint8)
        for number, (some, part, keys) in enumerate(plan.pieces):
            weights = _scores(query[some, :, part], key[some, :, :keys], weights_room)
            plan.hide(weights, some, part)
            if any(steep[some]):
                shift[some, part] = weights.amax(-1)
                weights.sub_(shift[some, part, None])
            weights.exp_()
            if draw:
                total[some, part] = weights.sum(-1)
                kept = draw(weights.shape)
                drawn[plan.bits[number] : plan.bits[number + 1]] = torch.from_numpy(np.packbits(kept.numpy()))
                weights.mul_(_number(kept, kept_room))
            product = torch.bmm(value[some, :, :keys], weights.transpose(1, 2))
            out[some, :, part] = product[:, :dim]
            if not draw:
                total[some, part] = product[:, dim]
        ctx.plan, ctx.factor = plan, draw.factor if draw else 1.0
        out *= ctx.factor / total.masked_fill_(total == 0, 1.0)[:, None]
        out = out.unflatten(0, (-1, heads)).flatten(1, 2)  # B x D x Tq
        out.masked_fill_(plan.empty[:, None, None], 0.0)
        ctx.save_for_backward(out, shift + total.log(), drawn, *packed)
        return out

    @staticmethod
    @once_differentiable
    @one_thread()
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        out, logarithm, drawn, *packed = ctx.saved_tensors
        plan = ctx.plan
        query, key, value = _parts(packed, plan.heads)
        dim = query.size(2)
        gradient = gradient.masked_fill((plan.query_mask | plan.empty[:, None])[:, None], 0.0)
        mean = -(gradient * out).unflatten(1, (plan.heads, dim)).sum(2).flatten(0, 1)  # B H x Tq
        (above,) = _parts([gradient], plan.heads, 1)
        query, key = _with(query * dim**-0.5, 1.0, -logarithm), _with(key, _hidden(plan.key_mask, key), 1.0)
        value, above = _with(value, 1.0), _with(above * ctx.factor, mean)
        to_query, to_key, to_value = (torch.zeros_like(x[:, :dim]) for x in (query, key, value))
        weights_room, inner_room, kept_room = query.new_empty(3, plan.largest)
        for number, (some, part, keys) in enumerate(plan.pieces):
            weights = _scores(query[some, :, part], key[some, :, :keys], weights_room)
            plan.hide(weights, some, part)
            weights.exp_()
            if ctx.factor == 1:
                inner = _scores(above[some, :, part], value[some, :, :keys], inner_room).mul_(weights)
            else:
                bits = drawn[plan.bits[number] : plan.bits[number + 1]].numpy()
                bits = np.unpackbits(bits, count=weights.numel())
                kept = _number(torch.from_numpy(bits).view(weights.shape), kept_room)
                inner = _scores(above[some, :dim, part], value[some, :dim, :keys], inner_room)
                torch.addcmul(mean[some, part, None], inner, kept, out=inner).mul_(weights)
                weights.mul_(kept)
            to_query[some, :, part] = torch.bmm(key[some, :dim, :keys], inner.transpose(1, 2))
            to_key[some, :, :keys] += torch.bmm(query[some, :dim, part], inner)
            to_value[some, :, :keys] += torch.bmm(above[some, :dim, part], weights)
        to_query *= dim**-0.5
        outs = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in packed]
        for place, found in zip(_parts(outs, plan.heads), (to_query, to_key, to_value), strict=True):
            place.copy_(found.unflatten(0, (-1, plan.heads)))
        return (None, None, None, None, None, *outs)


class _Plan:
    """What is done one after another: neighbouring rows, one row, or a part of its heads and queries at once.

    Attributes:
        pieces: rows and heads (of B H), queries, and number of keys.
        largest: weights in the largest piece.
        bits: where the bytes begin that hold a bit for each weight of a piece, and where the last ones end.
    """

    def __init__(self, heads: int, query_mask: Tensor, key_mask: Tensor, causal: bool) -> None:
        self.heads, self.query_mask, self.key_mask, self.causal = heads, query_mask, key_mask, causal
        self.empty = key_mask.all(dim=1)
        lengths = [(~mask).sum(1).tolist() for mask in (query_mask, key_mask)]
        self.pieces = list(_pieces(heads, list(zip(*lengths, strict=True))))
        sizes = [_count(some) * _count(part) * keys for some, part, keys in self.pieces]
        self.largest = max(sizes, default=0)
        self.bits = [0, *itertools.accumulate(-(-size // 8) for size in sizes)]

    def hide(self, scores: Tensor, some: slice, part: slice) -> None:
        """With `causal`, take later keys out of the scores (n, Tq, Tk) of a piece."""
        if self.causal:
            rows = slice(some.start // self.heads, -(-some.stop // self.heads))
            hidden = later(self.query_mask[rows], self.key_mask[rows])[:, None, part, : scores.size(2)]
            scores.unflatten(0, (hidden.size(0), -1)).masked_fill_(hidden, float("-inf"))


def _pieces(heads: int, lengths: Sequence[tuple[int, int]]) -> Iterator[tuple[slice, slice, int]]:
    row = 0
    while row < len(lengths):
        queries, keys = lengths[row]
        stop = row + 1
        for more in lengths[stop:]:
            wider = max(queries, more[0]), max(keys, more[1])
            if (stop + 1 - row) * heads * wider[0] * wider[1] > PIECE:
                break
            (queries, keys), stop = wider, stop + 1
        some, part = heads * (stop - row), queries
        if some * queries * keys > PIECE:  # of one row
            some = _share(heads, queries * keys)
            part = queries if some > 1 else _share(queries, keys)
        if queries and keys:
            for first in range(row * heads, stop * heads, some):
                for start in range(0, queries, part):
                    yield slice(first, min(first + some, stop * heads)), slice(start, min(start + part, queries)), keys
        row = stop


def _share(count: int, size: int) -> int:
    """Of `count` things of this size, how many to take at once, in parts about equal."""
    most = max(1, PIECE // size)
    return -(-count // -(-count // most))


def _count(part: slice) -> int:
    return int(part.stop - part.start)


def _with(x: Tensor, *rows: Tensor | float) -> Tensor:
    """(B, H, d, T) as (B H, d + n, T), with n channels more: numbers, (B, T) or (B H, T)."""
    batch, heads, dim, frames = x.shape
    out = x.new_empty(batch, heads, dim + len(rows), frames)
    out[:, :, :dim] = x
    for place, row in enumerate(rows, dim):
        if isinstance(row, Tensor):
            row = row.unflatten(0, (batch, -1))  # one for all heads, or one for each
        out[:, :, place] = row
    return out.flatten(0, 1)


def _hidden(key_mask: Tensor, like: Tensor) -> Tensor:
    """(B, Tk), minus infinity where a key is padding; nowhere in rows without a key."""
    hidden = key_mask & ~key_mask.all(dim=1, keepdim=True)
    return like.new_zeros(key_mask.shape).masked_fill_(hidden, float("-inf"))


def _scores(query: Tensor, key: Tensor, room: Tensor) -> Tensor:
    """(n, d, Tq) with (n, d, Tk) to (n, Tq, Tk), in memory that is there."""
    shape = query.size(0), query.size(2), key.size(2)
    return torch.bmm(query.transpose(1, 2), key, out=room[: math.prod(shape)].view(shape))


def _number(kept: Tensor, room: Tensor) -> Tensor:
    """A mask as ones and zeros, in memory that is there."""
    return room[: kept.numel()].view(kept.shape).copy_(kept.view(torch.uint8))

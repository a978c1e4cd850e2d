"""The feed-forward part of a transformer layer, computed again in the backward pass instead of kept."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .dropout import Draw, number, quick

LARGE = 2**22  # hidden units of a batch, 16 MB, from which on they are not kept
PIECE = 2**18  # hidden units at once


def suits(x: Tensor, hidden: int, dropout: float) -> bool:
    """Whether `feed_forward` is worth its second computation: the hidden units of `x` (B, T, D) are many."""
    return x.requires_grad and quick(x, dropout) and x.size(0) * x.size(1) * hidden >= LARGE


def feed_forward(
    x: Tensor, weight: Tensor, bias: Tensor, out_weight: Tensor, out_bias: Tensor, dropout: float
) -> Tensor:
    """`W2 drop(relu(W1 x + b1)) + b2`, a few frames after others, so that the hidden units never leave the cache.

    Args:
        x: (B, T, D), on a CPU.
        weight: (F, D).
        bias: (F).
        out_weight: (D, F).
        out_bias: (D).
        dropout: above 0, below 1.

    Returns:
        (B, T, D).
    """
    return _FeedForward.apply(x.flatten(0, 1), weight, bias, out_weight, out_bias, dropout).view_as(x)


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, out_weight: Tensor, out_bias: Tensor, dropout: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, bias, out_weight)
        ctx.draw = Draw(dropout)
        ctx.draw.mark()
        out = x.new_empty(len(x), len(out_bias))
        for part, room in _parts(x, bias):
            inner = _inner(x[part], weight, bias, ctx.draw, room)
            torch.addmm(out_bias, inner, out_weight.t(), out=out[part])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, out_weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_x = torch.empty_like(x)
        to_weight, to_bias, to_out = (torch.zeros_like(each) for each in (weight, bias, out_weight))
        ctx.draw.rewind()
        for part, room in _parts(x, bias):
            inner = _inner(x[part], weight, bias, ctx.draw, room)
            to_out.addmm_(gradient[part].t(), inner)
            back = torch.mm(gradient[part], out_weight)
            back = torch.ops.aten.threshold_backward(back, inner, 0).mul_(ctx.draw.factor)
            to_bias += back.sum(0)
            to_weight.addmm_(back.t(), x[part])
            torch.mm(back, weight, out=to_x[part])
        return to_x, to_weight, to_bias, to_out, gradient.sum(0), None


def _parts(x: Tensor, bias: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Frames that are computed at once, and room for their hidden units."""
    step = max(1, PIECE // len(bias))
    room = x.new_empty(min(step, len(x)), len(bias))
    for start in range(0, len(x), step):
        part = slice(start, min(start + step, len(x)))
        yield part, room[: part.stop - start]


def _inner(x: Tensor, weight: Tensor, bias: Tensor, draw: Draw, room: Tensor) -> Tensor:
    """The hidden units of some frames behind their dropout."""
    inner = torch.addmm(bias, x, weight.t(), out=room).clamp_(min=0)
    return inner.mul_(number(draw(inner.shape), x.dtype).mul_(draw.factor))

"""Dropout whose random numbers cost a CPU less: torch's draw one at a time takes longer than the layer around it."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

FEW = 2**15  # random numbers at once, so few that their memory is at hand
PIECE = 2**17  # elements at once, so that what is drawn for them stays in the processor's cache


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`; on a CPU from sixteen random bits an element."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not quick(x, self.p):
            return F.dropout(x, self.p, self.training)
        return _Drop.apply(x, self.p)


def relu_dropout(x: Tensor, probability: float, training: bool) -> Tensor:
    """Dropout of relu; on a CPU in the memory of `x`, and nothing is kept for the backward pass but the result."""
    if not training or not quick(x, probability) or not x.requires_grad or x.is_leaf:
        return F.dropout(F.relu(x), probability, training)
    return _ReluDrop.apply(x, probability)


def quick(x: Tensor, probability: float) -> bool:
    """Whether `Draw` is the faster way."""
    return 0 < probability < 1 and x.device.type == "cpu" and x.dtype in (torch.float, torch.double)


class Draw:
    """What dropout keeps, drawn from numbers that torch's generator seeds.

    Args:
        probability: of being dropped; met to 1 in 131072.

    Attributes:
        factor: makes up for what is dropped.
    """

    def __init__(self, probability: float) -> None:
        bound = min(round(probability * 2**16), 2**16 - 1)
        self.bound, self.factor = bound - 2**15, 2**16 / (2**16 - bound)
        self.numbers = np.random.SFC64(int(torch.randint(2**62, ())))

    def mark(self) -> None:
        """Remember this place."""
        self.place = self.numbers.state

    def rewind(self) -> None:
        """Go back to the place that `mark` remembers: the same masks come again."""
        self.numbers.state = self.place

    def __call__(self, size: torch.Size) -> Tensor:
        """A new mask, bool."""
        kept = np.empty(size.numel(), bool)
        for start in range(0, len(kept), FEW):
            place = kept[start : start + FEW]
            bits = self.numbers.random_raw(-(-len(place) // 4)).view(np.int16)[: len(place)]
            np.greater_equal(bits, self.bound, out=place)  # torch takes nine times as long
        return torch.from_numpy(kept).view(size)


def number(kept: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as ones and zeros: to multiply by these takes a third of the time, the conversion included."""
    return kept.view(torch.uint8).to(dtype)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        x, draw = x.contiguous(), Draw(probability)
        out, kept = torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)
        for piece, place, mask in zip(*(each.view(-1).split(PIECE) for each in (x, out, kept)), strict=True):
            mask.copy_(draw(piece.shape))
            torch.mul(piece, number(mask, x.dtype).mul_(draw.factor), out=place)
        ctx.save_for_backward(kept)
        ctx.factor = draw.factor
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        gradient = gradient.contiguous()
        out = torch.empty_like(gradient)
        for piece, place, mask in zip(*(each.view(-1).split(PIECE) for each in (gradient, out, kept)), strict=True):
            torch.mul(piece, number(mask, out.dtype).mul_(ctx.factor), out=place)
        return out, None


class _ReluDrop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        draw = Draw(probability)
        for piece in x.view(-1).split(PIECE):
            piece.clamp_(min=0).mul_(number(draw(piece.shape), x.dtype).mul_(draw.factor))
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.factor = draw.factor
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, out, 0).mul_(ctx.factor), None

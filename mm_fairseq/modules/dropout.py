"""Dropout whose random numbers cost a CPU less: torch's draw one at a time takes longer than the layer around it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PIECE = 2**16  # elements at once, so that what is drawn for them stays in the processor's cache


class Dropout(nn.Dropout):
    """`torch.nn.Dropout`; on a CPU from sixteen random bits an element."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not quick(x, self.p):
            return F.dropout(x, self.p, self.training)
        return _Drop.apply(x, self.p)


def quick(x: Tensor, probability: float) -> bool:
    """Whether `keep` is the faster way."""
    return 0 < probability < 1 and x.device.type == "cpu" and x.dtype in (torch.float, torch.double)


def keep(size: torch.Size, probability: float) -> tuple[Tensor, float]:
    """Draw what dropout keeps, from torch's generator.

    Returns:
        A bool mask, and the factor that makes up for what is dropped. The probability is met to 1 in 131072.
    """
    bound = min(round(probability * 2**16), 2**16 - 1)
    bits = torch.empty(-(-size.numel() // 4), dtype=torch.long).random_(-(2**63), None).view(torch.short)
    return bits[: size.numel()].view(size) >= bound - 2**15, 2**16 / (2**16 - bound)


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, probability: float) -> Tensor:
        x = x.contiguous()
        out, kept = torch.empty_like(x), torch.empty_like(x, dtype=torch.bool)
        for piece, dropped, mask in zip(*(each.view(-1).split(PIECE) for each in (x, out, kept)), strict=True):
            drawn, factor = keep(piece.shape, probability)
            mask.copy_(drawn)
            torch.mul(piece, drawn, out=dropped).mul_(factor)
        ctx.save_for_backward(kept)
        ctx.factor = factor
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        gradient = gradient.contiguous()
        out = torch.empty_like(gradient)
        for piece, dropped, mask in zip(*(each.view(-1).split(PIECE) for each in (gradient, out, kept)), strict=True):
            torch.mul(piece, mask, out=dropped).mul_(ctx.factor)
        return out, None

"""Descriptors without weights, at a fixed scale."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class SinglePrecision(nn.Module):
    """Follows a model to its device but not into half precision, which neither an FFT nor a logarithm bears."""

    def _apply(self, fn: Any, recurse: bool = True) -> "SinglePrecision":
        return super()._apply(lambda buffer: buffer.to(fn(buffer.new_empty(0)).device), recurse)


class Standardised(SinglePrecision):
    """(x - shift) / scale.

    Args:
        shift, scale: of each channel.
        limit: results are clamped to this size; None for no limit.
    """

    def __init__(
        self, shift: Tensor | Sequence[float], scale: Tensor | Sequence[float], limit: float | None = None
    ) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float), persistent=False)
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`x` (..., C) to the same shape."""
        x = (x - self.shift) / self.scale
        return x if self.limit is None else x.clamp(-self.limit, self.limit)

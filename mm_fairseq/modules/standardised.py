"""Descriptors without weights, at a fixed scale."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Standardised(nn.Module):
    """(x - shift) / scale in single precision, on whatever device the model is.

    Args:
        shift, scale: of each channel.
        limit: results are clamped to this size; None for no limit.
        transform: what is done before, samples (B, T) to (B, C, frames); none takes (..., C) as it is.
    """

    def __init__(
        self,
        shift: Tensor | Sequence[float],
        scale: Tensor | Sequence[float],
        limit: float | None = None,
        transform: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.limit, self.transform = limit, transform
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float), persistent=False)
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float), persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> "Standardised":
        """Follow a model to its device but not into half precision, which neither the FFT nor the logarithm bears."""
        return super()._apply(lambda buffer: buffer.to(fn(buffer.new_empty(0)).device), recurse)

    def forward(self, x: Tensor) -> Tensor:
        """Returns (..., C), of (B, T) if there is a transform."""
        if self.transform is not None:
            x = self.transform(x.float()).transpose(1, 2)
        x = (x - self.shift) / self.scale
        return x if self.limit is None else x.clamp(-self.limit, self.limit)

"""A learned weighted sum of the hidden states of a pretrained model."""

import torch
from torch import Tensor, nn


class LayerSum(nn.Module):
    """Softmax-weighted sum of `states` hidden states (SUPERB, Yang et al. 2021, arXiv 2105.01051, section 3).

    Args:
        states: how many; they weigh the same at first.
    """

    def __init__(self, states: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(states))

    def forward(self, x: Tensor) -> Tensor:
        """Sum `x` (B, T, states * C), states side by side, up to (B, T, C)."""
        weight = self.weight.softmax(0).to(x.dtype)
        return (x.unflatten(-1, (len(weight), -1)) * weight[:, None]).sum(-2)

"""Positions as sinusoids (Vaswani et al., "Attention is all you need", NeurIPS 2017, arXiv 1706.03762, section 3.5)."""

import torch
from torch import Tensor


def sinusoid(frames: int, dim: int, like: Tensor) -> Tensor:
    """Sine (even channels) and cosine (odd ones) of each position, 0 for the first frame, at falling frequencies.

    Args:
        frames: how many positions T.
        dim: channels C, even or odd.
        like: a tensor of the wanted type, on the wanted device.

    Returns:
        (T, C).
    """
    channel = torch.arange(0, dim, 2, device=like.device, dtype=torch.double)
    angle = torch.arange(frames, device=like.device)[:, None] * 10000.0 ** (-channel / dim)  # T x ceil(C / 2)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :dim].to(like.dtype)

"""Random points of a window of pictures and sound, and how far a reconstruction is from them.

Notation: B windows, n points.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def draw(sizes: Sequence[int], count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Points of a grid, all equally probable and none twice, by torch's generator.

    Args:
        sizes: of the axes.
        count: points, or all of them if there are fewer.
        device: of the result.

    Returns:
        indices (n, axes), and positions (n, axes) from -1 to below 1 as the decoder's queries have them.
    """
    total = 1
    for size in sizes:
        total *= size
    flat = torch.randperm(total)[:count].to(device)
    indices = torch.stack(torch.unravel_index(flat, tuple(sizes)), dim=1)
    return indices, -1 + 2 * indices / torch.tensor(sizes, device=device)


def mean_error(found: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Mean over the modalities of a row of their mean squared errors, (B); 0 where it has none.

    Args:
        found: modality to prediction (B, n, D), truth (B, n, D) and which of it is real, bool (B, n, D).
    """
    total, there = torch.zeros(()), torch.zeros(())
    for prediction, truth, real in found.values():
        error = ((prediction.float() - truth.float()).square() * real).sum((1, 2)) / real.sum((1, 2)).clamp(min=1)
        total, there = total.to(error) + error, there.to(error) + real.any(2).any(1)
    return total / there.clamp(min=1)

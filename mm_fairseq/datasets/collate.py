"""Padding: a list of arrays of different lengths to a tensor and a mask."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def pad(items: Sequence[np.ndarray | None], value: float, like: np.ndarray) -> tuple[Tensor, Tensor]:
    """Stack arrays along a new first axis, padded behind to the longest.

    Args:
        items: arrays (T_i, ...) with equal trailing shape; None is a missing modality, a row of padding.
        value: what padding is filled with.
        like: an array whose dtype and trailing shape an empty batch takes.

    Returns:
        x (B, T, ...) and padding_mask (B, T), True = pad; T is at least 1.
    """
    lengths = [0 if item is None else len(item) for item in items]
    shape = next((item.shape[1:] for item in items if item is not None and len(item)), like.shape[1:])
    x = np.full((len(items), max(1, *lengths), *shape), value, dtype=like.dtype)
    for row, item in enumerate(items):
        if lengths[row]:
            x[row, : lengths[row]] = item
    mask = torch.arange(x.shape[1]) >= torch.tensor(lengths)[:, None]
    return torch.from_numpy(x), mask

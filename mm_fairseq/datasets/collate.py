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
    first = next((item for item in items if item is not None and len(item)), like)
    # Further axes lie in memory as they do in the items: pictures are decoded and encoded channels last.
    axes = sorted(range(1, first.ndim), key=lambda axis: -first.strides[axis])
    x = np.empty((len(items), max(1, *lengths), *(first.shape[axis] for axis in axes)), like.dtype)
    x = x.transpose(0, 1, *(2 + axes.index(axis) for axis in range(1, first.ndim)))
    for row, (item, length) in enumerate(zip(items, lengths, strict=True)):
        if item is not None:
            x[row, :length] = item
        x[row, length:] = value
    mask = torch.arange(x.shape[1]) >= torch.tensor(lengths)[:, None]
    return torch.from_numpy(x), mask

"""Normalisation that does not see padding."""

import torch
from torch import Tensor, nn


def masked_group_norm(x: Tensor, lengths: Tensor, norm: nn.GroupNorm) -> Tensor:
    """`norm` over the first `lengths` frames of each row.

    `nn.GroupNorm` takes its mean and variance over the channels of a group and time, zero padding included: features
    of a 2 s clip padded to 9 s change by more than half. Here each row gets the statistics that it has alone.

    Args:
        x: (B, C, T).
        lengths: real frames of each row, (B).
        norm: supplies the number of groups, eps, weight and bias.

    Returns:
        (B, C, T); frames beyond `lengths` are zero.
    """
    dtype = torch.promote_types(x.dtype, torch.float)  # half precision would not hold the sums
    weight, bias = (None if each is None else each.to(dtype) for each in (norm.weight, norm.bias))
    out = torch.zeros_like(x)
    for row, length in enumerate(lengths.tolist()):
        if length:
            alone = x[row : row + 1, :, :length].to(dtype)
            out[row, :, :length] = torch.group_norm(alone, norm.num_groups, weight, bias, norm.eps)[0].type_as(x)
    return out


class MaskedGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, of the same weights, for networks that call it with the frames alone.

    Attributes:
        lengths: real frames of each row (B) of what comes next; None where there is no padding.
    """

    lengths: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if self.lengths is None else masked_group_norm(input, self.lengths, self)

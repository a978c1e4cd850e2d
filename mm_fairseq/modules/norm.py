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
    padding = (torch.arange(x.size(2), device=x.device) >= lengths[:, None])[:, None, None]  # B x 1 x 1 x T
    full = x.to(dtype).unflatten(1, (norm.num_groups, -1)).masked_fill(padding, 0.0)  # B x G x C/G x T
    count = (lengths * full.size(2)).clamp(min=1)[:, None, None, None]
    centred = (full - full.sum((2, 3), keepdim=True) / count).masked_fill(padding, 0.0)
    out = centred * torch.rsqrt(centred.square().sum((2, 3), keepdim=True) / count + norm.eps)
    if norm.weight is not None:
        weight, bias = (each.to(dtype).view(norm.num_groups, -1, 1) for each in (norm.weight, norm.bias))
        out = (out * weight + bias).masked_fill(padding, 0.0)
    return out.flatten(1, 2).type_as(x)


class MaskedGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, of the same weights, for networks that call it with the frames alone.

    Attributes:
        lengths: real frames of each row (B) of what comes next; None where there is no padding.
    """

    lengths: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if self.lengths is None else masked_group_norm(input, self.lengths, self)

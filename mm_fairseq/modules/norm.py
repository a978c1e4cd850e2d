"""Normalisation that does not see padding."""

import torch
from torch import Tensor, nn


def masked_group_norm(x: Tensor, lengths: Tensor, norm: nn.GroupNorm) -> Tensor:
    """`norm`, a GroupNorm of one group, over the first `lengths` frames of each row.

    `nn.GroupNorm` takes its mean and variance over channels and time, zero padding included: features of a 2 s clip
    padded to 9 s change by more than half. Here each row gets the statistics that it has alone.

    Args:
        x: (B, C, T).
        lengths: real frames of each row, (B).
        norm: supplies eps, weight and bias.

    Returns:
        (B, C, T); frames beyond `lengths` are zero.
    """
    if norm.num_groups != 1:
        raise ValueError(f"masked_group_norm handles one group, the layer has {norm.num_groups}")
    dtype = torch.promote_types(x.dtype, torch.float)  # half precision would not hold the sums
    kept = (torch.arange(x.size(2), device=x.device) < lengths[:, None])[:, None].to(dtype)  # B x 1 x T
    full = x.to(dtype) * kept
    count = (kept.sum((1, 2), keepdim=True) * x.size(1)).clamp(min=1)
    mean = full.sum((1, 2), keepdim=True) / count
    centred = (full - mean) * kept
    out = centred * torch.rsqrt(centred.square().sum((1, 2), keepdim=True) / count + norm.eps)
    if norm.weight is not None:
        out = (out * norm.weight.to(dtype)[:, None] + norm.bias.to(dtype)[:, None]) * kept
    return out.type_as(x)

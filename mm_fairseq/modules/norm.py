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
    if torch.compiler.is_exporting():
        return _all_rows(x.to(dtype), lengths, norm.num_groups, weight, bias, norm.eps).to(x.dtype)
    out = torch.zeros_like(x)
    for row, length in enumerate(lengths.tolist()):
        if length:
            alone = x[row : row + 1, :, :length].to(dtype)
            out[row, :, :length] = torch.group_norm(alone, norm.num_groups, weight, bias, norm.eps)[0].type_as(x)
    return out


def _all_rows(
    x: Tensor, lengths: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """The same without a loop over rows, for a graph that must not know how many there are: slower."""
    real = (torch.arange(x.size(2), device=x.device) < lengths[:, None])[:, None]  # B x 1 x T
    parts = x.masked_fill(~real, 0.0).unflatten(1, (groups, -1))  # B x G x C / G x T
    count = (lengths * parts.size(2)).clamp(min=1)[:, None, None, None]
    centred = (parts - parts.sum((2, 3), keepdim=True) / count).masked_fill(~real[:, None], 0.0)
    variance = centred.square().sum((2, 3), keepdim=True) / count
    out = (centred * (variance + eps).rsqrt()).flatten(1, 2)
    if weight is not None and bias is not None:
        out = out * weight[:, None] + bias[:, None]
    return out.masked_fill(~real, 0.0)


class MaskedGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, of the same weights, for networks that call it with the frames alone.

    Attributes:
        lengths: real frames of each row (B) of what comes next; None where there is no padding.
    """

    lengths: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) if self.lengths is None else masked_group_norm(input, self.lengths, self)

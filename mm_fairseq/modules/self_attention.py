"""Self-attention among the real frames of each row.

On a CPU torch has no fused attention with dropout: it would write and read the (B, H, T, T) weights ten times. Here
each row is taken by itself, without its padding, and the backward pass computes its weights once more.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .dropout import Draw, number, quick


def self_attention(qkv: Tensor, heads: int, padding_mask: Tensor, padded: bool, dropout: float) -> Tensor:
    """Scaled dot-product attention.

    Args:
        qkv: queries, keys and values side by side, (B, T, 3 D).
        heads: H, which divides D.
        padding_mask: (B, T); padding stands behind, and no row is all padding.
        padded: whether there is any padding.
        dropout: of the weights.

    Returns:
        (B, T, D); what stands in the padding means nothing.
    """
    if quick(qkv, dropout):
        return _Rows.apply(qkv, heads, (~padding_mask).sum(1).tolist(), dropout)
    query, key, value = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # B x H x T x d
    mask = ~padding_mask[:, None, None] if padded else None
    out = F.scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout)
    return out.transpose(1, 2).flatten(2)


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, heads: int, lengths: list[int], dropout: float) -> Tensor:
        rows = qkv.unflatten(-1, (3, heads, -1)).permute(0, 2, 3, 1, 4)  # B x 3 x H x T x d
        out = qkv.new_zeros(*qkv.shape[:2], qkv.size(2) // 3)
        places = out.unflatten(-1, (heads, -1)).transpose(1, 2)  # B x H x T x d
        drawn, draw = [], Draw(dropout)
        for row, place, length in zip(rows, places, lengths, strict=True):
            query, key, value = row[:, :, :length]
            weights = _weights(query, key)
            drawn.append(draw(weights.shape))
            place[:, :length] = _product(weights.mul_(number(drawn[-1], weights.dtype)), value, draw.factor)
        ctx.save_for_backward(qkv, *drawn)
        ctx.heads, ctx.lengths, ctx.factor = heads, lengths, draw.factor
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        qkv, *drawn = ctx.saved_tensors
        out = torch.zeros_like(qkv)
        rows, places = (x.unflatten(-1, (3, ctx.heads, -1)).permute(0, 2, 3, 1, 4) for x in (qkv, out))
        gradients = gradient.unflatten(-1, (ctx.heads, -1)).transpose(1, 2)  # B x H x T x d
        for row, place, above, length, mask in zip(rows, places, gradients, ctx.lengths, drawn, strict=True):
            kept = number(mask, qkv.dtype)
            query, key, value = row[:, :, :length]
            above, root = above[:, :length], query.size(-1) ** -0.5
            weights = _weights(query, key)
            inner = _product(above, value.transpose(1, 2), ctx.factor).mul_(kept)
            inner = torch._softmax_backward_data(inner, weights, -1, weights.dtype)
            place[0, :, :length] = _product(inner, key, root)
            place[1, :, :length] = _product(inner.transpose(1, 2), query, root)
            place[2, :, :length] = _product(weights.mul_(kept).transpose(1, 2), above, ctx.factor)
        return out, None, None, None


def _weights(query: Tensor, key: Tensor) -> Tensor:
    return _product(query, key.transpose(1, 2), query.size(-1) ** -0.5).softmax(-1)  # H x T x T


def _product(first: Tensor, second: Tensor, factor: float) -> Tensor:
    return torch.baddbmm(first.new_empty(()), first, second, beta=0, alpha=factor)

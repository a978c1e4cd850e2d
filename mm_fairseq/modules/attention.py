"""Attention that survives rows without a single key, and does not project what a single query does not need."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .recording import record, recording
from .row_attention import by_rows, later, row_attention
from .short_attention import short_attention, suits


class MaskedAttention(nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention`, batch first; a row whose keys are all padding yields zeros instead of NaN."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0, key_dim: int | None = None) -> None:
        super().__init__(dim, heads, dropout=dropout, kdim=key_dim, vdim=key_dim, batch_first=True)

    def forward(self, query: Tensor, key: Tensor, padding_mask: Tensor) -> Tensor:  # type: ignore[override]
        """Attend.

        Args:
            query: (B, Tq, D).
            key: keys and values, (B, Tk, Ck).
            padding_mask: (B, Tk); padding stands behind.

        Returns:
            (B, Tq, D).
        """
        return attend(self, query, key, query.new_zeros(query.shape[:2], dtype=torch.bool), padding_mask)


def attend(
    module: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    query_mask: Tensor,
    key_mask: Tensor,
    causal: bool = False,
) -> Tensor:
    """What `module` gives, but zeros in rows without a key.

    A single query costs two products with the keys for each head, and no projection of a key: `q . (W_k x)` is
    `(W_k' q) . x`, and the mean of the values `W_v x` is `W_v` of the mean of x. The bias of the keys adds the same to
    every score, which softmax does not see.

    Args:
        module: supplies heads, weights and dropout.
        query: (B, Tq, D).
        key: keys and values, (B, Tk, Ck); `query` itself for self-attention.
        query_mask: (B, Tq); padding stands behind.
        key_mask: (B, Tk); padding stands behind.
        causal: a query sees no key of a later time, see `row_attention.later`; a single one is the last, it sees all.

    Returns:
        (B, Tq, D); what stands in the padding means nothing.
    """
    dropout = module.dropout if module.training else 0.0
    if recording():
        record(module, attention_weights(module, query, key, query_mask, key_mask, causal), query_mask)
    if query.size(1) == 1:
        out = _attend_once(module, query[:, 0], key, key_mask)[:, None]
    elif not causal and suits((query, key), module.num_heads):
        packed = [F.linear(*each) for each in _projections(module, query, key)]
        out = module.out_proj(short_attention(packed, module.num_heads, key_mask, dropout))
    elif by_rows(query, key, module.out_proj.weight):
        packed = [_ToChannelsFirst.apply(*each) for each in _projections(module, query, key)]
        out = row_attention(packed, module.num_heads, query_mask, key_mask, dropout, causal)
        out = _FromChannelsFirst.apply(out, module.out_proj.weight, module.out_proj.bias)
    else:
        packed = [F.linear(*each) for each in _projections(module, query, key)]
        parts = [part for x in packed for part in x.split(module.embed_dim, dim=-1)]
        out = module.out_proj(_fused(parts, module.num_heads, query_mask, key_mask, dropout, causal))
    return out.masked_fill(key_mask.all(dim=1)[:, None, None], 0.0)


@torch.no_grad()
def attention_weights(
    module: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    query_mask: Tensor,
    key_mask: Tensor,
    causal: bool = False,
) -> Tensor:
    """The weights of `attend` without dropout, mean over the heads.

    Args:
        as there.

    Returns:
        (B, Tq, Tk), zeros for keys that are padding, and in rows without a key.
    """
    packed = [F.linear(*each) for each in _projections(module, query, key)]
    q, k = [part for x in packed for part in x.split(module.embed_dim, dim=-1)][:2]
    q, k = (x.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for x in (q, k))  # B x H x T x d
    hidden = key_mask[:, None]
    if causal and query.size(1) > 1:
        hidden = hidden | later(query_mask, key_mask)
    scores = (q * module.head_dim**-0.5 @ k.transpose(2, 3)).masked_fill(hidden[:, None], float("-inf"))
    return scores.softmax(-1).mean(1).masked_fill(key_mask.all(dim=1)[:, None, None], 0.0)


def _projections(module: nn.MultiheadAttention, query: Tensor, key: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Input, weight and bias of what gives queries, keys and values, side by side where one product does."""
    bias, dim = module.in_proj_bias, module.embed_dim
    if not module._qkv_same_embed_dim:
        weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        return list(zip((query, key, key), weights, bias.chunk(3), strict=True))
    weight = module.in_proj_weight
    if key is query:
        return [(query, weight, bias)]
    return [(query, weight[:dim], bias[:dim]), (key, weight[dim:], bias[dim:])]


def _fused(
    parts: Sequence[Tensor], heads: int, query_mask: Tensor, key_mask: Tensor, dropout: float, causal: bool
) -> Tensor:
    """Torch's own attention of queries (B, Tq, D), keys and values (B, Tk, D)."""
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in parts)  # B x H x T x d
    seen = ~key_mask[:, None] | key_mask.all(dim=1)[:, None, None]  # B x 1 x Tk; softmax of nothing is NaN
    if causal:
        seen = seen & ~later(query_mask, key_mask)
    out = F.scaled_dot_product_attention(query, key, value, seen[:, None], dropout_p=dropout)
    return out.transpose(1, 2).flatten(2)


class _ToChannelsFirst(torch.autograd.Function):
    """`F.linear` of (B, T, C) to (B, D, T), the order in which the product gives it for nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], weight.expand(x.size(0), -1, -1), x.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        to_x = torch.bmm(gradient.transpose(1, 2), weight.expand(x.size(0), -1, -1))
        return to_x, torch.bmm(gradient, x).sum(0), gradient.sum((0, 2))


class _FromChannelsFirst(torch.autograd.Function):
    """`F.linear` of (B, C, T) to (B, T, D)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias, x.transpose(1, 2), weight.t().expand(x.size(0), -1, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        to_x = torch.bmm(weight.t().expand(x.size(0), -1, -1), gradient.transpose(1, 2))
        return to_x, torch.bmm(gradient.transpose(1, 2), x.transpose(1, 2)).sum(0), gradient.sum((0, 1))


def _attend_once(module: nn.MultiheadAttention, query: Tensor, key: Tensor, key_mask: Tensor) -> Tensor:
    mask = key_mask & ~key_mask.all(dim=1, keepdim=True)
    heads = (module.num_heads, module.head_dim)
    if module._qkv_same_embed_dim:
        to_query, to_key, to_value = module.in_proj_weight.chunk(3)
    else:
        to_query, to_key, to_value = module.q_proj_weight, module.k_proj_weight, module.v_proj_weight
    query_bias, _, value_bias = module.in_proj_bias.chunk(3)
    q = F.linear(query, to_query, query_bias).unflatten(-1, heads) * module.head_dim**-0.5  # B x H x d
    seeker = torch.einsum("bhd,hdc->bhc", q, to_key.unflatten(0, heads))
    scores = torch.bmm(seeker, key.transpose(1, 2))  # B x H x Tk
    weights = scores.masked_fill(mask[:, None], float("-inf")).softmax(-1)
    weights = F.dropout(weights, module.dropout, module.training)
    context = torch.bmm(weights, key)  # B x H x Ck
    out = torch.einsum("bhc,hdc->bhd", context, to_value.unflatten(0, heads))
    total = weights.sum(-1, keepdim=True)  # not 1 where dropout took some
    return module.out_proj((out + total * value_bias.view(heads)).flatten(1))

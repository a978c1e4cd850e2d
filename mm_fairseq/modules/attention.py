"""Attention that survives rows without a single key, and does not project what a single query does not need."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .row_attention import row_attention
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
        causal: a query sees keys up to its own time, see `row_attention`; a single one is the last and sees them all.

    Returns:
        (B, Tq, D); what stands in the padding means nothing.
    """
    if query.size(1) == 1:
        out = _attend_once(module, query[:, 0], key, key_mask)[:, None]
    else:
        dropout = module.dropout if module.training else 0.0
        packed = _project(module, query, key)
        if not causal and suits(packed, module.num_heads):
            attended = short_attention(packed, module.num_heads, key_mask, dropout)
        else:
            attended = row_attention(packed, module.num_heads, query_mask, key_mask, dropout, causal)
        out = module.out_proj(attended)
    return out.masked_fill(key_mask.all(dim=1)[:, None, None], 0.0)


def _project(module: nn.MultiheadAttention, query: Tensor, key: Tensor) -> list[Tensor]:
    """Queries, keys and values, side by side where one product gives them."""
    bias, dim = module.in_proj_bias, module.embed_dim
    if not module._qkv_same_embed_dim:
        weights = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        return [F.linear(x, *each) for x, *each in zip((query, key, key), weights, bias.chunk(3), strict=True)]
    if key is query:
        return [F.linear(query, module.in_proj_weight, bias)]
    weight = module.in_proj_weight
    return [F.linear(query, weight[:dim], bias[:dim]), F.linear(key, weight[dim:], bias[dim:])]


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

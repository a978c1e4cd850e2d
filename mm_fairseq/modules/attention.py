"""Attention that survives rows without a single key, and does not project what a single query does not need."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MaskedAttention(nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention`, batch first; a row whose keys are all padding yields zeros instead of NaN.

    A single query costs two products with the keys for each head, and no projection of a key: `q . (W_k x)` is
    `(W_k' q) . x`, and the mean of the values `W_v x` is `W_v` of the mean of x. The bias of the keys adds the same to
    every score, which softmax does not see.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0, key_dim: int | None = None) -> None:
        super().__init__(dim, heads, dropout=dropout, kdim=key_dim, vdim=key_dim, batch_first=True)

    def forward(self, query: Tensor, key: Tensor, padding_mask: Tensor) -> Tensor:  # type: ignore[override]
        """Attend.

        Args:
            query: (B, Tq, D).
            key: keys and values, (B, Tk, Ck).
            padding_mask: (B, Tk).

        Returns:
            (B, Tq, D).
        """
        empty = padding_mask.all(dim=1)
        mask = padding_mask & ~empty[:, None]
        if query.size(1) == 1:
            out = self._attend_once(query[:, 0], key, mask)[:, None]
        else:
            out, _ = super().forward(query, key, key, key_padding_mask=mask, need_weights=False)
        return out.masked_fill(empty[:, None, None], 0.0)

    def _attend_once(self, query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        heads = (self.num_heads, self.head_dim)
        if self._qkv_same_embed_dim:
            to_query, to_key, to_value = self.in_proj_weight.chunk(3)
        else:
            to_query, to_key, to_value = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        query_bias, _, value_bias = self.in_proj_bias.chunk(3)
        q = F.linear(query, to_query, query_bias).unflatten(-1, heads) * self.head_dim**-0.5  # B x H x d
        seeker = torch.einsum("bhd,hdc->bhc", q, to_key.unflatten(0, heads))
        scores = torch.bmm(seeker, key.transpose(1, 2))  # B x H x Tk
        weights = scores.masked_fill(mask[:, None], float("-inf")).softmax(-1)
        weights = F.dropout(weights, self.dropout, self.training)
        context = torch.bmm(weights, key)  # B x H x Ck
        out = torch.einsum("bhc,hdc->bhd", context, to_value.unflatten(0, heads))
        total = weights.sum(-1, keepdim=True)  # not 1 where dropout took some
        return self.out_proj((out + total * value_bias.view(heads)).flatten(1))

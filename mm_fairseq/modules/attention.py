"""Attention that survives rows without a single key."""

from torch import Tensor, nn


class MaskedAttention(nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention`, batch first; a row whose keys are all padding yields zeros instead of NaN."""

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
        out, _ = super().forward(query, key, key, key_padding_mask=mask, need_weights=False)
        return out.masked_fill(empty[:, None, None], 0.0)

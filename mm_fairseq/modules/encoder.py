"""A stream of frames with a learned start vector, encoded by BERT layers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dropout import Dropout
from .transformer import TransformerLayer


class StreamEncoder(nn.Module):
    """Start vector, learned positions, LayerNorm, dropout and `layers` post-norm transformer layers.

    The start vector is always real, so that no row is empty and its output sums the stream up.

    Args:
        dim: width D.
        heads: attention heads.
        layers: how many; 0 leaves positions and LayerNorm alone.
        ffn_dim: inner width of the feed-forward part.
        max_positions: frames beyond this many are cut off.
        dropout, attention_dropout: as in BERT.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        layers: int,
        ffn_dim: int,
        max_positions: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(dim))
        self.positions = nn.Parameter(torch.zeros(max_positions + 1, dim))
        nn.init.normal_(self.start, std=dim**-0.5)
        nn.init.normal_(self.positions, std=dim**-0.5)
        self.norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(dim, heads, ffn_dim, False, attention_dropout, dropout, dropout, activation=F.gelu)
            for _ in range(layers)
        )

    @property
    def max_positions(self) -> int:
        return self.positions.size(0) - 1

    def forward(self, x: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode frames `x` (B, T, D) with `padding_mask` (B, T); returns the same with one frame more in front."""
        x, padding_mask = x[:, : self.max_positions], padding_mask[:, : self.max_positions]
        x = torch.cat([self.start.expand(x.size(0), 1, -1), x], dim=1) + self.positions[: x.size(1) + 1]
        mask = torch.cat([padding_mask.new_zeros(x.size(0), 1), padding_mask], dim=1)
        x = self.dropout(self.norm(x))
        for layer in self.layers:
            x = layer(x, mask)
        return x.masked_fill(mask[..., None], 0.0), mask

"""Fusion of any set of modalities: Siriwardhana et al. 2020, DOI 10.1109/ACCESS.2020.3026823 and arXiv 2008.06682."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .attention import MaskedAttention


class Stream(NamedTuple):
    """One modality: `x` (B, T, D) whose position 0 sums it up, `padding_mask` (B, T), `present` (B)."""

    x: Tensor
    padding_mask: Tensor
    present: Tensor


def summary(stream: Stream) -> Tensor:
    """Position 0, zeros for a row whose modality is missing. Shape (B, D)."""
    return stream.x[:, 0].masked_fill(~stream.present[:, None], 0.0)


class CrossLayer(nn.Module):
    """Post-norm cross-attention and feed-forward: the query is updated, keys and values are not."""

    def __init__(
        self, dim: int, key_dim: int, heads: int, ffn_dim: int, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.attention = MaskedAttention(dim, heads, attention_dropout, key_dim)
        self.attention_norm = nn.LayerNorm(dim)
        self.ffn = nn.Sequential(nn.Linear(dim, ffn_dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(ffn_dim, dim))
        self.ffn_norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, key: Tensor, padding_mask: Tensor) -> Tensor:
        """`x` (B, Tq, D) attends to `key` (B, Tk, Ck) with `padding_mask` (B, Tk); returns (B, Tq, D)."""
        x = self.attention_norm(x + self.dropout(self.attention(x, key, padding_mask)))
        return self.ffn_norm(x + self.dropout(self.ffn(x)))


def _directed(dims: Mapping[str, int], layers: int, make: Callable[[int, int], nn.Module]) -> nn.ModuleDict:
    """`layers` modules for each direction, `QUERY_from_KEY`, made of the two widths."""
    pairs = [(query, key) for query in sorted(dims) for key in sorted(dims) if key != query]
    return nn.ModuleDict(
        {
            f"{query}_from_{key}": nn.ModuleList(make(dims[query], dims[key]) for _ in range(layers))
            for query, key in pairs
        }
    )


class InterModalFusion(nn.Module):
    """Every modality attends to every other one; the results are multiplied per modality and concatenated.

    Only position 0 of each query stream is read in the end, and no query position sees another one, so position 0 alone
    is computed. For a row, a modality that is missing contributes the factor 1 where it would be attended to and a
    vector of zeros where it would attend; a modality that is alone contributes its own position 0. With two modalities
    this is the concatenation of the two directed vectors, with one the stream's summary.

    Args:
        dims: width of each modality.
        heads, layers, ffn_dim, dropout, attention_dropout: of the cross layers, `layers` for each direction.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        heads: int,
        layers: int,
        ffn_dim: int,
        dropout: float,
        attention_dropout: float,
    ) -> None:
        super().__init__()
        self.names = sorted(dims)
        self.out_dim = sum(dims.values())
        self.cross = _directed(
            dims, layers, lambda dim, key_dim: CrossLayer(dim, key_dim, heads, ffn_dim, dropout, attention_dropout)
        )

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        """Fuse the streams; returns (B, sum of widths)."""
        return torch.cat([self._vector(name, streams) for name in self.names], dim=-1)

    def _vector(self, query: str, streams: Mapping[str, Stream]) -> Tensor:
        own = streams[query]
        start = own.x[:, :1]
        product = torch.ones_like(start[:, 0])
        accompanied = torch.zeros_like(own.present)
        for name in self.names:
            if name == query:
                continue
            other = streams[name]
            x = start
            for layer in self.cross[f"{query}_from_{name}"]:  # type: ignore[union-attr]
                x = layer(x, other.x, other.padding_mask)
            product = product * torch.where(other.present[:, None], x[:, 0], 1.0)
            accompanied = accompanied | other.present
        vector = torch.where(accompanied[:, None], product, start[:, 0])
        return vector.masked_fill(~own.present[:, None], 0.0)


class CoAttention(nn.Module):
    """Position 0 of every modality attends to every other modality: attention, dropout and residual, nothing else.

    The co-attention of arXiv 2008.06682, for two modalities: no LayerNorm, no feed-forward part. With more, what each
    of the others adds to the residual is summed. For a row, a modality that is missing adds nothing and has a vector of
    zeros; a modality that is alone contributes its own position 0.

    Args:
        dims: width of each modality.
        heads, layers, dropout, attention_dropout: of the attention, `layers` for each direction.
    """

    def __init__(
        self, dims: Mapping[str, int], heads: int, layers: int, dropout: float, attention_dropout: float
    ) -> None:
        super().__init__()
        self.names = sorted(dims)
        self.out_dim = sum(dims.values())
        self.cross = _directed(
            dims, layers, lambda dim, key_dim: MaskedAttention(dim, heads, attention_dropout, key_dim)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        """Fuse the streams; returns (B, sum of widths)."""
        return torch.cat([self._vector(name, streams) for name in self.names], dim=-1)

    def _vector(self, query: str, streams: Mapping[str, Stream]) -> Tensor:
        start = streams[query].x[:, :1]
        total = start
        for name in self.names:
            if name == query:
                continue
            x, other = start, streams[name]
            mask = other.padding_mask | ~other.present[:, None]  # attention to nothing gives zeros
            for attention in self.cross[f"{query}_from_{name}"]:  # type: ignore[union-attr]
                added = self.dropout(attention(x, other.x, mask))
                x, total = x + added, total + added
        return total[:, 0].masked_fill(~streams[query].present[:, None], 0.0)


class ShallowFusion(nn.Module):
    """Concatenation of the position 0 of each stream (arXiv 2008.06682, section 3.2, "shallow fusion").

    Args:
        dims: width of each modality.
    """

    def __init__(self, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.names = sorted(dims)
        self.out_dim = sum(dims.values())

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        """Fuse the streams; returns (B, sum of widths)."""
        return torch.cat([summary(streams[name]) for name in self.names], dim=-1)

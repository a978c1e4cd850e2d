"""Fusion of position 0 of each stream, without attention from one modality to another: what that must beat.

B rows, M modalities, D_m their widths, D the width of the result. All take the streams of `modules.fusion` and give
(B, out_dim); a row without any modality is finite.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .fusion import Stream, summary


class GatedFusion(nn.Module):
    """Gated multimodal unit (Arevalo et al. 2017, arXiv 1702.01992, section 3.1) for any number of modalities.

    `h = sum_m z_m * tanh(W_m x_m)`, where the gates `z` (D for each modality) are a softmax over the modalities of
    `V_m [x_1; ..; x_M]`. For two modalities this is the paper's unit, `z` and `1 - z` with `z` the sigmoid of the
    difference. A modality that is missing has gate 0 and zeros in the gates' input, so that those that are there share
    the weight; one that is alone has gate 1. A row with nothing is zeros.

    Args:
        dims: width of each modality.
        dim: width of the result.
    """

    def __init__(self, dims: Mapping[str, int], dim: int) -> None:
        super().__init__()
        self.names = sorted(dims)
        self.out_dim = dim
        self.hidden = nn.ModuleDict({name: nn.Linear(dims[name], dim, bias=False) for name in self.names})
        self.gates = nn.Linear(sum(dims.values()), len(dims) * dim, bias=False)

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        """Fuse the streams; returns (B, D)."""
        given = [summary(streams[name]) for name in self.names]
        hidden = torch.stack([self.hidden[name](x).tanh() for name, x in zip(self.names, given, strict=True)], 1)
        present = torch.stack([streams[name].present for name in self.names], 1)[..., None]  # B x M x 1
        scores = self.gates(torch.cat(given, -1)).unflatten(-1, (len(self.names), self.out_dim))
        gates = scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(1)
        return (gates.masked_fill(~present, 0.0) * hidden).sum(1)


class LowRankFusion(nn.Module):
    """Low-rank multimodal fusion (Liu et al. 2018, arXiv 1806.00064, section 3.2, equation 7).

    `h = sum_r w_r prod_m (W_m^r [x_m; 1]) + b`: what a full tensor of all products of the modalities' features would
    give if it had rank R. The weights of the appended 1 begin at 1. A modality that is missing is `[0; 1]`: it brings
    its learned constant, 1 at first, into the product.

    Args:
        dims: width of each modality.
        dim: width of the result.
        rank: R.
    """

    def __init__(self, dims: Mapping[str, int], dim: int, rank: int) -> None:
        super().__init__()
        self.names = sorted(dims)
        self.out_dim = dim
        self.factors = nn.ParameterDict({name: _factor(rank, dims[name], dim) for name in self.names})
        self.weights = nn.Parameter(torch.full((rank,), 1 / rank))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        """Fuse the streams; returns (B, D)."""
        product: Tensor | None = None
        for name in self.names:
            factor = self.factors[name]
            term = torch.einsum("bc,rcd->brd", summary(streams[name]), factor[:, :-1]) + factor[:, -1]
            product = term if product is None else product * term
        assert product is not None
        return torch.einsum("r,brd->bd", self.weights, product) + self.bias


def _factor(rank: int, dim: int, out_dim: int) -> nn.Parameter:
    weight = torch.empty(rank, dim + 1, out_dim)
    nn.init.normal_(weight, std=(2 / (dim + out_dim)) ** 0.5)
    weight[:, -1] = 1
    return nn.Parameter(weight)


class LateFusion(nn.Module):
    """A head for each modality, whose logits are averaged over the modalities of the row.

    What comes out is what the heads' last layers read: `[h_1; ..; h_M] / n` with `h_m = tanh(W_m x_m + b_m)`, zeros
    where a modality is missing, n the number of those that are there. One linear layer over it is the average of M
    layers with a common bias, so that a mixture of two such vectors gives the same mixture of their logits. A row with
    nothing has that bias alone.

    Args:
        dims: width of each modality.
        dropout: in front of each hidden layer.
    """

    def __init__(self, dims: Mapping[str, int], dropout: float) -> None:
        super().__init__()
        self.names = sorted(dims)
        self.out_dim = sum(dims.values())
        self.hidden = nn.ModuleDict(
            {name: nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, dim), nn.Tanh()) for name, dim in dims.items()}
        )

    def forward(self, streams: Mapping[str, Stream]) -> Tensor:
        """Fuse the streams; returns (B, sum of widths)."""
        there = [streams[name].present[:, None] for name in self.names]
        hidden = [self.hidden[name](summary(streams[name])) for name in self.names]
        kept = [x.masked_fill(~present, 0.0) for x, present in zip(hidden, there, strict=True)]
        return torch.cat(kept, -1) / torch.cat(there, -1).sum(1, keepdim=True).clamp(min=1)

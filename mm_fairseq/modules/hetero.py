"""Layers over nodes of several kinds, by torch_geometric.

Notation: n nodes of a kind, D width; `edges` (2, E) as in `graph`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import MMFairseqError
from .dropout import Dropout
from .recording import record, recording

CROSS = "cross"


def convolutions() -> tuple[Any, Any]:
    """SAGEConv and GATConv of torch_geometric.

    Raises:
        MMFairseqError: it is not installed.
    """
    try:
        from torch_geometric.nn import GATConv, SAGEConv
    except ImportError as error:
        raise MMFairseqError(f"graphs need torch_geometric: pip install 'mm-fairseq[graph]' ({error})") from error
    return SAGEConv, GATConv


class ClipNorm(nn.Module):
    """LayerNorm over all nodes and channels of a clip, with a gain and a bias for each channel.

    Args:
        dim: width C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.eps = 1e-5

    def forward(self, x: Tensor, padding_mask: Tensor) -> Tensor:
        """Normalise `x` (B, T, C), zeros in its padding (B, T), which stay zeros."""
        dtype, x = x.dtype, x.float() if x.dtype in (torch.half, torch.bfloat16) else x  # sums overflow in half
        real = ~padding_mask[..., None]  # B x T x 1
        size = (real.sum(1, keepdim=True) * x.size(2)).clamp(min=1)
        x = (x - x.sum((1, 2), keepdim=True) / size) * real
        variance = x.square().sum((1, 2), keepdim=True) / size
        return ((x * (variance + self.eps).rsqrt() * self.weight + self.bias) * real).to(dtype)


class NodeNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` over the nodes of a batch; fewer than two, which have no variance, take the running one."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.size(0) < 2:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


class HeteroLayer(nn.Module):
    """Messages along edges, their sum by kind of node, BatchNorm, SiLU, dropout, residual.

    Within a kind: SAGEConv with the mean of what is heard (Hamilton et al. 2017, arXiv 1706.02216). Between kinds, in a
    layer with `cross`: GATConv with one head (Velickovic et al. 2018, arXiv 1710.10903); the kinds then share a
    SAGEConv.

    Args:
        kinds: of nodes.
        dim: width D.
        cross: kinds that send and receive across; None for a layer without.
        dropout: of the states.
        residual: add what came in.
    """

    def __init__(
        self, kinds: Sequence[str], dim: int, cross: tuple[str, str] | None, dropout: float, residual: bool
    ) -> None:
        super().__init__()
        sage, gat = convolutions()
        self.cross, self.residual = cross, residual
        if cross:
            self.shared = sage(dim, dim, aggr="mean")
            self.between = gat((dim, dim), dim, heads=1, add_self_loops=False, negative_slope=0.2)
        else:
            self.within = nn.ModuleDict({kind: sage(dim, dim, aggr="mean") for kind in kinds})
        self.norms = nn.ModuleDict({kind: NodeNorm(dim) for kind in kinds})
        self.dropout = Dropout(dropout)

    def forward(self, x: Mapping[str, Tensor], edges: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """States (n, D) by kind to states of the same shape.

        Args:
            x: of the nodes.
            edges: by kind, those within it, as `graph.adjacency`; under `CROSS` those between, (2, E), if there are.
        """
        out = {kind: (self.shared if self.cross else self.within[kind])(each, edges[kind]) for kind, each in x.items()}
        if self.cross:
            source, target = self.cross
            # Under autocast a softmax gives float32, which sparse products of a further layer do not take.
            out[target] = out[target] + self._attend(x[source], x[target], edges[CROSS]).to(out[target].dtype)
        # Of all kinds together what is the same for all.
        new = self.dropout(F.silu(torch.cat([self.norms[kind](each) for kind, each in out.items()])))
        if self.residual:
            new = new + torch.cat(list(x.values()))
        return dict(zip(x, new.split([len(each) for each in x.values()]), strict=True))

    def _attend(self, source: Tensor, target: Tensor, edges: Tensor) -> Tensor:
        """GATConv, but the target's states are not projected: all that is wanted is their product with one vector."""
        gat = self.between
        sent = gat.lin_src(source)[:, None]  # n x 1 x D
        query = gat.lin_dst.weight.T @ gat.att_dst.flatten()
        scores = (sent * gat.att_src).sum(2), (target @ query)[:, None]
        weights = gat.edge_updater(edges, alpha=scores, edge_attr=None, size=(len(source), len(target)))
        if recording():
            record(gat, _dense(edges, weights[:, 0], len(target), len(source)))
        return gat.propagate(edges, x=(sent, None), alpha=weights, size=(len(source), len(target)))[:, 0] + gat.bias


def _dense(edges: Tensor, weights: Tensor, targets: int, sources: int) -> Tensor:
    """Weights of edges (E) as (1, targets, sources), all clips of a batch as one, zeros where there is no edge."""
    out = weights.new_zeros(targets, sources)
    out[edges[1], edges[0]] = weights
    return out[None]

"""Cross-modal transformers: every modality attends to every other one, then to itself.

Tsai et al., "Multimodal transformer for unaligned multimodal language sequences", ACL 2019, arXiv 1906.00295,
section 3.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .dropout import Dropout
from .pooling import Pooling
from .transformer import Transformer


class Dropouts(NamedTuple):
    """Probabilities: `attention` by the modality of the keys, `memory` of the attention within a modality."""

    attention: Mapping[str, float]
    memory: float
    relu: float
    residual: float
    embed: float


class CrossmodalFusion(nn.Module):
    """One vector for each modality, side by side.

    A convolution brings each modality to a common width. For each modality, one transformer for each other one attends
    to it; their results, side by side, go through a self-attention transformer (the memory) and are pooled. A modality
    that is alone has nothing to attend to but itself. For a row, attention to a missing modality adds nothing, and a
    missing modality has a vector of zeros.

    Args:
        dims: width of each modality.
        dim: common width D.
        heads: attention heads, which divide D.
        layers: of each cross-modal transformer.
        memory_layers: of each memory.
        kernel: frames that the convolution spans, with zeros around an utterance; 0: the one modality that there is
            keeps its width, without a convolution.
        how: one of `pooling.POOLINGS`.
        dropouts: see there; `embed` falls on text before its convolution too.
        causal: a frame attends to nothing of a later time.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        dim: int,
        heads: int,
        layers: int,
        memory_layers: int,
        kernel: int,
        how: str,
        dropouts: Dropouts,
        causal: bool,
    ) -> None:
        super().__init__()
        self.names, self.last, self.causal = sorted(dims), how == "last", causal
        self.projections = nn.ModuleDict(
            {name: nn.Conv1d(dims[name], dim, kernel, padding="same", bias=False) for name in self.names if kernel}
        )
        self.text_dropout = Dropout(dropouts.embed)
        self.cross = nn.ModuleDict(
            {
                f"{query}_from_{key}": _transformer(dim, heads, layers, dropouts.attention[key], dropouts)
                for query in self.names
                for key in self.names
                if key != query
            }
        )
        alone, width = len(dims) == 1, dim * max(1, len(dims) - 1)
        self.memory = nn.ModuleDict(
            {
                name: _transformer(
                    width, heads, memory_layers, dropouts.attention[name] if alone else dropouts.memory, dropouts
                )
                for name in self.names
            }
        )
        self.pooling = nn.ModuleDict({name: Pooling(how, width) for name in self.names})
        self.out_dim = width * len(self.names)

    def forward(self, streams: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        """Fuse `{modality: (x (B, T, C), padding_mask (B, T))}`, padding behind, to (B, `out_dim`)."""
        frames = {name: self._projected(name, *streams[name]) for name in self.names}
        return torch.cat([self._vector(name, frames) for name in self.names], dim=-1)

    def _projected(self, name: str, x: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        x = x.masked_fill(padding_mask[..., None], 0.0)
        if name in self.projections:
            x = self.text_dropout(x) if name == "text" else x
            x = self.projections[name](x.transpose(1, 2)).transpose(1, 2)
        return x, padding_mask

    def _vector(self, name: str, frames: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        x, mask = frames[name]
        others = [
            self.cross[f"{name}_from_{other}"](x, mask, *frames[other], causal=self.causal)
            for other in self.names
            if other != name
        ]
        x = torch.cat(others, dim=-1) if others else x
        x = self.memory[name](x, mask, causal=self.causal, last=self.last)
        return self.pooling[name](x, mask.all(dim=1, keepdim=True) if self.last else mask)


def _transformer(dim: int, heads: int, layers: int, attention_dropout: float, dropouts: Dropouts) -> Transformer:
    return Transformer(
        dim, heads, layers, 4 * dim, True, attention_dropout, dropouts.relu, dropouts.residual, dropouts.embed
    )


class ResidualLayer(nn.Module):
    """`W2 drop(relu(W1 x)) + x`.

    Args:
        dim: width of x.
        dropout: of the hidden units.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (B, D) to (B, D)."""
        return self.inner(x) + x

"""Heads: one linear layer a target over a shared fused vector."""

from collections.abc import Mapping

from torch import Tensor, nn


class Heads(nn.Module):
    """Dropout and a linear layer for every target, behind an optional hidden tanh layer.

    Args:
        dim: width of the fused vector.
        outputs: target name to number of outputs.
        dropout: before each linear layer.
        hidden: put a `dim` x `dim` tanh layer in front.
    """

    def __init__(self, dim: int, outputs: Mapping[str, int], dropout: float, hidden: bool) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, dim), nn.Tanh()) if hidden else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        # A prefix, because torch refuses the names of its own methods ("type") as keys.
        self.out = nn.ModuleDict({f"to_{name}": nn.Linear(dim, size) for name, size in outputs.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map `x` (B, dim) to `{target: (B, outputs)}`."""
        x = self.dropout(self.dense(x))
        return {key.removeprefix("to_"): layer(x) for key, layer in self.out.items()}

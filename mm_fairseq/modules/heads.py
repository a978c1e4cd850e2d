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

    def forward(self, x: Tensor, partner: Tensor | None = None, share: Tensor | None = None) -> dict[str, Tensor]:
        """Map `x` (B, dim) to `{target: (B, outputs)}`.

        With `partner`, row numbers (B), and `share` (B), row i is `share[i] * x[i] + (1 - share[i]) * x[partner[i]]`:
        manifold mixup (Verma et al. 2019, arXiv 1806.05236, section 2).
        """
        if partner is not None and share is not None:
            share = share.to(x.dtype)[:, None]
            x = share * x + (1 - share) * x[partner]
        x = self.dropout(self.dense(x))
        return {key.removeprefix("to_"): layer(x) for key, layer in self.out.items()}

"""One vector a row out of its real frames."""

import torch
from torch import Tensor, nn

from ..errors import MMFairseqError
from .recording import record, recording

POOLINGS = ("average", "last", "attentive")


class Pooling(nn.Module):
    """Mean, last or attentive mean of the real frames of each row; padding stands behind.

    Attentive: a linear score for each frame, softmax over the row, weighted sum (Yang et al. 2016, "Hierarchical
    attention networks", section 2.2, without its hidden layer); it begins as the mean.

    Args:
        how: one of POOLINGS.
        dim: width D.

    Raises:
        MMFairseqError: `how` is none of them.
    """

    def __init__(self, how: str, dim: int) -> None:
        super().__init__()
        if how not in POOLINGS:
            raise MMFairseqError(f"pooling {how!r}; allowed: {', '.join(POOLINGS)}")
        self.how = how
        if how == "attentive":
            self.score = nn.Linear(dim, 1, bias=False)
            nn.init.zeros_(self.score.weight)

    def forward(self, x: Tensor, padding_mask: Tensor) -> Tensor:
        """Pool `x` (B, T, D) with `padding_mask` (B, T) to (B, D); a row without a real frame gives zeros."""
        empty = padding_mask.all(dim=1)
        if self.how == "last":
            out = x[torch.arange(x.size(0), device=x.device), last_frame(padding_mask)]
        else:
            scores = self.score(x).squeeze(-1) if self.how == "attentive" else torch.zeros_like(x[..., 0])
            weights = scores.masked_fill(padding_mask & ~empty[:, None], float("-inf")).softmax(-1)  # B x T
            if self.how == "attentive" and recording():
                record(self, weights.masked_fill(empty[:, None], 0.0)[:, None])
            out = torch.bmm(weights[:, None], x.masked_fill(padding_mask[..., None], 0.0)).squeeze(1)
        return out.masked_fill(empty[:, None], 0.0)


def last_frame(padding_mask: Tensor) -> Tensor:
    """Number of the last real frame of each row (B); 0 where there is none."""
    return ((~padding_mask).sum(1) - 1).clamp(min=0)

"""Raw samples as tokens (VATT, Akbari et al. 2021, arXiv 2104.11178, section 3.1: audio tokens without a spectrum)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUIET = 1e-5  # a third of the step of 16-bit samples: what is added to the deviation, so that silence stays silence


def real_samples(padding_mask: Tensor) -> Tensor:
    """How many samples of each row (B) are real; of a mask that is as long as audio, torch's own sum takes longest."""
    if torch.compiler.is_exporting():  # other formats know no such view
        return (~padding_mask).sum(1, dtype=torch.int32)
    return padding_mask.size(1) - padding_mask.view(torch.uint8).sum(1, dtype=torch.int32)


def normalised(x: Tensor, padding_mask: Tensor) -> Tensor:
    """Samples (B, T) at zero mean and unit variance over the real ones of each row; zeros in the padding."""
    count = real_samples(padding_mask)[:, None]
    padded = torch.compiler.is_exporting() or bool((count < x.size(1)).any())
    count = count.clamp(min=1)
    x = x.float().masked_fill(padding_mask, 0.0) if padded else x.float()
    x = x - x.sum(1, keepdim=True) / count
    if padded:
        x.masked_fill_(padding_mask, 0.0)
    deviation = torch.linalg.vector_norm(x, dim=1, keepdim=True) / count.sqrt()
    return x.div_(deviation + QUIET)


class Pieces(nn.Module):
    """Pieces of so many samples that follow each other, the last one filled up with zeros, each mapped linearly.

    Args:
        samples: S of a piece.
        dim: width D.
    """

    def __init__(self, samples: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(samples, dim)

    @property
    def samples(self) -> int:
        return self.linear.in_features

    def forward(self, x: Tensor) -> Tensor:
        """Map samples (B, T) to (B, N, D), N = T / S rounded up."""
        x = F.pad(x, (0, -x.size(1) % self.samples))
        return self.linear(x.unflatten(1, (-1, self.samples)).to(self.linear.weight.dtype))  # B x N x S

"""What the spectral backbones have in common: frames that lie wholly inside the utterance."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..modules.standardised import Standardised
from .base import Backbone, FeatureSeq


class Spectrum(Backbone):
    """Descriptors of 16 kHz audio, without weights.

    Neither frame centring nor a decibel floor relative to the loudest frame is used: both would let one utterance of a
    batch change another.

    Args:
        descriptors: samples (B, T) to (B, frames, C).
        n_fft: window in samples.
        hop: step in samples.
    """

    modality = "audio"
    learns = False

    def __init__(self, descriptors: Standardised, n_fft: int, hop: int) -> None:
        super().__init__()
        self.descriptors = descriptors
        self.dim, self.receptive_field, self.stride = len(descriptors.shift), n_fft, hop

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        lengths = (~padding_mask).sum(1)
        features = self.descriptors(F.pad(x, (0, max(0, self.receptive_field - x.size(1)))))
        frames = ((lengths - self.receptive_field).div(self.stride, rounding_mode="floor") + 1).clamp(min=0)
        mask = torch.arange(features.size(1), device=x.device) >= frames[:, None]
        return FeatureSeq(features.masked_fill(mask[..., None], 0.0), mask)

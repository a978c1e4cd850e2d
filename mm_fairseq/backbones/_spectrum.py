"""What the spectral backbones have in common: frames that lie wholly inside the utterance."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..modules.standardised import SinglePrecision, Standardised
from .audio import frames_of
from .base import Backbone, FeatureSeq, feature_seq


class Spectrum(SinglePrecision, Backbone):
    """Descriptors of 16 kHz audio, without weights.

    Neither frame centring nor a decibel floor relative to the loudest frame is used: both would let one utterance of a
    batch change another.

    Args:
        transform: samples (B, T) to (B, C, frames).
        standardised: what brings them to a fixed scale.
        n_fft: window in samples.
        hop: step in samples.
    """

    modality = "audio"
    learns = False

    def __init__(self, transform: nn.Module, standardised: Standardised, n_fft: int, hop: int) -> None:
        super().__init__()
        self.transform, self.standardised = transform, standardised
        self.dim, self.receptive_field, self.stride = len(standardised.shift), n_fft, hop

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        lengths = (~padding_mask).sum(1)
        x = F.pad(x, (0, max(0, self.receptive_field - x.size(1))))
        features = self.standardised(self.transform(x.float()).transpose(1, 2))
        return feature_seq(features, frames_of(lengths, [(0, self.receptive_field, self.stride)]))


def at_least_one(**sizes: int) -> None:
    """Check sizes by name.

    Raises:
        ValueError: one is less than 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size}: at least 1")

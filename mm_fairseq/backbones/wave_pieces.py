"""The waveform in pieces, learnt from nothing: no spectrum, no file."""

from torch import Tensor

from ..modules.waveform import Pieces, normalised, real_samples
from .base import BACKBONES, Backbone, FeatureSeq, feature_seq


@BACKBONES.register("wave_pieces")
class WavePieces(Backbone):
    """Raw samples, cut into pieces, each mapped to a vector by one linear layer (VATT, arXiv 2104.11178, section 3.1).

    Args:
        samples: of a piece (1000 = 62.5 ms).
        dim: width of a vector.
    """

    modality = "audio"
    normalisation = "zero mean, unit variance over the utterance"

    def __init__(self, samples: int = 1000, dim: int = 256) -> None:
        super().__init__()
        for name, size in (("samples", samples), ("dim", dim)):
            if size < 1:
                raise ValueError(f"{name}={size}: at least 1")
        self.pieces = Pieces(samples, dim)
        self.dim, self.stride = dim, samples

    def longest_input(self, frames: int) -> int:
        return frames * self.stride

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        pieces = -(-real_samples(padding_mask) // self.stride)
        return feature_seq(self.pieces(normalised(x, padding_mask)), pieces)

"""Token vectors learnt from nothing, for corpora without a pretrained text model."""

from torch import Tensor, nn

from .base import BACKBONES, Backbone, FeatureSeq


@BACKBONES.register("embedding")
class Embedding(Backbone):
    """A table of token vectors, scaled to unit variance.

    Args:
        vocabulary: number of symbols.
        dim: width of a vector.
    """

    modality = "text"

    def __init__(self, vocabulary: int, dim: int = 64) -> None:
        super().__init__()
        self.dim = dim
        self.table = nn.Embedding(vocabulary, dim)

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        return FeatureSeq(self.table(x).masked_fill(padding_mask[..., None], 0.0), padding_mask)

"""Features that the corpus brings, handed on as they are."""

from torch import Tensor

from .base import ANY, BACKBONES, Backbone, FeatureSeq


@BACKBONES.register("features")
class Features(Backbone):
    """Features of the corpus itself, of any modality (MOSI, MOSEI and IEMOCAP pickles); `dim` comes from the data.

    Args:
        dim: features a frame.
    """

    modality = ANY
    learns = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        return FeatureSeq(x.masked_fill(padding_mask[..., None], 0.0), padding_mask)

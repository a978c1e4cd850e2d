"""The waveform as it is: for an architecture that cuts its own patches out of it."""

from torch import Tensor

from ..errors import MMFairseqError
from .base import BACKBONES, Backbone, FeatureSeq


@BACKBONES.register("waveform")
class Waveform(Backbone):
    """One number a sample, 16,000 a second.

    Args:
        gain: what samples are multiplied by; 1 for pretrained models, more where speech must stand out for new ones.
    """

    modality = "audio"
    learns = False
    dim = 1

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        if not 0 < gain <= 1000:
            raise ValueError(f"gain={gain}: above 0, at most 1000")
        self.gain = float(gain)

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        return FeatureSeq((self.gain * x).masked_fill(padding_mask, 0.0)[..., None], padding_mask)

    def stored(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """Refused.

        Raises:
            MMFairseqError: always: the features are the samples that the data-bin holds already.
        """
        raise MMFairseqError("backbone 'waveform' changes nothing: there is nothing to extract, train on the raw audio")

"""Pictures as they are: for an architecture that cuts its own patches out of them."""

import torch
from torch import Tensor

from ..errors import MMFairseqError
from .base import BACKBONES, Backbone, FeatureSeq, feature_seq


@BACKBONES.register("pixels")
class Pixels(Backbone):
    """The numbers of a frame, its red, green and blue picture one after the other, each row by row.

    Args:
        size: height and width of the pictures, as in the data-bin.
        fps: frames a second, as in the data-bin.
    """

    modality = "video"
    normalisation = "0..255 to 0..1"
    learns = False
    frame_size_option = "--image-size"

    def __init__(self, size: int = 224, fps: float = 25.0) -> None:
        super().__init__()
        if size < 1 or not 0 < fps <= 1000:
            raise ValueError(f"size={size}, fps={fps}: at least 1 pixel, and above 0 and at most 1000 frames a second")
        self.size, self.fps, self.dim = size, float(fps), 3 * size * size
        self.frame_size = size
        self.register_buffer("scale", torch.tensor(1 / 255), persistent=False)

    @property
    def rate_hz(self) -> float:
        return self.fps

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """Frames (B, T, 3, size, size), uint8, to (B, T, 3 * size * size).

        Raises:
            MMFairseqError: the pictures have another size.
        """
        if x.shape[2:] != (3, self.size, self.size):
            height, width = x.shape[-2:]
            raise MMFairseqError(
                f"the pictures of the data-bin are {height}x{width}, backbone 'pixels' takes {self.size}x{self.size}: "
                f"mm-fairseq binarize --frame-size {self.size}"
            )
        return feature_seq(x.flatten(2).to(self.scale.dtype) * self.scale, (~padding_mask).sum(1))

    def stored(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """Refused.

        Raises:
            MMFairseqError: always: the features are the pictures that the data-bin holds already.
        """
        raise MMFairseqError("backbone 'pixels' changes nothing: there is nothing to extract, train on the raw video")

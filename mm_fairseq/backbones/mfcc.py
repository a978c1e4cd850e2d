"""Mel-frequency cepstral coefficients by torchaudio: no weights, no file."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import BACKBONES, SAMPLE_RATE, Backbone, FeatureSeq


@BACKBONES.register("mfcc")
class Mfcc(Backbone):
    """MFCC of 16 kHz audio, in natural logarithms of the mel power, over frames that lie wholly inside the utterance.

    Neither frame centring nor a decibel floor relative to the loudest frame is used: both would let one utterance of a
    batch change another.

    Args:
        n_mfcc: coefficients a frame.
        n_fft: window in samples (400 = 25 ms).
        hop: step in samples (160 = 10 ms).
        n_mels: mel bands.
    """

    modality = "audio"
    learns = False

    def __init__(self, n_mfcc: int = 40, n_fft: int = 400, hop: int = 160, n_mels: int = 64) -> None:
        super().__init__()
        if hop < 1:
            raise ValueError(f"hop={hop}: at least 1 sample")
        from torchaudio.transforms import MFCC  # a mismatched torchaudio fails here, not when the package is imported

        options: dict[str, Any] = {"n_fft": n_fft, "hop_length": hop, "n_mels": n_mels, "center": False}
        self.transform = MFCC(SAMPLE_RATE, n_mfcc, log_mels=True, melkwargs=options)
        self.dim, self.receptive_field, self.stride = n_mfcc, n_fft, hop
        # Speech at conversational level: the first coefficient lies around -40, the others shrink with their number.
        scale = 20.0 / (1.0 + torch.arange(n_mfcc) / 4.0)
        self.register_buffer("shift", F.pad(torch.tensor([-40.0]), (0, n_mfcc - 1)), persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def _apply(self, fn: Any, recurse: bool = True) -> "Mfcc":
        """Follow a model to its device but not into half precision, which neither the FFT nor the logarithm bears."""
        return super()._apply(lambda buffer: buffer.to(fn(buffer.new_empty(0)).device), recurse)

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        lengths = (~padding_mask).sum(1)
        x = F.pad(x, (0, max(0, self.receptive_field - x.size(1))))
        # B x C x T -> B x T x C
        features = (self.transform(x.float()).transpose(1, 2) - self.shift) / self.scale
        frames = ((lengths - self.receptive_field).div(self.stride, rounding_mode="floor") + 1).clamp(min=0)
        mask = torch.arange(features.size(1), device=x.device) >= frames[:, None]
        return FeatureSeq(features.masked_fill(mask[..., None], 0.0), mask)

"""What the spectral backbones have in common: frames that lie wholly inside the utterance."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ..modules.standardised import SinglePrecision, Standardised
from .audio import frames_of
from .base import SAMPLE_RATE, Backbone, FeatureSeq, feature_seq

RATE_STEP = 100  # Hz; at rates in between, the filter that resamples has millions of taps


class Spectrum(SinglePrecision, Backbone):
    """Descriptors of 16 kHz audio, without weights, at that rate or a lower one.

    Neither frame centring nor a decibel floor relative to the loudest frame is used: both would let one utterance of a
    batch change another. Resampling sees zeros around an utterance, in a batch as alone.

    Args:
        transform: samples (B, T) at `rate` to (B, C, frames).
        standardised: what brings them to a fixed scale.
        n_fft: window in samples at `rate`.
        hop: step in samples at `rate`.
        rate: Hz, a multiple of RATE_STEP.

    Raises:
        ValueError: a step is no whole number of samples at 16 kHz.
    """

    modality = "audio"
    learns = False
    spectral = True

    def __init__(self, transform: nn.Module, standardised: Standardised, n_fft: int, hop: int, rate: int) -> None:
        super().__init__()
        from torchaudio.transforms import Resample

        if hop * SAMPLE_RATE % rate:
            raise ValueError(f"hop={hop} at rate={rate}: no whole number of samples at {SAMPLE_RATE} Hz")
        self.resample = Resample(SAMPLE_RATE, rate) if rate != SAMPLE_RATE else None
        self.transform, self.standardised = transform, standardised
        self.dim, self.n_fft, self.hop, self.rate = len(standardised.shift), n_fft, hop, rate
        self.receptive_field = (n_fft - 1) * SAMPLE_RATE // rate + 1
        self.stride = hop * SAMPLE_RATE // rate

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        lengths = (~padding_mask).sum(1)
        x = F.pad(x.float().masked_fill(padding_mask, 0.0), (0, max(0, self.receptive_field - x.size(1))))
        if self.resample is not None:
            x = self.resample(x)
            lengths = -(-lengths * self.rate // SAMPLE_RATE)
        features = self.standardised(self._transformed(x).transpose(1, 2))
        return feature_seq(features, frames_of(lengths, [(0, self.n_fft, self.hop)]))

    def _transformed(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            return self.transform(x)
        # The logarithm of a quiet band shows how coarse the FFT of another runtime is: there in doubles
        doubles = {name: buffer.double() for name, buffer in self.transform.named_buffers()}
        return functional_call(self.transform, doubles, (x.double(),)).float()


def check_rate(rate: int) -> None:
    """Check the rate at which descriptors are computed.

    Raises:
        ValueError: it is above that of the data, or between the steps.
    """
    if not RATE_STEP <= rate <= SAMPLE_RATE or rate % RATE_STEP:
        raise ValueError(f"rate={rate}: a multiple of {RATE_STEP} from {RATE_STEP} to {SAMPLE_RATE} Hz")


def at_least_one(**sizes: int) -> None:
    """Check sizes by name.

    Raises:
        ValueError: one is less than 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size}: at least 1")

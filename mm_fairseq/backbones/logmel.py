"""Logarithmic mel energies by torchaudio: no weights, no file."""

from torch import Tensor, nn

from ..modules.standardised import Standardised
from ._spectrum import Spectrum, at_least_one, check_rate
from .base import BACKBONES, SAMPLE_RATE

FLOOR = 1e-6  # added to the power before the logarithm, as torchaudio's MFCC does
SHIFT, SCALE = -5.0, 4.0  # mean and deviation of speech at conversational level, about


@BACKBONES.register("logmel")
class LogMel(Spectrum):
    """Natural logarithms of the mel power of 16 kHz audio, plus 5, divided by 4.

    Args:
        n_mels: mel bands.
        n_fft: window in samples at `rate` (400 = 25 ms).
        hop: step in samples at `rate` (160 = 10 ms).
        rate: Hz; the audio is resampled to it first.
    """

    def __init__(self, n_mels: int = 80, n_fft: int = 400, hop: int = 160, rate: int = SAMPLE_RATE) -> None:
        at_least_one(n_mels=n_mels, n_fft=n_fft, hop=hop)
        check_rate(rate)
        from torchaudio.transforms import MelSpectrogram

        mel = MelSpectrogram(rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels, center=False)
        transform = nn.Sequential(mel, _Logarithm())
        super().__init__(transform, Standardised([SHIFT] * n_mels, [SCALE] * n_mels), n_fft, hop, rate)


class _Logarithm(nn.Module):
    def forward(self, power: Tensor) -> Tensor:
        return (power + FLOOR).log()

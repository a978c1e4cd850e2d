"""Mel-frequency cepstral coefficients by torchaudio: no weights, no file."""

import torch
import torch.nn.functional as F

from ..modules.standardised import Standardised
from ._spectrum import Spectrum, at_least_one, check_rate
from .base import BACKBONES, SAMPLE_RATE


@BACKBONES.register("mfcc")
class Mfcc(Spectrum):
    """MFCC of 16 kHz audio, in natural logarithms of the mel power.

    Args:
        n_mfcc: coefficients a frame.
        n_fft: window in samples at `rate` (400 = 25 ms).
        hop: step in samples at `rate` (160 = 10 ms).
        n_mels: mel bands.
        rate: Hz; the audio is resampled to it first.
    """

    def __init__(
        self, n_mfcc: int = 40, n_fft: int = 400, hop: int = 160, n_mels: int = 64, rate: int = SAMPLE_RATE
    ) -> None:
        at_least_one(n_mfcc=n_mfcc, n_fft=n_fft, hop=hop, n_mels=n_mels)
        check_rate(rate)
        if n_mfcc > n_mels:
            raise ValueError(f"n_mfcc={n_mfcc}: at most n_mels={n_mels}")
        from torchaudio.transforms import MFCC  # a mismatched torchaudio fails here, not when the package is imported

        mel = {"n_fft": n_fft, "hop_length": hop, "n_mels": n_mels, "center": False}
        # Speech at conversational level: the first coefficient lies around -40, the others shrink with their number.
        shift = F.pad(torch.tensor([-40.0]), (0, n_mfcc - 1))
        scale = 20.0 / (1.0 + torch.arange(n_mfcc) / 4.0)
        transform = MFCC(rate, n_mfcc, log_mels=True, melkwargs=mel)
        super().__init__(transform, Standardised(shift, scale), n_fft, hop, rate)

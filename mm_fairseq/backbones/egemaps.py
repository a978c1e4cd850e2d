"""eGeMAPS v02 (Eyben et al. 2016, DOI 10.1109/TAFFC.2015.2457417) by the opensmile package: no weights, no file.

openSMILE is free for research and private use; its licence asks companies for another one.
"""

import sys
import warnings

import numpy as np
import torch
from torch import Tensor

from ..errors import MMFairseqError
from ..modules.standardised import Standardised
from .base import BACKBONES, SAMPLE_RATE, Backbone, FeatureSeq

LEVELS = {"lld": "LowLevelDescriptors", "functionals": "Functionals"}
# Centre and spread of each column, measured on acted speech: mean and deviation of descriptors; of functionals median
# and interquartile range / 1.35, for those that divide by a mean near zero have tails without end (hence LIMIT).
# fmt: off
SCALES = {
    "lld": (
        (0.62, -12, 22, 0.035, -0.0067, 0.29, 25, 5.1, 13, -1.7, 20, 0.013, 0.71, 4.7, 4.8, 16, 710, 1300, -80,
         1700, 1100, -88, 2800, 980, -91),
        (0.42, 9.7, 12, 0.032, 0.017, 0.28, 17, 15, 15, 16, 16, 0.033, 0.96, 4.6, 7.6, 15, 250, 290, 87, 280, 310,
         81, 280, 330, 78),
    ),
    "functionals": (
        (32, 0.1, 30, 33, 35, 4.1, 64, 54, 27, 15, 0.62, 0.61, 0.27, 0.56, 0.92, 0.62, 9.6, 4.9, 8.6, 4.3, 0.29,
         0.8, 25, 0.65, 5.4, 1.3, 13, 1, -0.87, -0.99, 0.022, 1, 1.2, 0.78, 7.4, 0.4, 7.5, 0.95, 26, 0.32, 680,
         0.35, 1400, 0.18, -84, -1, 1700, 0.16, 1100, 0.27, -86, -0.91, 2800, 0.1, 960, 0.32, -88, -0.86, -15,
         -0.47, 25, 0.33, 0.043, 0.51, -0.012, -1.1, 0.34, 0.64, 31, 0.37, 4, 1, 14, 0.9, -3, -1.1, -7.2, 16, 0.022,
         0.0025, 0.18, 5.3, 3.3, 0.18, 0.14, 0.085, 0.053, -24),
        (7.2, 0.057, 7.1, 7.3, 7.2, 2.4, 61, 63, 24, 18, 0.14, 0.095, 0.1, 0.14, 0.23, 0.18, 2.7, 1.7, 2.6, 1.6,
         0.092, 0.13, 4.2, 0.18, 6.8, 1.3, 6.8, 0.65, 8.1, 3.6, 0.008, 0.35, 0.22, 0.13, 2.5, 0.1, 3.6, 0.5, 4.8,
         0.094, 80, 0.053, 72, 0.038, 27, 0.25, 81, 0.022, 83, 0.064, 28, 0.21, 88, 0.018, 79, 0.069, 28, 0.17, 3.4,
         0.14, 4.2, 0.08, 0.026, 0.34, 0.0053, 0.49, 0.12, 0.14, 4.2, 0.1, 8, 3, 7.6, 0.61, 8.2, 3.1, 3.3, 4, 0.017,
         0.0056, 0.079, 0.81, 0.83, 0.072, 0.06, 0.034, 0.034, 3),
    ),
}
# fmt: on
LIMIT = 10.0
SHORTEST = 960  # samples: openSMILE fills anything shorter with NaN
FIRST = 800  # samples that the first frame of 10 ms needs


@BACKBONES.register("egemaps")
class Egemaps(Backbone):
    """Pitch, loudness, formants, spectral balance and voice quality, as openSMILE gives them.

    Each utterance is analysed by itself on the CPU, in single precision.

    Args:
        level: "lld", 25 descriptors each 10 ms, or "functionals", 88 statistics of the whole utterance.
    """

    modality = "audio"
    normalisation = "openSMILE's numbers, centred and scaled by fixed constants, clamped to -10..10"
    takes_mask = False
    learns = False
    receptive_field = SHORTEST

    def __init__(self, level: str = "lld") -> None:
        super().__init__()
        if level not in LEVELS:
            raise ValueError(f"level={level!r}: allowed are {', '.join(LEVELS)}")
        try:
            import opensmile
        except ImportError as error:
            raise MMFairseqError(
                f"the egemaps backbone needs opensmile: pip install 'mm-fairseq[opensmile]' ({error})"
            ) from error
        self.level, self.stride = level, 160
        self.smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel[LEVELS[level]])
        self.descriptors = Standardised(*SCALES[level], LIMIT)
        self.dim = len(self.descriptors.shift)

    @property
    def rate_hz(self) -> float:
        return super().rate_hz if self.level == "lld" else 0.0

    def longest_input(self, frames: int) -> int:
        return max(SHORTEST, FIRST + (frames - 1) * self.stride) if self.level == "lld" else sys.maxsize

    def spans(self, frames: int, length: int) -> list[tuple[int, int] | None]:
        return super().spans(frames, length) if self.level == "lld" else [(0, length)] * frames

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        kept = zip(x.float().cpu(), (~padding_mask).sum(1).tolist(), strict=True)
        rows = [self._analyse(row[:length].numpy()) for row, length in kept]
        frames = torch.tensor([len(row) for row in rows])
        mask = torch.arange(max(1, int(frames.max()))) >= frames[:, None]
        out = torch.zeros(*mask.shape, self.dim)
        out[~mask] = torch.cat(rows)
        out, mask = self.descriptors(out.to(x.device)), mask.to(x.device)
        return FeatureSeq(out.masked_fill(mask[..., None], 0.0), mask)

    def _analyse(self, samples: np.ndarray) -> Tensor:
        """One utterance to (T, C); none where it is too short."""
        if len(samples) < SHORTEST:
            return torch.zeros(0, self.dim)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.from_numpy(self.smile.process_signal(samples, SAMPLE_RATE).to_numpy(np.float32, copy=True))

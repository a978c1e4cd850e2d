"""FAb-Net face encoder (Wiles et al. 2018, arXiv 1808.06882), from its released task and training files.

Deviation from the trimodal original: only real frames are encoded, chosen by the mask and never by the value of a
pixel.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..untrusted import read_checkpoint
from .base import BACKBONES, Backbone, FeatureSeq
from .files import pick

WIDTHS = (32, 64, 128, 256, 256, 256, 256, 256)
SIZE = 2 ** len(WIDTHS)
# Frames encoded at once without gradient; on a CPU so few that their memory is used again instead of asked for anew.
CHUNK = {"cpu": 8, "cuda": 256}


@BACKBONES.register("fabnet")
class FabNet(Backbone):
    """256 numbers a face: eight stride-2 convolutions take 256x256 RGB to 1x1."""

    modality = "video"
    normalisation = "RGB scaled to 0..1"
    takes_mask = False
    dim = WIDTHS[-1]

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for index, out in enumerate(WIDTHS):
            layers.append(nn.Conv2d(width, out, 4, stride=2, padding=1))
            if 0 < index < len(WIDTHS) - 1:
                layers.append(nn.BatchNorm2d(out))
            if index < len(WIDTHS) - 1:
                layers.append(nn.LeakyReLU(0.2))
            width = out
        self.encoder = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # 1.7 times as fast on a CPU

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        state = read_checkpoint(path)
        place = next((name for name in ("state_dict_model", "state_dict") if name in state), None)
        weights = pick(state[place] if place else state, ("encoder.",), path)
        for key in list(weights):
            if key.endswith("running_var"):  # files of torch < 0.4.1 lack the counter
                weights.setdefault(key.replace("running_var", "num_batches_tracked"), torch.zeros((), dtype=torch.long))
        return {}, weights

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        if x.shape[-2:] != (SIZE, SIZE):
            raise MMFairseqError(
                f"fabnet needs frames of {SIZE}x{SIZE} pixels, found {x.size(-1)}x{x.size(-2)}; "
                f"binarize with --frame-size {SIZE}"
            )
        if torch.compiler.is_exporting():  # how many frames are real is not known yet: all of them
            out = self._encode(x.flatten(0, 1)).unflatten(0, padding_mask.shape)
            return FeatureSeq(out.masked_fill(padding_mask[..., None], 0.0), padding_mask)
        frames = x[~padding_mask]
        pieces = [frames] if torch.is_grad_enabled() else frames.split(CHUNK.get(x.device.type, 64))
        encoded = torch.cat([self._encode(piece) for piece in pieces])
        out = encoded.new_zeros(*padding_mask.shape, self.dim)
        out[~padding_mask] = encoded
        return FeatureSeq(out, padding_mask)

    def _encode(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, 256, 256) to (N, 256)."""
        frames = frames.to(self.encoder[0].weight.dtype, memory_format=torch.channels_last) / 255
        return self.encoder(frames).flatten(1)

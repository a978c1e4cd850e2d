"""R3D-18 (Tran et al. 2018, arXiv 1711.11248) of torchvision, from its file of weights (Kinetics-400)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..untrusted import read_checkpoint
from ._windows import encode_windows, every_window, in_chunks, window_starts
from .base import BACKBONES, Backbone, FeatureSeq
from .files import pick

PARTS = ("stem.", "layer1.", "layer2.", "layer3.", "layer4.")
# Windows encoded at once without gradient.
CHUNK = {"cpu": 4, "cuda": 64}


@BACKBONES.register("r3d_18")
class R3D18(Backbone):
    """512 numbers a window of frames, from a ResNet with 3D convolutions.

    Window k begins at frame k * hop, the last one so that it ends with the clip; a clip shorter than a window is one
    window of its own length.

    Args:
        window: frames of a window.
        hop: frames from one window to the next; more than `window` leaves some out.
    """

    modality = "video"
    normalisation = "as torchvision's R3D_18_Weights.KINETICS400_V1: 171x128, centre 112x112, mean and deviation"
    takes_mask = False
    dim = 512

    def __init__(self, window: int = 16, hop: int = 8) -> None:
        super().__init__()
        if window < 1 or hop < 1:
            raise ValueError(f"window={window}, hop={hop}: at least 1 frame each")
        from torchvision.models.video import R3D_18_Weights, r3d_18

        self.window, self.stride = window, hop
        self.preset = R3D_18_Weights.KINETICS400_V1.transforms()
        self.net = r3d_18(weights=None)
        self.net.fc = nn.Identity()

    def longest_input(self, frames: int) -> int:
        return self.window + (frames - 1) * self.stride

    def spans(self, frames: int, length: int) -> list[tuple[int, int] | None]:
        starts = window_starts(length, self.window, self.stride)[:frames]
        return [(start, min(length, start + self.window)) for start in starts]

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        weights = pick(read_checkpoint(path), PARTS, path)
        stem = weights.get("stem.0.weight")
        if stem is None or stem.shape != (64, 3, 3, 7, 7):
            raise MMFairseqError(
                f"{path}: not R3D-18: stem.0.weight is {None if stem is None else tuple(stem.shape)}, "
                "expected (64, 3, 3, 7, 7)"
            )
        return {}, {f"net.{key}": value for key, value in weights.items()}

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        if torch.compiler.is_exporting():
            return self._every_window(x, padding_mask)
        lengths = (~padding_mask).sum(1).tolist()
        clips = self._pictures(x[~padding_mask]).split(lengths, dim=1)  # C x frames x H x W each
        starts = [window_starts(length, self.window, self.stride) for length in lengths]
        return encode_windows(clips, starts, self.window, 1, self.dim, self._encode)

    def _pictures(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W) uint8 to (3, N, 112, 112)."""
        return self.preset(frames).to(self.net.stem[0].weight.dtype)

    def _encode(self, windows: tuple[Tensor, ...]) -> Tensor:
        """Windows of equal length, each (3, T, 112, 112), to (N, 512)."""
        return in_chunks(windows, CHUNK, self.net)

    def _every_window(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """The same, without a look at how long clips are: all windows at once, what is no clip's masked."""
        windows = every_window((~padding_mask).sum(1), x.size(1), self.window, self.stride)
        pictures = self._preset(x.flatten(0, 1)).unflatten(0, padding_mask.shape)
        x = windows.cut(pictures, self.window).transpose(1, 2)  # N x C x T x H x W
        sizes = windows.sizes[:, None].expand_as(windows.starts).flatten()
        x = self.net.stem(_until(x, sizes))
        for layer in (self.net.layer1, self.net.layer2, self.net.layer3, self.net.layer4):
            for block in layer:
                after = (sizes - 1).div(block.conv1[0].stride[0], rounding_mode="floor") + 1
                inner = block.conv2(_until(block.conv1(_until(x, sizes)), after))
                x = block.relu(inner + (x if block.downsample is None else block.downsample(x)))
                sizes = after
        return windows.vectors(_until(x, sizes).sum((2, 3, 4)) / (sizes * x.size(3) * x.size(4))[:, None])

    def _preset(self, frames: Tensor) -> Tensor:
        """The steps of the preset, which looks whether a deviation is 0; (N, 3, H, W) uint8 to (N, 3, 112, 112)."""
        from torchvision.transforms import functional

        preset, dtype = self.preset, self.net.stem[0].weight.dtype
        frames = functional.resize(frames, preset.resize_size, interpolation=preset.interpolation, antialias=False)
        x = functional.convert_image_dtype(functional.center_crop(frames, preset.crop_size), torch.float)
        mean, deviation = (torch.tensor(each)[:, None, None] for each in (preset.mean, preset.std))
        return ((x - mean.to(x.device)) / deviation.to(x.device)).to(dtype)


def _until(x: Tensor, sizes: Tensor) -> Tensor:
    """Windows (N, C, T, H, W), zero behind their first `sizes` frames, as convolutions see the end of a clip."""
    behind = torch.arange(x.size(2), device=x.device) >= sizes[:, None]
    return x.masked_fill(behind[:, None, :, None, None], 0.0)

"""R3D-18 (Tran et al. 2018, arXiv 1711.11248) of torchvision, from its file of weights (Kinetics-400)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MMFairseqError
from .base import BACKBONES, Backbone, FeatureSeq
from .files import pick, read_checkpoint

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
        hop: frames from one window to the next.
    """

    modality = "video"
    normalisation = "as torchvision's R3D_18_Weights.KINETICS400_V1: 171x128, centre 112x112, mean and deviation"
    takes_mask = False
    dim = 512

    def __init__(self, window: int = 16, hop: int = 8) -> None:
        super().__init__()
        if window < 1 or not 1 <= hop <= window:
            raise ValueError(f"window={window}, hop={hop}: at least 1 frame each, and hop not more than window")
        from torchvision.models.video import R3D_18_Weights, r3d_18

        self.window, self.stride = window, hop
        self.preset = R3D_18_Weights.KINETICS400_V1.transforms()
        self.net = r3d_18(weights=None)
        self.net.fc = nn.Identity()

    def longest_input(self, frames: int) -> int:
        return self.window + (frames - 1) * self.stride

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
        lengths = (~padding_mask).sum(1)
        clips = self._pictures(x[~padding_mask]).split(lengths.tolist(), dim=1)  # C x frames x H x W each
        pieces: dict[int, list[tuple[int, int, Tensor]]] = {}  # by length: row, number and frames of a window
        for row, clip in enumerate(clips):
            length = clip.size(1)
            for number in range(self._windows(length)):
                start = min(number * self.stride, max(0, length - self.window))
                piece = clip[:, start : start + self.window]
                pieces.setdefault(piece.size(1), []).append((row, number, piece))
        windows = [self._windows(length) for length in lengths.tolist()]
        mask = torch.arange(max(windows), device=x.device) >= torch.tensor(windows, device=x.device)[:, None]
        groups = [tuple(zip(*group, strict=True)) for group in pieces.values()]
        encoded = [self._encode(frames) for _, _, frames in groups]
        out = encoded[0].new_zeros(*mask.shape, self.dim)
        for (rows, numbers, _), vectors in zip(groups, encoded, strict=True):
            out[list(rows), list(numbers)] = vectors
        return FeatureSeq(out, mask)

    def _windows(self, length: int) -> int:
        return max(1, -(-(length - self.window) // self.stride) + 1)

    def _pictures(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W) uint8 to (3, N, 112, 112)."""
        return self.preset(frames).to(self.net.stem[0].weight.dtype)

    def _encode(self, windows: tuple[Tensor, ...]) -> Tensor:
        """Windows of equal length, each (3, T, 112, 112), to (N, 512)."""
        step = len(windows) if torch.is_grad_enabled() else CHUNK.get(windows[0].device.type, 16)
        chunks = [windows[start : start + step] for start in range(0, len(windows), step)]
        return torch.cat([self.net(torch.stack(chunk)) for chunk in chunks])

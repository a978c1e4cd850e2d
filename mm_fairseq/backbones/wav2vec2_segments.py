"""wav2vec 2.0 (Baevski et al. 2020, arXiv 2006.11477) by segments of an utterance: one vector each half second or so.

As audio nodes of `models/av_graph.py`. Deviations from upstream are those of `wav2vec2`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.models.wav2vec.wav2vec2 import ConvFeatureExtractionModel
from torch import Tensor, nn

from ..modules.norm import masked_group_norm
from ._windows import encode_windows, every_window, in_chunks, window_starts
from .audio import frames_of
from .base import BACKBONES, Backbone, FeatureSeq, feature_seq
from .files import receptive_field
from .wav2vec import run_block
from .wav2vec2 import EXTRACTOR, Wav2Vec2

FEATURES = ("conv", "transformer")
# Windows encoded at once without gradient.
CHUNK = {"cpu": 8, "cuda": 256}
_FRONT = "feature_extractor."
_WHOLE = "whole."


@BACKBONES.register("wav2vec2_segments")
class Wav2Vec2Segments(Backbone):
    """Means of wav2vec 2.0's features over windows: 512 wide of its convolutions, 768 or more of its transformer.

    Window k begins at sample k * hop, the last one so that it ends with the clip; a clip shorter than a window is one
    window of its own length.

    Args:
        window: samples of a window.
        hop: samples from one window to the next; more than `window` leaves some out.
        features: "conv", the convolutional front end on each window by itself, and no transformer is kept;
            "transformer", hidden states of the whole clip, of the frames whose centre lies in a window.
        layer: of the transformer, see `chosen_states`.
        normalize: samples of an utterance get mean 0 and variance 1; `task.normalize` of the checkpoint.
        others: as in `Wav2Vec2`.
    """

    modality = "audio"
    normalisation = "mean 0 and variance 1 over the samples of an utterance, if the checkpoint says normalize"

    def __init__(
        self,
        window: int = 7680,
        hop: int = 8017,
        features: str = "conv",
        layer: int | str = "last",
        conv_feature_layers: Sequence[Sequence[int]] = EXTRACTOR,
        extractor_mode: str = "default",
        conv_bias: bool = False,
        normalize: bool = False,
        **transformer: Any,
    ) -> None:
        super().__init__()
        self.receptive_field, self.step = receptive_field(conv_feature_layers)
        if features not in FEATURES:
            raise ValueError(f"features={features!r}: allowed are {', '.join(FEATURES)}")
        if window < self.receptive_field or hop < 1:
            raise ValueError(f"window={window}, hop={hop}: at least {self.receptive_field} and 1 samples")
        self.window, self.stride, self.features, self.normalize = window, hop, features, normalize
        front: dict[str, Any] = {
            "conv_feature_layers": conv_feature_layers,
            "extractor_mode": extractor_mode,
            "conv_bias": conv_bias,
        }
        if features == "conv":
            if layer != "last":
                raise ValueError(f"layer={layer!r} needs features=transformer")
            shapes = [tuple(each) for each in conv_feature_layers]
            self.dim = shapes[-1][0]
            self.feature_extractor = ConvFeatureExtractionModel(
                shapes, dropout=0.0, mode=extractor_mode, conv_bias=conv_bias
            )
        else:
            self.whole = Wav2Vec2(**front, layer=layer, normalize=normalize, **transformer)
            self.dim, self.states = self.whole.dim, self.whole.states

    def longest_input(self, frames: int) -> int:
        return self.window + (frames - 1) * self.stride

    def spans(self, frames: int, length: int) -> list[tuple[int, int] | None]:
        starts = window_starts(length, self.window, self.stride)[:frames]
        return [(start, min(length, start + self.window)) for start in starts]

    def layers(self) -> list[nn.Module]:
        return self.whole.layers() if self.features == "transformer" else []

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        return Wav2Vec2.read(path)

    @classmethod
    def weights_for(cls, args: Mapping[str, Any], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        if args["features"] == "conv":
            return {key: value for key, value in weights.items() if key.startswith(_FRONT)}
        return {_WHOLE + key: value for key, value in weights.items()}

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        samples = (~padding_mask).sum(1)
        if torch.compiler.is_exporting():
            return self._every_window(x, padding_mask, samples)
        lengths = samples.tolist()
        starts = [
            window_starts(length, self.window, self.stride) if length >= self.receptive_field else []
            for length in lengths
        ]
        if self.features == "transformer":
            return self._means(self.whole(x, padding_mask), starts, lengths)
        if self.normalize:
            x = masked_group_norm(x.float()[:, None], samples, nn.GroupNorm(1, 1, affine=False))[:, 0]
        x = x.to(next(self.feature_extractor.parameters()).dtype)
        clips = [row[:length] for row, length in zip(x, lengths, strict=True)]
        return encode_windows(clips, starts, self.window, 0, self.dim, self._encode)

    def _encode(self, windows: tuple[Tensor, ...]) -> Tensor:
        """Windows of equal length to (N, C)."""
        return in_chunks(windows, CHUNK, lambda x: self.feature_extractor(x).mean(2))

    def _means(self, frames: FeatureSeq, starts: Sequence[Sequence[int]], lengths: Sequence[int]) -> FeatureSeq:
        """Frames (B, T, C) of whole clips to the means over windows (B, N, C)."""
        counts = torch.tensor([len(own) for own in starts], device=frames.x.device)
        shares = frames.x.new_zeros(len(starts), max(1, int(counts.max())), frames.x.size(1))
        for row, (own, length) in enumerate(zip(starts, lengths, strict=True)):
            last = int((~frames.padding_mask[row]).sum()) - 1
            for number, start in enumerate(own):
                first = min(last, self._frame(start))
                end = max(first + 1, min(last + 1, self._frame(min(length, start + self.window))))
                shares[row, number, first:end] = 1 / (end - first)
        return feature_seq(torch.bmm(shares, frames.x), counts)

    def _every_window(self, x: Tensor, padding_mask: Tensor, samples: Tensor) -> FeatureSeq:
        """The same, without a look at how long clips are: all windows at once, what is no clip's masked."""
        windows = every_window(samples, x.size(1), self.window, self.stride, self.receptive_field)
        if self.features == "transformer":
            frames = self.whole(x, padding_mask)
            last = (~frames.padding_mask).sum(1)[:, None] - 1  # B x 1
            half, step = self.receptive_field // 2, self.step
            ends = torch.minimum(samples[:, None], windows.starts + self.window)
            first, end = (
                (sample - half + step - 1).div(step, rounding_mode="floor").clamp(min=0)
                for sample in (windows.starts, ends)
            )
            first = torch.minimum(first, last)
            end = torch.maximum(first + 1, torch.minimum(last + 1, end))
            places = torch.arange(frames.x.size(1), device=x.device)
            seen = (places >= first[..., None]) & (places < end[..., None])
            means = torch.bmm(seen.to(frames.x.dtype) / (end - first)[..., None], frames.x)
            return feature_seq(means, windows.counts)
        if self.normalize:
            x = masked_group_norm(x.float()[:, None], samples, nn.GroupNorm(1, 1, affine=False))[:, 0]
        x = windows.cut(x.to(next(self.feature_extractor.parameters()).dtype), self.window)[:, None]
        sizes = windows.sizes[:, None].expand_as(windows.starts).flatten()
        for block in self.feature_extractor.conv_layers:
            sizes = frames_of(sizes, [(0, block[0].kernel_size[0], block[0].stride[0])])
            x = run_block(block, x, sizes)
        real = torch.arange(x.size(2), device=x.device) < sizes[:, None]
        return windows.vectors(x.masked_fill(~real[:, None], 0.0).sum(2) / sizes[:, None])

    def _frame(self, sample: int) -> int:
        """The first frame whose centre is not before a sample."""
        return max(0, -(-(sample - self.receptive_field // 2) // self.step))

"""The contract of a backbone.

B batch, T frames, C channels. `padding_mask` is bool, True = pad, and padding stands behind the real frames.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..registry import Registry

SAMPLE_RATE = 16000  # Hz, of all audio in a data-bin
ANY = "any"

BACKBONES: Registry[type["Backbone"]] = Registry("backbone")


class FeatureSeq(NamedTuple):
    """Features `x` (B, T, C) and their `padding_mask` (B, T)."""

    x: Tensor
    padding_mask: Tensor


def feature_seq(x: Tensor, lengths: Tensor) -> FeatureSeq:
    """(B, T, C) whose first `lengths` frames are real, as a backbone gives it."""
    mask = torch.arange(x.size(1), device=x.device) >= lengths[:, None]
    return FeatureSeq(x.masked_fill(mask[..., None], 0), mask)


class Backbone(nn.Module):
    """An encoder of one modality, built from plain arguments alone.

    Input by modality: audio (B, T) float in [-1, 1] at 16 kHz; text (B, T) token ids; video (B, T, 3, H, W) uint8. No
    row is all padding: `BackboneSet` sees to that. Output: (B, T, states * dim), zeros where it is padding.

    A subclass sets what follows and defines `forward`; one that has public checkpoints defines `read` as well, one that
    has transformer layers `layers`.

    Attributes:
        modality: what it reads; `ANY`: no raw data but features (B, T, C) that the corpus brings, of any modality.
        normalisation: what is done to the input, in words.
        takes_mask: whether padded rows go through the encoder together, told apart by a mask; otherwise each row (or
            frame) is encoded by itself.
        learns: whether it has weights that a training could change.
        summarises: whether position 0 of the output stands for the whole sequence.
        spectral: whether its features are a spectrum of standardised channels, which SpecAugment may mask.
        file_options: names of options of its specification that are further pretrained files.
        dim: width C of one hidden state.
        states: how many hidden states stand side by side in the output; more than one for a weighted sum of layers.
        stride: samples, tokens or frames from one output frame to the next.
        rate_hz: output frames a second; 0 where time has no unit.
        receptive_field: the shortest input that yields one output frame.
        max_input: the longest input; None where there is no limit.
        frame_size: side in pixels of the pictures that it is built for; None where its weights settle what it takes.
        frame_size_option: the option of the model that sets it; "" where none does.
        code_groups: G, where `stored` gives numbers of codes (B, T, G), which `forward` takes instead of raw input;
            0: it gives features.
    """

    modality: ClassVar[str]
    normalisation: ClassVar[str] = "none"
    takes_mask: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    summarises: ClassVar[bool] = False
    spectral: ClassVar[bool] = False
    file_options: ClassVar[tuple[str, ...]] = ()
    dim: int
    states: int = 1
    stride: int = 1
    receptive_field: int = 1
    max_input: int | None = None
    frame_size: int | None = None
    frame_size_option: ClassVar[str] = ""
    code_groups: int = 0

    @classmethod
    def reads(cls, modality: str) -> bool:
        """Whether it can be the backbone of a modality."""
        return cls.modality in (modality, ANY)

    @property
    def rate_hz(self) -> float:
        return SAMPLE_RATE / self.stride if self.modality == "audio" else 0.0

    def longest_input(self, frames: int) -> int:
        """The longest input, in samples, tokens or frames, that is sure to give at most `frames` output frames."""
        longest = self.receptive_field + (frames - 1) * self.stride
        return min(longest, self.max_input or longest)

    def spans(self, frames: int, length: int) -> list[tuple[int, int] | None]:
        """What each output frame is made of.

        Args:
            frames: of the output.
            length: of the input, in samples, tokens or frames.

        Returns:
            Beginning and end in the input; None for a frame that stands for no part of it, as <s> does.
        """
        width = max(self.stride, self.receptive_field)
        starts = [min(number * self.stride, max(0, length - 1)) for number in range(frames)]
        return [(start, max(start + 1, min(length, start + width))) for start in starts]

    def layers(self) -> list[nn.Module]:
        """The transformer layers, those next to the input first; empty where there are none."""
        return []

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """Encode a batch."""
        raise AssertionError("a backbone defines forward")

    def stored(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """What `mm-fairseq extract` keeps of a batch: features, or numbers of codes where there are `code_groups`."""
        return self(x, padding_mask)

    @classmethod
    def front(cls, entry: dict[str, Any]) -> dict[str, Any] | None:
        """The entry of a part next to the input that never learns, whose output `forward` takes instead of raw input.

        Such output, integers (B, T, G), may be cached although the rest of the backbone learns; None where there is no
        such part.
        """
        return None

    @classmethod
    def parts(cls, path: Path) -> list[Path]:
        """The files that decide the features, where `path` is a folder: what the checksum is of."""
        return [path]

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Arguments for the constructor and weights for `load_state_dict(strict=True)` out of a file or folder.

        Those of `file_options` that are given come as further paths, by keyword.

        Raises:
            MMFairseqError: the file is not such a checkpoint; names what is missing.
        """
        raise MMFairseqError(f"this backbone has no pretrained files, {path} was given")

    @classmethod
    def weights_for(cls, args: Mapping[str, Any], weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """What a backbone of these arguments loads of the weights that `read` found."""
        return weights


def chosen_states(layer: int | str, layers: int) -> tuple[int, ...]:
    """Which hidden states a backbone gives: state 0 goes into the first layer, state k comes out of layer k.

    Args:
        layer: a number, negative ones counting from the end as in Python; "last"; "weighted", all of them, for a
            learned weighted sum (SUPERB, Yang et al. 2021, arXiv 2105.01051, section 3).
        layers: how many layers there are.

    Raises:
        ValueError: there is no such layer.
    """
    if layer == "weighted":
        return tuple(range(layers + 1))
    number = layers if layer == "last" else layer
    if not isinstance(number, int) or not -layers - 1 <= number <= layers:
        raise ValueError(f"layer={layer!r}: allowed are last, weighted and {-layers - 1} to {layers}")
    return (number % (layers + 1),)

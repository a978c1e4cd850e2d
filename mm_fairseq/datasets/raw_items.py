"""One raw item of a data-bin as a backbone takes it: training and `mm-fairseq extract` read it here.

T samples, tokens or frames; H height, W width.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..databin.format import unpack_frames
from ..errors import MMFairseqError
from ..media.faces import decode_jpeg

EMPTY: dict[str, np.ndarray] = {  # dtype and trailing shape of items
    "audio": np.zeros(0, np.float32),
    "text": np.zeros(0, np.int64),
    "video": np.zeros((0, 3, 1, 1), np.uint8),
}


class Limits(NamedTuple):
    """Shortest and longest input that the model takes: samples, tokens (<s> and </s> included) or frames."""

    shortest: int = 1
    longest: int | None = None

    def usable(self, lengths: np.ndarray) -> np.ndarray:
        """What is left of inputs of these lengths: cut at the longest, 0 where they are too short. Shape (N), int64."""
        if self.longest is not None:
            lengths = np.minimum(lengths, self.longest)
        return np.where(lengths < self.shortest, 0, lengths).astype(np.int64)


def limits_of(found: Mapping[str, tuple[int, int | None]], max_sample_size: int = 0) -> dict[str, Limits]:
    """The limits of each modality.

    Args:
        found: of the model, shortest and longest.
        max_sample_size: audio is cut at so many samples; 0 for what the model takes.

    Raises:
        MMFairseqError: that is less than the model needs.
    """
    limits = {name: Limits(*limit) for name, limit in found.items()}
    if max_sample_size and "audio" in limits:
        shortest, longest = limits["audio"]
        if max_sample_size < shortest:
            raise MMFairseqError(
                f"--max-sample-size {max_sample_size}: the audio backbone needs at least {shortest} samples"
            )
        limits["audio"] = Limits(shortest, min(max_sample_size, longest or max_sample_size))
    return limits


def input_lengths(modality: str, lengths: np.ndarray, dim: int = 0) -> np.ndarray:
    """Lengths of inputs by those in a stream: a text that is there gets a symbol at either end. Shape (N).

    Args:
        modality: of the stream.
        lengths: of its items. Shape (N).
        dim: D of a stream of features [T, D], to which nothing is added; 0 for raw data.
    """
    return lengths + 2 * (lengths > 0) if modality == "text" and not dim else lengths


def read_item(modality: str, item: np.ndarray, length: int, bos: int, eos: int) -> np.ndarray:
    """A stored item, cut at `length`, as input of a backbone.

    Returns:
        audio: (T), float32 in [-1, 1]; text: (T), int64, between `bos` and `eos`; video: (T, 3, H, W), uint8 RGB; of a
        stream of features: (T, D), float32.

    Raises:
        MMFairseqError: the item is damaged.
    """
    if item.ndim == 2:
        return item[:length].astype(np.float32)
    if modality == "audio":
        return np.multiply(item[:length], np.float32(1 / 32768), dtype=np.float32)
    if modality == "text":
        return np.concatenate([[bos], item[: max(0, length - 2)], [eos]])[:length].astype(np.int64)
    return np.stack([decode_jpeg(frame) for frame in unpack_frames(item)[:length]]).transpose(0, 3, 1, 2)

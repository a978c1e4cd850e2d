"""Windows of time, each encoded by itself: one vector a window."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .base import FeatureSeq, feature_seq


def window_starts(length: int, window: int, hop: int) -> list[int]:
    """Where the windows of a clip begin: each `hop`, the last one so that it ends with the clip.

    A clip that is shorter than a window is one window of its own length.
    """
    last = max(0, length - window)
    return [min(number * hop, last) for number in range(-(-last // hop) + 1)]


class Windows(NamedTuple):
    """Windows of clips, all of the same number and length, for a graph that must not look at lengths.

    Attributes:
        starts: where they begin, (B, N).
        sizes: how much of each window is of the clip, (B).
        counts: how many of the N are windows of the clip, (B).
    """

    starts: Tensor
    sizes: Tensor
    counts: Tensor

    def cut(self, x: Tensor, window: int) -> Tensor:
        """Out of clips (B, T, ...), (B N, window, ...); what lies behind a clip's end means nothing."""
        places = self.starts[..., None] + torch.arange(window, device=x.device)
        rows = torch.arange(x.size(0), device=x.device)[:, None, None]
        return x[rows, places.clamp(max=x.size(1) - 1)].flatten(0, 1)

    def vectors(self, x: Tensor) -> FeatureSeq:
        """One vector a window (B N, C) to (B, N, C)."""
        return feature_seq(x.unflatten(0, self.starts.shape), self.counts)


def every_window(lengths: Tensor, longest: int, window: int, hop: int, shortest: int = 1) -> Windows:
    """The windows of `window_starts`.

    Args:
        lengths: of clips, (B).
        longest: T of the batch.
        window, hop: as there.
        shortest: a clip that is shorter has no window.
    """
    most = (torch.sym_max(longest - window, 0) + hop - 1) // hop + 1
    last = (lengths - window).clamp(min=0)
    starts = torch.minimum(torch.arange(most, device=lengths.device) * hop, last[:, None])
    counts = ((last + hop - 1).div(hop, rounding_mode="floor") + 1).masked_fill(lengths < shortest, 0)
    return Windows(starts, lengths.clamp(min=shortest, max=window), counts)


def encode_windows(
    clips: Sequence[Tensor],
    starts: Sequence[Sequence[int]],
    window: int,
    time: int,
    dim: int,
    encode: Callable[[tuple[Tensor, ...]], Tensor],
) -> FeatureSeq:
    """One vector a window of each clip.

    Args:
        clips: one a row, without padding.
        starts: where the windows of each begin; none for a clip that is too short to be encoded.
        window: length of a window that is not cut short by the end of its clip.
        time: dimension of a clip that is time.
        dim: width C.
        encode: windows of equal length to (N, C).

    Returns:
        (B, most windows of a clip, C).
    """
    pieces: dict[int, list[tuple[int, int, Tensor]]] = {}  # by length: row, number and content of a window
    for row, (clip, own) in enumerate(zip(clips, starts, strict=True)):
        for number, start in enumerate(own):
            piece = clip.narrow(time, start, min(window, clip.size(time) - start))
            pieces.setdefault(piece.size(time), []).append((row, number, piece))
    counts = torch.tensor([len(own) for own in starts], device=clips[0].device)
    groups = [tuple(zip(*group, strict=True)) for group in pieces.values()]
    encoded = [encode(windows) for _, _, windows in groups]
    kind = encoded[0].dtype if encoded else torch.float
    out = torch.zeros(len(clips), max(1, int(counts.max())), dim, dtype=kind, device=counts.device)
    for (rows, numbers, _), vectors in zip(groups, encoded, strict=True):
        out[list(rows), list(numbers)] = vectors
    return feature_seq(out, counts)


def in_chunks(windows: tuple[Tensor, ...], most: dict[str, int], encode: Callable[[Tensor], Tensor]) -> Tensor:
    """Encode windows of equal length together; without gradient only so many at once as `most` says of the device."""
    step = len(windows) if torch.is_grad_enabled() else most.get(windows[0].device.type, 16)
    chunks = [windows[start : start + step] for start in range(0, len(windows), step)]
    return torch.cat([encode(torch.stack(chunk)) for chunk in chunks])

"""Edges between segments of clips, all clips of a batch in one disjoint graph (see `models.av_graph`).

Notation: nodes of one kind are numbered clip after clip; `counts` (B) says how many each clip has. Edges are (2, E):
the row of sources, which send, and that of targets, which receive; no edge leads from one clip to another.
"""

import warnings
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 1e-5  # distances that differ by less, as a share of the largest, are ties; the earlier node wins


class Places(NamedTuple):
    """Of each node: its clip and its number within it, (n) each; `first` (B), the first node of each clip."""

    clip: Tensor
    number: Tensor
    first: Tensor


def places(counts: Tensor) -> Places:
    """Where the nodes are."""
    first = counts.cumsum(0) - counts
    clip = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    return Places(clip, torch.arange(len(clip), device=counts.device) - first[clip], first)


def drawn(most: int, like: Tensor, dynamic: bool) -> Tensor:
    """One whole number for each clip of `like` (B): `most`, or if `dynamic` one drawn uniformly from 1 to `most`."""
    if not dynamic:
        return torch.full_like(like, most)
    return _below(torch.full((len(like),), most)).to(like) + 1


def _below(bounds: Tensor) -> Tensor:
    """Whole numbers drawn uniformly from 0 to below `bounds` (B), on the CPU, by torch's generator; of 0 it is 0."""
    bounds = bounds.cpu()
    return (torch.rand(len(bounds), dtype=torch.double) * bounds).long().minimum(bounds - 1).clamp(min=0)


def temporal_edges(counts: Tensor, span: Tensor, dilation: Tensor, self_loops: bool) -> Tensor:
    """Each node hears `span` nodes before and behind it, `dilation` apart.

    At the ends of a clip the window is shifted by whole steps, so that every node hears equally many; where a clip has
    fewer nodes than the window, all that are whole steps away.

    Args:
        counts: nodes of each clip, (B).
        span, dilation: of each clip, (B), at least 1.
        self_loops: each node hears itself, too.
    """
    where = places(counts)
    if not len(where.clip):
        return counts.new_zeros(2, 0)
    step, span = dilation[where.clip], span[where.clip]
    rank, rest = where.number // step, where.number % step  # among the nodes that are whole steps away
    members = (counts[where.clip] - rest + step - 1) // step
    width = 2 * span + 1
    start = torch.minimum((rank - span).clamp(min=0), (members - width).clamp(min=0))
    window = torch.arange(int(width.max()), device=counts.device)
    ranks = start[:, None] + window  # n x widest
    real = (window < width[:, None]) & (ranks < members[:, None])
    if not self_loops:
        real &= ranks != rank[:, None]
    source = (where.first[where.clip] + rest)[:, None] + ranks * step[:, None]
    target = torch.arange(len(rank), device=counts.device)[:, None].expand_as(source)
    return torch.stack([source[real], target[real]])


def static_edges(video: Tensor, audio: Tensor, span: Tensor, shifted: bool) -> Tensor:
    """From each video node to the `span` audio nodes of its time.

    They begin at audio node i * hop + shift for video node i; the last of them end with the audio. Evenly: hop 0, and
    the shift grows in equal parts. `shifted`: hop is drawn from 0 to below audio / video nodes, rounded up, and where
    the shift grows by one more is drawn as well.

    Args:
        video, audio: nodes of each clip, (B).
        span: of each clip, (B).
        shifted: draw, for training.
    """
    parts = (video - 1).clamp(min=1)  # from the first video node to the last
    hop, place = torch.zeros_like(video), torch.zeros_like(video)
    if shifted:
        hop = _below(-(-audio // video.clamp(min=1))).to(video)
        place = _below(parts).to(video)
    left = (audio - span - (video - 1) * hop).clamp(min=0)
    where = places(video)
    hop, place, left, parts, most, span = (each[where.clip] for each in (hop, place, left, parts, audio, span))
    start = where.number * hop + (where.number * left + place) // parts
    start = torch.minimum(start, (most - 1).clamp(min=0))
    window = torch.arange(int(span.max()) if len(span) else 0, device=video.device)
    hears = start[:, None] + window
    real = (window < span[:, None]) & (hears < most[:, None])
    target = places(audio).first[where.clip][:, None] + hears
    source = torch.arange(len(start), device=video.device)[:, None].expand_as(target)
    return torch.stack([source[real], target[real]])


@torch.no_grad()
def nearest_edges(
    video: Tensor, audio: Tensor, video_mask: Tensor, audio_mask: Tensor, neighbours: int, distance: str
) -> Tensor:
    """From each video node to the audio nodes of its clip that are nearest to it.

    Args:
        video, audio: states of nodes, (n, D).
        video_mask, audio_mask: (B, T), padding behind, in which the nodes are what is not padding.
        neighbours: how many; all there are, where a clip has fewer.
        distance: "cosine", one less the cosine, or "euclidean".
    """
    one, other = padded(video.float(), video_mask), padded(audio.float(), audio_mask)  # B x T x D
    if distance == "cosine":
        apart = 1 - F.normalize(one, dim=2) @ F.normalize(other, dim=2).transpose(1, 2)
    else:
        apart = torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
    apart = apart.masked_fill(audio_mask[:, None], 0.0)
    scale = GRID * apart.amax(2, keepdim=True).clamp(min=torch.finfo(apart.dtype).tiny / GRID)
    order = (apart / scale).round().masked_fill(audio_mask[:, None], float("inf"))
    nearest = order.sort(dim=2, stable=True).indices[..., :neighbours]  # B x T x k
    counts = (~audio_mask).sum(1)
    real = (torch.arange(nearest.size(2), device=video.device) < counts[:, None, None]) & ~video_mask[..., None]
    source = torch.zeros_like(video_mask, dtype=torch.long)
    source[~video_mask] = torch.arange(len(video), device=video.device)
    target = (counts.cumsum(0) - counts)[:, None, None] + nearest
    return torch.stack([source[..., None].expand_as(target)[real], target[real]])


def adjacency(edges: Tensor, nodes: int, dtype: torch.dtype) -> Tensor:
    """Edges within one kind as a sparse matrix (nodes, nodes) of ones, a row a target: products with it are quick."""
    target, order = edges[1].sort(stable=True)
    rows = torch.searchsorted(target, torch.arange(nodes + 1, device=edges.device))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that torch calls this layout a beta
        ones = torch.ones(edges.size(1), dtype=dtype, device=edges.device)
        return torch.sparse_csr_tensor(rows, edges[0][order], ones, (nodes, nodes), check_invariants=False)


def padded(x: Tensor, padding_mask: Tensor) -> Tensor:
    """States of nodes (n, D) at their places in a mask (B, T): (B, T, D), zeros where it is padding."""
    if len(x) == padding_mask.numel():
        return x.view(*padding_mask.shape, -1)
    return x.new_zeros(*padding_mask.shape, x.size(1)).masked_scatter(~padding_mask[..., None], x)


def unpadded(x: Tensor, padding_mask: Tensor) -> Tensor:
    """What is not padding of (B, T, C), (n, C)."""
    return x[~padding_mask] if padding_mask.any() else x.flatten(0, 1)


def thinned(edges: Tensor, probability: float) -> Tensor:
    """Edges that are left when each is dropped with a probability."""
    return edges[:, torch.rand(edges.size(1), device=edges.device) >= probability] if probability else edges

"""The graph of `graph` and `hetero` in evaluation, as matrices of each clip: for files that leave this package.

Slower for many nodes, and the same numbers; without a list of edges, whose length depends on values.

Notation: B clips, T nodes of a kind in the longest clip, D width; `counts` (B) says how many nodes each clip has. What
is seen is bool (B, targets, sources).
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .graph import GRID
from .hetero import CROSS, HeteroLayer


def temporal(mask: Tensor, span: int, dilation: int, self_loops: bool) -> Tensor:
    """What `graph.temporal_edges` says of nodes with padding (B, T), spans and dilations being the same for all."""
    counts = (~mask).sum(1)[:, None]
    number = torch.arange(mask.size(1), device=mask.device)
    rank, rest, width = number // dilation, number % dilation, 2 * span + 1
    members = (counts - rest + dilation - 1).div(dilation, rounding_mode="floor")  # B x T
    start = torch.minimum((rank - span).clamp(min=0), (members - width).clamp(min=0))[..., None]
    seen = (rest[:, None] == rest) & (rank >= start) & (rank < start + width)
    seen = seen & ~mask[:, None] & ~mask[..., None]
    return seen if self_loops else seen & (number[:, None] != number)


def static(video_mask: Tensor, audio_mask: Tensor, span: int) -> Tensor:
    """What `graph.static_edges` says in evaluation: audio nodes that hear video nodes."""
    video, audio = ((~mask).sum(1)[:, None] for mask in (video_mask, audio_mask))
    number = torch.arange(video_mask.size(1), device=video_mask.device)
    left = (audio - span).clamp(min=0)
    start = (number * left).div((video - 1).clamp(min=1), rounding_mode="floor")
    start = torch.minimum(start, (audio - 1).clamp(min=0))[:, None]  # B x 1 x video
    place = torch.arange(audio_mask.size(1), device=audio_mask.device)[:, None]
    return (place >= start) & (place < start + span) & ~audio_mask[..., None] & ~video_mask[:, None]


def nearest(
    video: Tensor, audio: Tensor, video_mask: Tensor, audio_mask: Tensor, neighbours: int, distance: str
) -> Tensor:
    """What `graph.nearest_edges` says of states (B, T, D): audio nodes that hear video nodes."""
    one, other = (x.float().masked_fill(m[..., None], 0.0) for x, m in ((video, video_mask), (audio, audio_mask)))
    if distance == "cosine":
        apart = 1 - F.normalize(one, dim=2) @ F.normalize(other, dim=2).transpose(1, 2)
    else:
        apart = (one[:, :, None] - other[:, None]).square().sum(3).sqrt()
    apart = apart.masked_fill(audio_mask[:, None], 0.0)
    scale = GRID * apart.amax(2, keepdim=True).clamp(min=torch.finfo(apart.dtype).tiny / GRID)
    order = (apart / scale).round().masked_fill(audio_mask[:, None], float("inf"))  # B x video x audio
    number = torch.arange(order.size(2), device=order.device)
    mine, theirs = order[..., :, None], order[..., None, :]
    before = (theirs < mine) | ((theirs == mine) & (number < number[:, None]))
    seen = (before.sum(3) < neighbours) & ~audio_mask[:, None] & ~video_mask[..., None]
    return seen.transpose(1, 2)


def run_layer(layer: HeteroLayer, x: Mapping[str, Tensor], seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a layer in evaluation makes of states (B, T, D) by kind; `seen` has that under `CROSS` too, if there is."""
    sages = {kind: layer.shared if layer.cross else layer.within[kind] for kind in x}
    out = {kind: _mean(sages[kind], each, seen[kind]) for kind, each in x.items()}
    if layer.cross:
        source, target = layer.cross
        out[target] = out[target] + _attended(layer.between, x[source], x[target], seen[CROSS])
    new = {}
    for kind, each in out.items():
        each = F.silu(layer.norms[kind](each.flatten(0, 1))).unflatten(0, each.shape[:2])
        new[kind] = each + x[kind] if layer.residual else each
    return new


def _mean(sage: torch.nn.Module, x: Tensor, seen: Tensor) -> Tensor:
    weights = seen.to(x.dtype)
    heard = weights @ x / weights.sum(2, keepdim=True).clamp(min=1)
    return sage.lin_l(heard) + sage.lin_r(x)  # type: ignore[operator]


def _attended(gat: torch.nn.Module, source: Tensor, target: Tensor, seen: Tensor) -> Tensor:
    sent = gat.lin_src(source)  # type: ignore[operator]
    of_source = (sent * gat.att_src.flatten()).sum(2)[:, None]  # type: ignore[operator, union-attr]
    of_target = gat.lin_dst(target) @ gat.att_dst.flatten()  # type: ignore[operator, union-attr]
    scores = F.leaky_relu(of_source + of_target[..., None], gat.negative_slope)  # type: ignore[arg-type]
    nobody = ~seen.any(2, keepdim=True)
    weights = scores.masked_fill(~(seen | nobody), float("-inf")).softmax(2).masked_fill(nobody, 0.0)
    return weights @ sent + gat.bias

"""Parts of a multimodal Perceiver (Jaegle et al. 2021, arXiv 2107.14795), to be used with the weights of any other.

Notation: N queries, H heads, Q width of all heads of the keys, V of the values, C width of a token, of which W numbers
are its own and P = C - W are learned and the same in each token of a modality.
"""

import math
import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .dropout import Dropout

MOST = 2**26  # scores at once: 256 MB


class Tokens(NamedTuple):
    """Tokens of one modality.

    Attributes:
        x: what differs between them, (B, T, W).
        padding: what all of them end with, (P).
        mask: True = pad, (B, T), in any order.
    """

    x: Tensor
    padding: Tensor
    mask: Tensor

    def whole(self) -> Tensor:
        """(B, T, C)."""
        return torch.cat([self.x, self.padding.expand(*self.x.shape[:2], -1)], dim=-1)


def grid(sizes: Sequence[int]) -> Tensor:
    """Positions of the points of a grid, each axis from -1 to 1: (product of sizes, axes)."""
    axes = [torch.linspace(-1.0, 1.0, size) for size in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)


def fourier(positions: Tensor, bands: int, resolutions: Sequence[int]) -> Tensor:
    """Positions as Fourier features (the paper, section 3.2 and appendix D).

    Args:
        positions: (T, axes), each from -1 to 1.
        bands: frequencies an axis, linearly spaced from 1 to half of its resolution.
        resolutions: of the axes.

    Returns:
        (T, axes * (2 * bands + 1)): positions, sines and cosines, axis after axis each.
    """
    device = positions.device
    frequencies = torch.stack([torch.linspace(1.0, size / 2, bands, device=device) for size in resolutions])
    angles = math.pi * (positions[..., None] * frequencies).flatten(1)
    return torch.cat([positions, angles.sin(), angles.cos()], dim=-1)


def space_to_depth(frames: Tensor, block: int) -> Tensor:
    """Pictures (B, T, 3, H, W) to patches (B, T * H / block * W / block, block * block * 3), colours innermost."""
    parts = frames.unflatten(4, (-1, block)).unflatten(3, (-1, block))  # B x T x 3 x h x block x w x block
    return parts.permute(0, 1, 3, 5, 4, 6, 2).flatten(4).flatten(1, 3)


def folding_pays(queries: int, heads: int, own: int, width: int, projected: int) -> bool:
    """Whether `folded_attention` needs fewer products than to project every token.

    Args:
        queries: N.
        heads: H.
        own: W of the modality with the most tokens.
        width: C.
        projected: Q + V.
    """
    return 2 * heads * queries * own < (width + queries) * projected


def folded_attention(
    queries: Tensor,
    tokens: Sequence[Tokens],
    norm: nn.LayerNorm,
    key: nn.Linear,
    value: nn.Linear,
    heads: int,
    dropout: float = 0.0,
    recompute: bool = False,
) -> Tensor:
    """Attention to normalised tokens, of which none is projected, normalised or even put together.

    With x' = (x - mean) / deviation what the norm does before its gain g and bias b, a score is
    `q . (W_k (g x' + b) + b_k) = (g W_k' q) . x'` and a number that is the same for each token, which softmax does not
    see; the mean of the values is W_v of the mean of the tokens. Subtracting its mean from `g W_k' q` does what
    subtracting the mean from x does, and that of a mean of tokens likewise. The learned P numbers are the same in all
    tokens: they cost one product a query. Only the W others meet the queries, divided by the deviation.

    Args:
        queries: projected, (N, Q), the same for each row.
        tokens: of each modality; a row must have one that is not padding.
        norm: over C.
        key: C to Q; its bias takes no part.
        value: C to V.
        heads: H, which divides Q and V.
        dropout: of the weights; 0 in evaluation.
        recompute: keep no weights for the backward pass but compute them again.

    Returns:
        (B, N, V), before any output projection.
    """
    count, dim, width = queries.size(0), queries.size(1) // heads, key.in_features
    per_head = queries.unflatten(1, (heads, dim)).transpose(0, 1)  # H x N x Q / H
    folded = (per_head @ key.weight.unflatten(0, (heads, dim))) * (norm.weight * dim**-0.5)
    folded = (folded - folded.mean(-1, keepdim=True)).flatten(0, 1)  # H N x C
    at_once = max(1, MOST // (folded.size(0) * sum(each.x.size(1) for each in tokens)))
    batch, found = tokens[0].x.size(0), []
    if torch.compiler.is_exporting():  # how many rows there are is not known yet: all at once
        batch, at_once = 1, sys.maxsize
    for start in range(0, batch, at_once):
        part = [Tokens(x[start : start + at_once], pad, mask[start : start + at_once]) for x, pad, mask in tokens]
        if recompute and torch.is_grad_enabled():
            found.append(checkpoint(_means, folded, part, norm.eps, dropout, use_reentrant=False))
        else:
            found.append(_means(folded, part, norm.eps, dropout))
    means = torch.cat(found)  # B x H N x (C + 1)
    total = means[..., width:]
    centred = means[..., :width] - means[..., :width].mean(-1, keepdim=True)
    inner = centred * norm.weight + total * norm.bias
    parts = zip(inner.split(count, 1), total.split(count, 1), *(w.chunk(heads) for w in (value.weight, value.bias)))
    return torch.cat([F.linear(x, weight) + share * bias for x, share, weight, bias in parts], dim=-1)


@torch.no_grad()
def token_weights(
    queries: Tensor, tokens: Sequence[Tokens], norm: nn.LayerNorm, key: nn.Linear, heads: int
) -> list[Tensor]:
    """Weights of `folded_attention` and `projected_attention`, by projecting every token, mean over queries and heads.

    Args:
        as there.

    Returns:
        (B, T) of each modality, all of which together give 1 in a row; zeros in the padding.
    """
    sizes = [each.x.size(1) for each in tokens]
    per_head = queries.unflatten(1, (heads, -1)).transpose(0, 1) * (queries.size(1) // heads) ** -0.5  # H x N x d
    found = []
    for row in range(tokens[0].x.size(0)):  # one by one, and some queries at a time: all weights are too many
        part = [Tokens(x[row : row + 1], pad, mask[row : row + 1]) for x, pad, mask in tokens]
        keys = key(norm(torch.cat([each.whole() for each in part], dim=1)))[0].unflatten(1, (heads, -1))
        mask = torch.cat([each.mask for each in part], dim=1)
        pieces = per_head.split(max(1, MOST // (heads * sum(sizes))), dim=1)
        weights = [
            (piece @ keys.permute(1, 2, 0)).masked_fill(mask, float("-inf")).softmax(-1).sum((0, 1)) for piece in pieces
        ]
        found.append(torch.stack(weights).sum(0) / (heads * queries.size(0)))
    return list(torch.stack(found).split(sizes, dim=1))


def _means(folded: Tensor, tokens: Sequence[Tokens], eps: float, dropout: float) -> Tensor:
    """Means of tokens divided by their deviation, by the weights of each query, and the sum of the weights."""
    scaled, scores = [], []
    for x, padding, mask in tokens:
        own = x.size(-1)
        share = _inverse_deviation(x, padding, eps)[..., None]
        keys = torch.cat([x, x.new_ones(()).expand(*x.shape[:2], 1)], dim=-1) * share  # B x T x (W + 1)
        query = torch.cat([folded[:, :own], folded[:, own:] @ padding[:, None]], dim=-1)
        score = query @ keys.transpose(1, 2)  # B x H N x T
        padded = torch.compiler.is_exporting() or mask.any()
        scores.append(score.masked_fill(mask[:, None], float("-inf")) if padded else score)
        scaled.append(keys)
    weights = torch.cat(scores, dim=-1).softmax(-1)
    weights = Dropout(dropout)(weights) if dropout else weights
    total = weights.sum(-1, keepdim=True)
    out: Tensor | float = 0.0
    sizes = [each.size(1) for each in scaled]
    for keys, part, (_, padding, _) in zip(scaled, weights.split(sizes, dim=-1), tokens, strict=True):
        mean = part @ keys
        own = keys.size(-1) - 1
        out = out + torch.cat([mean[..., :own], mean[..., own:] * padding], dim=-1)
    return torch.cat([out, total], dim=-1)  # type: ignore[list-item]


def _inverse_deviation(x: Tensor, padding: Tensor, eps: float) -> Tensor:
    """1 / sqrt(variance + eps) over the C numbers of each token, (B, T)."""
    dtype, x, padding = x.dtype, x.float(), padding.float()
    width = x.size(-1) + padding.size(0)
    mean = (x.sum(-1) + padding.sum()) / width
    square = (torch.linalg.vector_norm(x, dim=-1).square() + padding.square().sum()) / width
    return ((square - mean.square()).clamp(min=0) + eps).rsqrt().to(dtype)


def projected_attention(
    queries: Tensor,
    tokens: Sequence[Tokens],
    norm: nn.LayerNorm,
    key: nn.Linear,
    value: nn.Linear,
    heads: int,
    dropout: float = 0.0,
) -> Tensor:
    """The same as `folded_attention`, by projecting every token: for many heads."""
    x = norm(torch.cat([each.whole() for each in tokens], dim=1))
    mask = torch.cat([each.mask for each in tokens], dim=1)
    q, k, v = (
        each.unflatten(-1, (heads, -1)).transpose(1, 2)
        for each in (queries.expand(x.size(0), -1, -1), key(x), value(x))
    )
    out = F.scaled_dot_product_attention(q, k, v, ~mask[:, None, None], dropout)
    return out.transpose(1, 2).flatten(2)

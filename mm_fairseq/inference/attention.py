"""What a model attended to, as weights over the time of each modality.

T frames of a modality, or tokens of a text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..modules.recording import Recorded

Span = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One attention over the time of a modality.

    Attributes:
        modality: over whose time.
        asks: modality that attends to it, itself included; "" where it is none.
        kind: cross, between modalities; self, within one; pooling, frames to one vector; latents, of all modalities at
            once.
        layer: counted from 0 among those of the same two modalities and kind.
        path: of the module.
        frames: T spans, in the unit of the explanation.
        weights: T numbers, of sum 1: mean over heads and over the queries that are read.
        share: how much of all weight lay on these frames; the rest on symbols without a time, as <s>, or, of latents,
            on other modalities.
    """

    modality: str
    asks: str
    kind: str
    layer: int
    path: str
    frames: tuple[Span, ...]
    weights: tuple[float, ...]
    share: float


@dataclass(frozen=True)
class Shown:
    """The weights of a modality that a picture shows: the mean of the last layers of one kind."""

    kind: str
    asks: tuple[str, ...]
    paths: tuple[str, ...]
    frames: tuple[Span, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Axis:
    """The time of a modality.

    Args:
        positions: of what the fusion attends to, each a span or, without a time, None.
        length: of the modality in seconds.
    """

    positions: Sequence[Span | None]
    length: float

    def spans(self, count: int, rate: float) -> list[Span | None]:
        """Of `count` keys, at `rate` a second where they are not the positions; None behind the end."""
        if not rate:
            return [*self.positions[:count], *[None] * (count - len(self.positions))]
        bounds = [(number / rate, min(self.length, (number + 1) / rate)) for number in range(count)]
        return [(start, end) if start < end else None for start, end in bounds]


def curves(found: Sequence[Recorded], attends: Sequence[tuple], axes: Mapping[str, Axis]) -> list[tuple[int, Curve]]:
    """What was recorded of one clip, each with the number of its entry in `attends`.

    What a modality that is missing would ask, and what would be asked of one, is left out.

    Args:
        found: of one clip, by `modules.recording`.
        attends: of the architecture, see `models._base.Attends`.
        axes: of the modalities that are there.
    """
    placed = []
    for each in found:
        for number, (path, query, key, first) in enumerate(attends):
            if match := re.fullmatch(path, each.path):
                asks, modality = match.expand(query), match.expand(key) or each.modality
                kind = (
                    "latents" if each.modality else "pooling" if not asks else "self" if asks == modality else "cross"
                )
                if modality in axes and (not asks or asks in axes):
                    placed.append((number, asks, modality, kind, first, each))
                break
    groups = [entry[:4] for entry in placed]
    out = []
    for place, (number, asks, modality, kind, first, each) in enumerate(placed):
        last = groups[place] not in groups[place + 1 :]
        curve = _curve(each, axes[modality], modality, asks, kind, groups[:place].count(groups[place]), first and last)
        if curve:
            out.append((number, curve))
    return out


def _curve(each: Recorded, axis: Axis, modality: str, asks: str, kind: str, layer: int, first: bool) -> Curve | None:
    weights = each.weights[0].double()
    real = weights[~each.query_mask[0]]
    mean = real[0] if first else real.mean(0)
    spans = axis.spans(len(mean), each.rate)
    kept = [number for number, span in enumerate(spans) if span is not None]
    share = float(mean[kept].sum())
    if not share > 0:
        return None
    on_time = tuple(_rounded(mean[kept] / share))
    whole = float(mean.sum())  # below 1 where latents see other modalities, and where nodes hear nothing
    share = share if kind == "latents" else share / whole
    frames = tuple(span for span in spans if span is not None)
    return Curve(modality, asks, kind, layer, each.path, frames, on_time, round(share, 6))


def shown(found: Sequence[tuple[int, Curve]], modality: str) -> Shown | None:
    """The weights to show of a modality: the mean over the last layers of the first entry that has any."""
    own = [(number, curve) for number, curve in found if curve.modality == modality]
    if not own:
        return None
    first = min(number for number, _ in own)
    last = {curve.asks: curve for number, curve in own if number == first}
    chosen = list(last.values())
    weights = torch.tensor([curve.weights for curve in chosen], dtype=torch.double).mean(0)
    return Shown(
        chosen[0].kind,
        tuple(asks for asks in last if asks),
        tuple(curve.path for curve in chosen),
        chosen[0].frames,
        tuple(_rounded(weights)),
    )


def _rounded(weights: Tensor) -> list[float]:
    """Six digits: plenty for a weight, and half the size in a file."""
    return [float(f"{weight:.6g}") for weight in weights.tolist()]

"""What of a model is exported, each part with the tensors that go into it and come out of it.

B batch, T samples, tokens or frames, D width of features. Every input has a padding mask, bool (B, T), True = pad,
padding behind; a modality that is missing is a row that is all padding.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...backbones.backbone_set import Omitted
from ...datasets import EMPTY, Limits
from ...errors import MMFairseqError
from ...models._base import FusionModel
from .refusals import refusal

PARTS = ("model", "fusion", "backbones")
Tensors = dict[str, Tensor]
_DTYPES = {"audio": torch.float, "text": torch.long, "video": torch.uint8}
_UNITS = {"audio": "samples", "text": "tokens", "video": "frames"}


class Port(NamedTuple):
    """One input.

    Attributes:
        name: the modality.
        unit: of T: samples, tokens, frames, or features.
        dtype: of its tensor.
        trailing: sizes behind (B, T): none for audio and text, (3, H, W) for video, (D) for features.
        shortest: T of a batch at least; a shorter one is padded.
        longest: T at most.
    """

    name: str
    unit: str
    dtype: torch.dtype
    trailing: tuple[int, ...]
    shortest: int
    longest: int

    @property
    def mask(self) -> str:
        """The name of its padding mask."""
        return f"{self.name}_mask"


def length_of(port: Port) -> str:
    """What T of an input is called."""
    return f"{port.name}_length"


class Part(NamedTuple):
    """What becomes one file.

    Attributes:
        name: model, fusion, or the modality of a backbone.
        module: `forward(inputs, padding_masks)`, two dictionaries by modality, gives a dictionary of tensors.
        ports: what goes in, by name.
        outputs: names of what comes out, in order.
    """

    name: str
    module: nn.Module
    ports: tuple[Port, ...]
    outputs: tuple[str, ...]


def output_of(target: str) -> str:
    """The name of the output that has a target's logits; apart from those of inputs."""
    return f"logits_{target}"


class _Logits(nn.Module):
    """All of a model, or with features as input its fusion; gives the logits of each target, (B, outputs)."""

    def __init__(self, model: FusionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensors, padding_masks: Tensors) -> Tensors:
        logits = self.model(inputs, padding_masks)["logits"]
        return {output_of(target): x for target, x in logits.items()}


class _Features(nn.Module):
    """One backbone; gives `features` (B, T', D) as the fusion takes them, and their `padding_mask`."""

    def __init__(self, model: FusionModel, name: str) -> None:
        super().__init__()
        self.backbones, self.name = model.backbones, name

    def forward(self, inputs: Tensors, padding_masks: Tensors) -> Tensors:
        x, mask = self.backbones.encode_one(self.name, inputs[self.name], padding_masks[self.name])
        return {"features": x.float(), "padding_mask": mask}


def parts_of(
    model: FusionModel,
    targets: Iterable[str],
    limits: Mapping[str, Limits],
    dims: Mapping[str, int],
    side: int,
    part: str,
) -> list[Part]:
    """The files that a part makes.

    Args:
        model: the network, on the CPU.
        targets: what it predicts, in the order of its heads.
        limits: shortest and longest input of each modality.
        dims: D of modalities of which the corpus brings features.
        side: height and width of pictures.
        part: one of PARTS.

    Raises:
        MMFairseqError: it cannot be exported; says why.
    """
    if part not in PARTS:
        raise MMFairseqError(f"--part {part!r}; allowed: {', '.join(PARTS)}")
    names, encoders = model.backbones.names, model.backbones.encoders
    raw = {name: _raw(name, limits[name], dims.get(name, 0), side) for name in names}
    logits = tuple(output_of(target) for target in targets)
    if part == "fusion":
        ports = tuple(_features(model, name) for name in names)
        return [Part(part, _Logits(model), ports, logits)]
    for name, encoder in encoders.items():
        if isinstance(encoder, Omitted):
            raise MMFairseqError(
                f"trained with --omit-frozen-backbones: the checkpoint lacks the {name} backbone; "
                "--part fusion exports what it has"
            )
        if reason := refusal(encoder):
            raise MMFairseqError(f"the {name} backbone cannot be exported: {reason}; --part fusion exports the rest")
    if part == "backbones":
        return [Part(name, _Features(model, name), (raw[name],), ("features", "padding_mask")) for name in names]
    return [Part(part, _Logits(model), tuple(raw[name] for name in names), logits)]


def _raw(name: str, limits: Limits, dim: int, side: int) -> Port:
    longest = limits.longest or 2**31 - 1
    if dim:
        return Port(name, "features", torch.float, (dim,), limits.shortest, longest)
    trailing = (3, side, side) if EMPTY[name].ndim > 1 else ()
    return Port(name, _UNITS[name], _DTYPES[name], trailing, limits.shortest, longest)


def _features(model: FusionModel, name: str) -> Port:
    encoder = model.backbones.encoders[name]
    return Port(name, "features", torch.float, (encoder.dim * encoder.states,), 1, model.frames[name])  # type: ignore[operator]

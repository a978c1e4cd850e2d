"""The contract of a backbone, its specification on the command line, and a set of backbones that encodes a batch.

B batch, T frames, C channels. `padding_mask` is bool, True = pad, and padding stands behind the real frames.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..registry import Registry

SAMPLE_RATE = 16000  # Hz, of all audio in a data-bin

BACKBONES: Registry[type["Backbone"]] = Registry("backbone")


class FeatureSeq(NamedTuple):
    """Features `x` (B, T, C) and their `padding_mask` (B, T)."""

    x: Tensor
    padding_mask: Tensor


class Backbone(nn.Module):
    """An encoder of one modality, built from plain arguments alone.

    A subclass sets `modality`, `dim` (C), `rate_hz` (frames a second; 0 where time has no unit) and `receptive_field`
    (the shortest input, in samples, tokens or frames, that yields one output frame), perhaps `max_input` (the longest
    it takes) and `summarises` (its position 0 stands for the whole sequence), and defines `forward`. One that has
    public checkpoints defines `read` as well.

    Input by modality: audio (B, T) float in [-1, 1] at 16 kHz; text (B, T) token ids; video (B, T, 3, H, W) uint8. No
    row is all padding: `BackboneSet` sees to that.
    """

    modality: ClassVar[str]
    dim: int
    rate_hz: float
    receptive_field: int = 1
    max_input: int | None = None
    summarises: ClassVar[bool] = False

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """Encode a batch."""
        raise AssertionError("a backbone defines forward")

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Arguments for the constructor and weights for `load_state_dict(strict=True)` out of a pretrained file.

        Raises:
            MMFairseqError: the file is not such a checkpoint; names what is missing.
        """
        raise MMFairseqError(f"this backbone has no pretrained files, {path} was given")


class Spec(NamedTuple):
    """`NAME`, `NAME:FILE` or `NAME:key=value,...`."""

    name: str
    path: str
    options: dict[str, Any]

    @classmethod
    def parse(cls, modality: str, text: str) -> "Spec":
        """Split a specification and check its name and modality."""
        name, _, rest = text.partition(":")
        backbone = BACKBONES.get(name)
        if backbone.modality != modality:
            fitting = [other for other in BACKBONES.names() if BACKBONES.get(other).modality == modality]
            raise MMFairseqError(
                f"backbone {name!r} reads {backbone.modality}, not {modality}; for {modality}: {fitting}"
            )
        parts = [part.partition("=") for part in rest.split(",")]
        if rest and all(equals and key.isidentifier() for key, equals, _ in parts) and not os.path.exists(rest):
            return cls(name, "", {key: _number(value, text) for key, _, value in parts})
        return cls(name, rest, {})


def _number(value: str, where: str) -> int | float:
    try:
        return int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError:
        raise MMFairseqError(f"backbone option {value!r} in {where!r} is not a number") from None


def resolve(specs: Mapping[str, str], finetune: set[str], defaults: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Turn specifications into what a model is built from: `{modality: {name, args, frozen}}` in plain types.

    Args:
        specs: modality to specification.
        finetune: modalities whose pretrained backbone is trained; one without a file always is.
        defaults: modality to arguments known from the data (a vocabulary's size), used where there is no file.
    """
    out: dict[str, Any] = {}
    for modality, text in sorted(specs.items()):
        spec = Spec.parse(modality, text)
        backbone = BACKBONES.get(spec.name)
        if spec.path:
            args = backbone.read(Path(spec.path))[0]
        else:
            args = {**defaults.get(modality, {}), **spec.options}
        out[modality] = {"name": spec.name, "args": args, "frozen": bool(spec.path) and modality not in finetune}
    return out


def build(entry: Mapping[str, Any]) -> Backbone:
    """Build one backbone from an entry of `resolve`.

    Raises:
        MMFairseqError: the arguments do not fit.
    """
    try:
        return BACKBONES.get(entry["name"])(**entry["args"])
    except (TypeError, ValueError, RuntimeError, ArithmeticError, AssertionError) as error:
        raise MMFairseqError(f"backbone {entry['name']!r} does not take {dict(entry['args'])}: {error}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a `torch.save`d file of others with plain types only.

    Raises:
        MMFairseqError: no such file, truncated, or it holds types that are not on the list of safe ones.
    """
    if not path.is_file():
        raise MMFairseqError(f"{path}: no such checkpoint file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for broken and for refused files
        raise MMFairseqError(
            f"{path}: not a readable checkpoint: {(str(error) or repr(error)).splitlines()[0]}"
        ) from error
    if not isinstance(state, dict):
        raise MMFairseqError(f"{path}: expected a dictionary, found {type(state).__name__}")
    return state


def model_args(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """The model's options of a fairseq checkpoint, from either form: `args` (a Namespace) or `cfg` (nested)."""
    if state.get("args") is not None:
        return dict(vars(state["args"]))
    model = (state.get("cfg") or {}).get("model")
    if model is None:
        raise MMFairseqError(f"{path}: neither `args` nor `cfg.model` in the file; its keys are {sorted(state)[:8]}")
    return dict(vars(model)) if hasattr(model, "__dict__") and not isinstance(model, dict) else dict(model)


def pick(weights: Mapping[str, Any], prefixes: tuple[str, ...], path: Path) -> dict[str, Tensor]:
    """The entries of a state dict that begin with one of `prefixes`; `module.` in front is taken off.

    Raises:
        MMFairseqError: a prefix has no entry.
    """
    plain = {key.removeprefix("module."): value for key, value in weights.items()}
    for prefix in prefixes:
        if not any(key.startswith(prefix) for key in plain):
            raise MMFairseqError(f"{path}: no weights named {prefix}*; the file has {sorted(plain)[:4]} ...")
    return {key: value for key, value in plain.items() if key.startswith(prefixes)}


class BackboneSet(nn.Module):
    """The backbones of a model.

    Frozen ones stay in eval mode and run without gradient. A row whose modality is missing never reaches a backbone:
    its features are zeros, all of them padding.

    Args:
        entries: as `resolve` returns them.
    """

    def __init__(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__()
        self.names = sorted(entries)
        self.encoders = nn.ModuleDict({name: build(entries[name]) for name in self.names})
        self.frozen = {name for name in self.names if entries[name]["frozen"]}
        for name in self.frozen:
            self.encoders[name].requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "BackboneSet":
        super().train(mode)
        for name in self.frozen:
            self.encoders[name].eval()
        return self

    @property
    def dims(self) -> dict[str, int]:
        return {name: self.encoders[name].dim for name in self.names}  # type: ignore[misc]

    def input_limits(self, name: str, frames: int) -> tuple[int, int]:
        """Shortest and longest input, in samples, tokens or frames, that gives 1 and at most `frames` frames."""
        encoder: Backbone = self.encoders[name]  # type: ignore[assignment]
        step = round(SAMPLE_RATE / encoder.rate_hz) if name == "audio" else 1
        longest = encoder.receptive_field + (frames - 1) * step
        return encoder.receptive_field, min(longest, encoder.max_input or longest)

    def load_pretrained(self, specs: Mapping[str, str]) -> None:
        """Load the weights of every specification that names a file, strictly."""
        for name in self.names:
            spec = Spec.parse(name, specs[name])
            if spec.path:
                weights = BACKBONES.get(spec.name).read(Path(spec.path))[1]
                try:
                    self.encoders[name].load_state_dict(weights, strict=True)
                except RuntimeError as error:
                    raise MMFairseqError(f"{spec.path}: weights do not fit backbone {spec.name!r}: {error}") from error

    def forward(self, inputs: Mapping[str, Tensor], padding_masks: Mapping[str, Tensor]) -> dict[str, FeatureSeq]:
        """Encode what is there of each modality; returns `{modality: FeatureSeq}` for all of them."""
        return {name: self._encode(name, inputs[name], padding_masks[name]) for name in self.names}

    def _encode(self, name: str, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        encoder = self.encoders[name]
        present = ~padding_mask.all(dim=1)
        if not present.any():
            empty = torch.zeros(x.size(0), 1, encoder.dim, device=x.device)  # type: ignore[call-overload]
            # DistributedDataParallel stops when a trained parameter takes no part in a batch.
            empty = empty + 0 * sum(weight.sum() for weight in encoder.parameters() if weight.requires_grad)
            return FeatureSeq(empty, torch.ones_like(empty[..., 0], dtype=torch.bool))
        with torch.set_grad_enabled(torch.is_grad_enabled() and name not in self.frozen):
            out = encoder(x[present], padding_mask[present])
        if present.all():
            return out
        features = out.x.new_zeros(x.size(0), *out.x.shape[1:])
        features[present] = out.x
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=x.device)
        mask[present] = out.padding_mask
        return FeatureSeq(features, mask)

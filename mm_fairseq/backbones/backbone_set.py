"""The backbones of a model: which of them learn, from when on, and what is done with what they give."""

import functools
import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import MMFairseqError
from ..fairseq_compat.safety import is_bounded
from ..modules.layer_sum import LayerSum
from .base import Backbone, FeatureSeq
from .spec import Resolved, build

logger = logging.getLogger(__name__)


class Omitted(Backbone):
    """Stands for a frozen backbone whose features are cached: knows what that one is like, and has no weights.

    Args:
        entry: of `resolve`.
    """

    def __init__(self, entry: Mapping[str, Any]) -> None:
        super().__init__()
        # In training its weights are drawn and go at once: what is drawn after them is as if they had stayed.
        like = _shapes(entry) if is_bounded() else build(entry).to("meta")
        self.name, self.modality, self.summarises = entry["name"], like.modality, like.summarises  # type: ignore[misc]
        self.dim, self.states, self.stride = like.dim, like.states, like.stride
        self.receptive_field, self.max_input = like.receptive_field, like.max_input
        self.longest_input, self.spans = like.longest_input, like.spans  # type: ignore[method-assign]

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        raise MMFairseqError(
            f"this checkpoint was trained with --omit-frozen-backbones and lacks the weights of {self.name!r}: "
            f"it reads cached features of {self.modality}; run `mm-fairseq extract` on the data-bin with the same file"
        )


def _shapes(entry: Mapping[str, Any]) -> Backbone:
    """A backbone that takes no memory for weights, unless its class looks at their values."""
    try:
        with torch.device("meta"):
            return build(entry)
    except MMFairseqError:
        return build(entry).to("meta")


class BackboneSet(nn.Module):
    """The backbones of a model.

    Frozen ones stay in eval mode and run in inference mode. Features that were cached, a floating-point (B, T, C), are
    taken as they are. A row whose modality is missing never reaches a backbone: its features are zeros, all of them
    padding.

    Args:
        entries: as `resolve` returns them; one with `"omitted": True` has cached features only.
        top_layers: of pretrained ones that learn, only so many layers, those next to the output; 0 for all of it.
        frozen_updates: pretrained ones that learn are frozen for so many updates at first.
        recompute: of those that learn, keep only what goes into each layer (gradient checkpointing).

    Raises:
        MMFairseqError: the arguments do not fit.
    """

    def __init__(
        self,
        entries: Mapping[str, Mapping[str, Any]],
        top_layers: int = 0,
        frozen_updates: int = 0,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        for option, value in (("--finetune-top-layers", top_layers), ("--freeze-finetune-updates", frozen_updates)):
            if value < 0:
                raise MMFairseqError(f"{option} {value}: must not be negative")
        self.names = sorted(entries)
        self.encoders = nn.ModuleDict(
            {
                name: Omitted(entries[name]) if entries[name].get("omitted") else build(entries[name])
                for name in self.names
            }
        )
        self.mixers = nn.ModuleDict(
            {name: LayerSum(encoder.states) for name, encoder in self._items() if encoder.states > 1}
        )
        self.frozen = {name for name in self.names if entries[name]["frozen"]}
        self.tuned = {name for name in self.names if entries[name].get("sha256")} - self.frozen
        self.frozen_updates, self.waiting = frozen_updates, frozen_updates > 0
        self.trained: dict[str, list[nn.Module]] = {}  # layers, where only some learn
        for name, encoder in self._items():
            if name in self.frozen:
                encoder.requires_grad_(False)
            else:
                if name in self.tuned and top_layers:
                    self._choose_trained(name, encoder, top_layers)
                if recompute:
                    for layer in encoder.layers():
                        # in place, so that the names of the weights stay
                        layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)  # type: ignore
        self.train(self.training)

    def _items(self) -> list[tuple[str, Backbone]]:
        return [(name, self.encoders[name]) for name in self.names]  # type: ignore[misc]

    def _choose_trained(self, name: str, encoder: Backbone, top_layers: int) -> None:
        layers = encoder.layers()
        if not layers:
            logger.warning("--finetune-top-layers: the %s backbone has no layers and is trained as a whole", name)
            return
        if top_layers > len(layers):
            raise MMFairseqError(f"--finetune-top-layers {top_layers}: the {name} backbone has {len(layers)} layers")
        encoder.requires_grad_(False)
        self.trained[name] = layers[-top_layers:]
        for layer in self.trained[name]:
            layer.requires_grad_(True)

    def train(self, mode: bool = True) -> "BackboneSet":
        super().train(mode)
        for name, encoder in self._items():
            waits = self.waiting and name in self.tuned
            if name in self.frozen or waits or name in self.trained:
                encoder.eval()
            if not waits:
                for layer in self.trained.get(name, ()):
                    layer.train(mode)
        return self

    def set_num_updates(self, updates: int) -> None:
        """Called by fairseq before each update: the first `frozen_updates` leave pretrained backbones alone."""
        waiting = updates < self.frozen_updates
        if waiting != self.waiting:
            self.waiting = waiting
            self.train(self.training)

    @property
    def dims(self) -> dict[str, int]:
        return {name: encoder.dim for name, encoder in self._items()}

    def input_limits(self, name: str, frames: int) -> tuple[int, int]:
        """Shortest and longest input, in samples, tokens or frames, that gives 1 and at most `frames` frames."""
        encoder: Backbone = self.encoders[name]  # type: ignore[assignment]
        return encoder.receptive_field, encoder.longest_input(frames)

    def load_pretrained(self, found: Resolved) -> None:
        """Load the weights that `resolve` found, strictly.

        Raises:
            MMFairseqError: a weight is missing, unknown or of another shape.
        """
        for name, state in found.weights.items():
            encoder = self.encoders[name]
            if isinstance(encoder, Omitted):
                continue
            try:
                encoder.load_state_dict(state, strict=True)
            except RuntimeError as error:
                told = f"weights do not fit backbone {found.entries[name]['name']!r}: {error}"
                raise MMFairseqError(f"{found.files[name]}: {told}") from error

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        padding_masks: Mapping[str, Tensor],
        erase: Mapping[str, Tensor] | None = None,
    ) -> dict[str, FeatureSeq]:
        """Encode what is there of each modality; returns `{modality: FeatureSeq}` for all of them.

        Args:
            inputs: modality to raw input or cached features.
            padding_masks: (B, T) each.
            erase: modality to rectangles (B, K, 4) of its features that are set to zero, see `erased`.
        """
        out = {}
        for name, (x, mask) in self.encode(inputs, padding_masks).items():
            x = self.mixers[name](x) if name in self.mixers else x
            out[name] = FeatureSeq(erased(x, mask, erase[name]) if erase and name in erase else x, mask)
        return out

    def encode(self, inputs: Mapping[str, Tensor], padding_masks: Mapping[str, Tensor]) -> dict[str, FeatureSeq]:
        """What each backbone gives, hidden states side by side: what `forward` takes in the place of raw input."""
        return {name: self.encode_one(name, inputs[name], padding_masks[name]) for name in self.names}

    def encode_one(self, name: str, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        """The same of one modality."""
        encoder: Backbone = self.encoders[name]  # type: ignore[assignment]
        width, present = encoder.dim * encoder.states, ~padding_mask.all(dim=1)
        raw = x.dim() < 3 or not x.is_floating_point()
        if raw and torch.compiler.is_exporting():  # which rows are there is not known yet
            out = encoder(x, padding_mask)
            mask = out.padding_mask | ~present[:, None]
            return FeatureSeq(out.x.masked_fill(mask[..., None], 0.0), mask)
        if not (torch.compiler.is_exporting() or present.any()):
            empty = torch.zeros(x.size(0), 1, width, device=x.device)
            empty = empty + _nothing_of(encoder)
            return FeatureSeq(empty, torch.ones_like(empty[..., 0], dtype=torch.bool))
        if not raw:
            if x.size(2) != width:
                raise MMFairseqError(f"cached features of {name} are {x.size(2)} wide, the model expects {width}")
            return FeatureSeq(x.masked_fill(padding_mask[..., None], 0.0), padding_mask)
        if present.all():
            return self._run(name, encoder, x, padding_mask)
        out = self._run(name, encoder, x[present], padding_mask[present])
        features = out.x.new_zeros(x.size(0), *out.x.shape[1:])
        features[present] = out.x
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=x.device)
        mask[present] = out.padding_mask
        return FeatureSeq(features, mask)

    def _run(self, name: str, encoder: Backbone, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        waits = self.waiting and name in self.tuned
        if name not in self.frozen and not waits:
            return encoder(x, padding_mask)
        with torch.inference_mode():
            out = encoder(x, padding_mask)
        # Tensors of the inference mode cannot be kept for a backward pass; copies can.
        out = FeatureSeq(out.x.clone(), out.padding_mask.clone())
        if waits and torch.is_grad_enabled():
            out = FeatureSeq(out.x + _nothing_of(encoder), out.padding_mask)
        return out

    def tuned_parameters(self) -> list[nn.Parameter]:
        """What learns of pretrained backbones."""
        encoders = (self.encoders[name] for name in sorted(self.tuned))
        return [weight for encoder in encoders for weight in encoder.parameters() if weight.requires_grad]

    def idle(self) -> list[nn.Parameter]:
        """Of these, what this update must leave alone."""
        return self.tuned_parameters() if self.waiting else []


def _nothing_of(encoder: nn.Module) -> Tensor | int:
    """Zero, with a gradient to all that learns: DistributedDataParallel stops when a parameter takes no part."""
    return sum(0 * weight[(0,) * weight.dim()].float() for weight in encoder.parameters() if weight.requires_grad)


def erased(x: Tensor, padding_mask: Tensor, rectangles: Tensor) -> Tensor:
    """Set parts of features to zero, the mean of standardised ones (SpecAugment, Park et al. 2019, arXiv 1904.08779).

    Args:
        x: (B, T, C).
        padding_mask: (B, T), padding behind.
        rectangles: (B, K, 4); each is first frame, end frame, first channel, end channel, as shares of the row's real
            frames and of C; ends are not part of it.

    Returns:
        (B, T, C).
    """
    frames = (~padding_mask).sum(1)[:, None, None]
    bounds = rectangles[:, :, None, :].to(x.device)  # B x K x 1 x 4
    times = torch.arange(x.size(1), device=x.device)
    channels = torch.arange(x.size(2), device=x.device)
    in_time = (times >= (bounds[..., 0] * frames).round()) & (times < (bounds[..., 1] * frames).round())
    in_band = (channels >= (bounds[..., 2] * x.size(2)).round()) & (channels < (bounds[..., 3] * x.size(2)).round())
    return x.masked_fill((in_time[..., None] & in_band[:, :, None]).any(1), 0.0)

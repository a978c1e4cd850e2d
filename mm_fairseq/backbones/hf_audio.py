"""wav2vec 2.0, HuBERT, WavLM (Chen et al. 2022, arXiv 2110.13900) and their kin, from a folder of Hugging Face.

Deviations from upstream: normalisation and convolutions over time see real frames only, so that the features of an
utterance are those it has alone, with `feat_extract_norm` "group" too; no SpecAugment, no skipped layers in training.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..modules.norm import MaskedGroupNorm, masked_group_norm
from ._hf import States, build_net, read_folder, read_json, weight_files
from .audio import frames_of
from .base import BACKBONES, SAMPLE_RATE, Backbone, FeatureSeq, feature_seq
from .files import receptive_field

TYPES = ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
# Without them the model has no vector for masked frames either.
_NO_AUGMENTATION = {"apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0, "layerdrop": 0.0}
_UNIT = nn.GroupNorm(1, 1, eps=1e-7, affine=False)  # as the library's feature extractor


class _MaskedLayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` of (B, T, C), zero beyond `lengths`."""

    lengths: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        out = super().forward(input)
        if self.lengths is None:
            return out
        return out.masked_fill((torch.arange(out.size(1), device=out.device) >= self.lengths[:, None])[..., None], 0.0)


@BACKBONES.register("hf_audio")
class HfAudio(Backbone):
    """Hidden states of wav2vec 2.0, HuBERT, WavLM and data2vec, from a Hugging Face folder: one frame each 20 ms.

    Args:
        config: of the model, as in its config.json.
        normalize: samples of an utterance get mean 0 and variance 1; `do_normalize` of preprocessor_config.json.
        layer: see `chosen_states`.
    """

    modality = "audio"
    normalisation = "mean 0 and variance 1 over the samples of an utterance, if preprocessor_config.json says so"

    def __init__(self, config: Mapping[str, Any], normalize: bool, layer: int | str = "last") -> None:
        super().__init__()
        self.net = build_net({**config, **_NO_AUGMENTATION}, TYPES)
        made = self.net.config
        self.normalize = normalize
        self.convolutions = list(zip(made.conv_dim, made.conv_kernel, made.conv_stride, strict=True))
        self.receptive_field, self.stride = receptive_field(self.convolutions)
        stable = getattr(made, "do_stable_layer_norm", False)
        encoder = self.net.encoder
        self.hidden = States(self.net, encoder.layers, layer, encoder.layer_norm if stable else None)
        self.dim, self.states = made.hidden_size, len(self.hidden.chosen)
        self.net.feature_extractor._requires_grad = False  # of its input, for a gradient checkpointing not used here
        self._mask_norms()

    def _mask_norms(self) -> None:
        """Replace what would see padding by what does not, of the same weights."""
        first = self.net.feature_extractor.conv_layers[0]
        if isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
            norm = first.layer_norm
            first.layer_norm = MaskedGroupNorm(norm.num_groups, norm.num_channels, norm.eps)
            first.layer_norm.load_state_dict(norm.state_dict(), assign=True)
        for block in getattr(self.net.encoder.pos_conv_embed, "layers", ()):
            norm = block.layer_norm
            block.layer_norm = _MaskedLayerNorm(norm.normalized_shape, norm.eps, elementwise_affine=False)

    def layers(self) -> list[nn.Module]:
        return self.hidden.layers

    @classmethod
    def parts(cls, path: Path) -> list[Path]:
        return weight_files(path)

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config, weights = read_folder(path, TYPES, **_NO_AUGMENTATION)
        return {"config": config, "normalize": _normalize(path, config)}, weights

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        samples = (~padding_mask).sum(1)
        if self.normalize:
            x = masked_group_norm(x.float()[:, None], samples, _UNIT)[:, 0]
        x = x.masked_fill(padding_mask, 0.0).to(next(self.net.parameters()).dtype)
        x = F.pad(x, (0, max(0, self.receptive_field - x.size(1))))
        frames, heard = frames_of(samples, self.convolutions), None
        padded = torch.compiler.is_exporting() or bool(padding_mask.any())
        if padded:
            # A row too short for one frame gets one all the same, for attention over nothing is not defined.
            heard = torch.arange(x.size(1), device=x.device) < samples.clamp(min=self.receptive_field)[:, None]
        self._tell_lengths(frames_of(samples, self.convolutions[:1]) if padded else None, frames if padded else None)
        out = self.net(x, attention_mask=heard, output_hidden_states=not self.hidden.last_only)
        return feature_seq(self.hidden.of(out), frames)

    def _tell_lengths(self, first: Tensor | None, frames: Tensor | None) -> None:
        for module in self.net.modules():
            if isinstance(module, MaskedGroupNorm):
                module.lengths = first
            elif isinstance(module, _MaskedLayerNorm):
                module.lengths = frames


def _normalize(path: Path, config: Mapping[str, Any]) -> bool:
    """What preprocessor_config.json says; where there is none, as the released models of each kind do."""
    where = path / "preprocessor_config.json"
    said = read_json(where) if where.is_file() else {}
    rate = said.get("sampling_rate", SAMPLE_RATE)
    if rate != SAMPLE_RATE:
        raise MMFairseqError(f"{where}: sampling_rate is {rate!r}; a data-bin has audio at {SAMPLE_RATE} Hz")
    value = said.get("do_normalize", config.get("feat_extract_norm", "layer") == "layer")
    if not isinstance(value, bool):
        raise MMFairseqError(f"{where}: do_normalize is {value!r}; allowed are true and false")
    return value

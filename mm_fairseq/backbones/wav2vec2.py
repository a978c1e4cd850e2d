"""wav2vec 2.0 (Baevski et al. 2020, arXiv 2006.11477) and its kin, from the public files of fairseq's examples/wav2vec.

Deviations from upstream: normalisation of samples and of the first convolution sees real frames only, frames of padding
are zeros between position convolutions too, so that the features of an utterance are those it has alone; gradients of
the convolutions are not scaled (feature_grad_mult), and no layer is skipped in training (encoder_layerdrop).
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec2 import ConvFeatureExtractionModel, TransformerEncoder
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..modules.norm import masked_group_norm
from .audio import frames_of, read_audio
from .base import BACKBONES, Backbone, FeatureSeq, chosen_states, feature_seq
from .files import conv_layers, most_of, options_of, pick, receptive_field
from .wav2vec import run_block

EXTRACTOR = ((512, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2)
_MODES = ("default", "layer_norm")
_OPTIONS: dict[str, Any] = {
    "extractor_mode": _MODES,
    "conv_bias": False,
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "activation_fn": ("gelu", "relu", "gelu_fast", "gelu_accurate", "tanh", "linear"),
    "layer_norm_first": False,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "pos_conv_depth": 1,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
}
_ONLY = {"layer_type": "transformer", "quantize_input": False, "crop_seq_to_multiple": 1, "conv_pos_batch_norm": False}
_WEIGHTS = ("feature_extractor.", "layer_norm.", "encoder.")


@BACKBONES.register("wav2vec2")
class Wav2Vec2(Backbone):
    """Hidden states of wav2vec 2.0, XLSR-53 and XLS-R: 768, 1024 or more wide, one frame each 20 ms.

    Args:
        conv_feature_layers: (width, kernel, stride) a layer.
        layer: which hidden state, see `chosen_states`; the last one is after the final norm, where there is one.
        normalize: samples of an utterance get mean 0 and variance 1; `task.normalize` of the checkpoint.
        others: as in fairseq's `Wav2Vec2Config`.
    """

    modality = "audio"
    normalisation = "mean 0 and variance 1 over the samples of an utterance, if the checkpoint says normalize"
    names: ClassVar[tuple[str, ...]] = ("wav2vec2",)
    """Names of the architecture in files; those of others with the same weights are refused."""
    left_out: ClassVar[tuple[str, ...]] = ("mask_emb", "quantizer.", "project_q.", "final_proj.", "target_glu.")
    """Weights of no use after pretraining."""
    always_projects: ClassVar[bool] = False

    def __init__(
        self,
        conv_feature_layers: Sequence[Sequence[int]] = EXTRACTOR,
        layer: int | str = "last",
        extractor_mode: str = "default",
        conv_bias: bool = False,
        normalize: bool = False,
        encoder_layers: int = 12,
        encoder_embed_dim: int = 768,
        encoder_ffn_embed_dim: int = 3072,
        encoder_attention_heads: int = 12,
        activation_fn: str = "gelu",
        layer_norm_first: bool = False,
        conv_pos: int = 128,
        conv_pos_groups: int = 16,
        pos_conv_depth: int = 1,
        dropout: float = 0.1,
        attention_dropout: float = 0.1,
        activation_dropout: float = 0.0,
        dropout_input: float = 0.0,
    ) -> None:
        super().__init__()
        self.chosen = chosen_states(layer, encoder_layers)
        self.states, self.dim, self.normalize = len(self.chosen), encoder_embed_dim, normalize
        self.conv_feature_layers = [tuple(each) for each in conv_feature_layers]
        self.receptive_field, self.stride = receptive_field(self.conv_feature_layers)
        latent = self.conv_feature_layers[-1][0]
        self.feature_extractor = ConvFeatureExtractionModel(
            self.conv_feature_layers, dropout=0.0, mode=extractor_mode, conv_bias=conv_bias
        )
        self.layer_norm = nn.LayerNorm(latent)
        projects = self.always_projects or latent != encoder_embed_dim
        self.post_extract_proj = nn.Linear(latent, encoder_embed_dim) if projects else None
        self.dropout_input = nn.Dropout(dropout_input)
        self.encoder = TransformerEncoder(
            Namespace(
                layer_type="transformer",
                encoder_layers=encoder_layers,
                encoder_embed_dim=encoder_embed_dim,
                encoder_ffn_embed_dim=encoder_ffn_embed_dim,
                encoder_attention_heads=encoder_attention_heads,
                activation_fn=activation_fn,
                layer_norm_first=layer_norm_first,
                conv_pos=conv_pos,
                conv_pos_groups=conv_pos_groups,
                pos_conv_depth=pos_conv_depth,
                dropout=dropout,
                attention_dropout=attention_dropout,
                activation_dropout=activation_dropout,
                encoder_layerdrop=0.0,
                required_seq_len_multiple=1,
                checkpoint_activations=False,
            )
        )
        self.top = max(self.chosen)
        self.encoder.layers[self.top :].requires_grad_(False)  # they never run
        self.ends_with_norm = layer_norm_first and self.top == encoder_layers
        if layer_norm_first and not self.ends_with_norm:
            self.encoder.layer_norm.requires_grad_(False)

    def layers(self) -> list[nn.Module]:
        return list(self.encoder.layers[: self.top])

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        saved = read_audio(path)
        name = saved.model.get("arch") or saved.model.get("_name")
        if name not in (None, *cls.names):
            raise MMFairseqError(f"{path}: the architecture in the file is {name!r}, expected {' or '.join(cls.names)}")
        for option, only in _ONLY.items():
            if (value := saved.model.get(option)) not in (None, only):
                raise MMFairseqError(f"{path}: {option} is {value!r}; allowed: {only}")
        where = "conv_feature_layers"
        args: dict[str, Any] = {where: conv_layers(saved.model.get(where), EXTRACTOR, f"{path}: {where}")}
        args |= options_of(saved.model, _OPTIONS, path)
        args |= options_of({"normalize": saved.model.get("normalize")} | dict(saved.task), {"normalize": False}, path)
        for option, value in args.items():
            if type(value) is int and value < 1:
                raise MMFairseqError(f"{path}: {option} is {value}; allowed: 1 to {most_of(option)}")
        known = (*_WEIGHTS, "post_extract_proj.", *cls.left_out)
        if unknown := sorted(key for key in saved.weights if not key.startswith(known)):
            raise MMFairseqError(f"{path}: weights that no {cls.names[0]} has: {', '.join(unknown[:4])}")
        projects = any(key.startswith("post_extract_proj.") for key in saved.weights)
        return args, pick(saved.weights, (*_WEIGHTS, *["post_extract_proj."] * projects), path)

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        samples = (~padding_mask).sum(1)
        if self.normalize:
            x = masked_group_norm(x.float()[:, None], samples, nn.GroupNorm(1, 1, affine=False))[:, 0]
        x = F.pad(x, (0, max(0, self.receptive_field - x.size(1))))[:, None].type_as(self.layer_norm.weight)
        for block, shape in zip(self.feature_extractor.conv_layers, self.conv_feature_layers, strict=True):
            samples = frames_of(samples, [shape])
            x = run_block(block, x, samples)
        x = self.layer_norm(x.transpose(1, 2))
        x = x if self.post_extract_proj is None else self.post_extract_proj(x)
        x, mask = feature_seq(self.dropout_input(x), samples)
        states = self._transform(x, mask)
        return feature_seq(torch.cat([states[number] for number in self.chosen], dim=2), samples)

    def _transform(self, x: Tensor, mask: Tensor) -> list[Tensor]:
        """Hidden states (B, T, C), from what goes into the first layer to the highest that is chosen."""
        x = x + self._positions(x, mask)
        if not self.encoder.layer_norm_first:
            x = self.encoder.layer_norm(x)
        x = F.dropout(x, self.encoder.dropout, self.training)
        states = [x]
        mask = mask & ~mask.all(1, keepdim=True)  # attention over nothing is NaN
        x = x.transpose(0, 1)
        for layer in self.layers():
            x, _ = layer(x, self_attn_padding_mask=mask, need_weights=False)
            states.append(x.transpose(0, 1))
        if self.ends_with_norm:
            states[-1] = self.encoder.layer_norm(states[-1])
        return states

    def _positions(self, x: Tensor, mask: Tensor) -> Tensor:
        """What the position convolutions make of (B, T, C); upstream has one with a weight norm, or several blocks."""
        convolutions = self.encoder.pos_conv
        blocks = convolutions if isinstance(convolutions[0], nn.Sequential) else [convolutions]
        x, padding = x.transpose(1, 2), mask[:, None]
        for block in blocks:
            x = block(x.masked_fill(padding, 0.0))
        return x.transpose(1, 2)

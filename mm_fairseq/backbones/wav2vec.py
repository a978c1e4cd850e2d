"""wav2vec v1 (Schneider et al. 2019, arXiv 1904.05862), from the public files of fairseq's examples/wav2vec.

Deviation from upstream: GroupNorm takes its statistics over the real frames of each row, so that the features of an
utterance are those it has alone (see `modules.norm.masked_group_norm`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec import ConvAggegator, ConvFeatureExtractionModel
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..modules.norm import masked_group_norm
from .audio import Saved, frames_of, read_audio
from .base import BACKBONES, Backbone, FeatureSeq, feature_seq
from .files import conv_layers, options_of, pick, receptive_field

EXTRACTOR = ((512, 10, 5), (512, 8, 4), (512, 4, 2), (512, 4, 2), (512, 4, 2), (512, 1, 1), (512, 1, 1))
AGGREGATOR = tuple((512, kernel, 1) for kernel in range(2, 14))

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


def activation_of(name: str) -> nn.Module:
    """The module of an activation's name.

    Raises:
        ValueError: there is none.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name!r}: allowed are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


_EXTRACTOR_OPTIONS: dict[str, Any] = {
    "log_compression": True,
    "skip_connections_feat": False,
    "residual_scale": 0.5,
    "non_affine_group_norm": False,
    "activation": tuple(ACTIVATIONS),
}
_AGGREGATOR_OPTIONS: dict[str, Any] = {"skip_connections_agg": True, "agg_zero_pad": False, "no_conv_bias": False}


class Extractor(ConvFeatureExtractionModel):
    """The convolutions from samples to latent features z, with the weights of upstream's, over real frames only.

    Args:
        others: as in `Wav2Vec`.
    """

    def __init__(
        self,
        conv_feature_layers: Sequence[Sequence[int]],
        log_compression: bool,
        skip_connections_feat: bool,
        residual_scale: float,
        non_affine_group_norm: bool,
        activation: str,
    ) -> None:
        super().__init__(
            conv_layers=[tuple(layer) for layer in conv_feature_layers],
            dropout=0.0,
            log_compression=log_compression,
            skip_connections=skip_connections_feat,
            residual_scale=residual_scale,
            non_affine_group_norm=non_affine_group_norm,
            activation=activation_of(activation),
        )
        self.receptive_field, self.stride = receptive_field(conv_feature_layers)
        self.dim = conv_feature_layers[-1][0]

    def forward(self, x: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (B, T) to features (B, C, T') and how many frames of each row are real, (B)."""
        lengths = (~padding_mask).sum(1)
        x = F.pad(x, (0, max(0, self.receptive_field - x.size(1))))[:, None].type_as(self.conv_layers[0][0].weight)
        for block in self.conv_layers:
            residual, conv = x, block[0]
            lengths = frames_of(lengths, [(0, conv.kernel_size[0], conv.stride[0])])
            x = run_block(block, x, lengths)
            if self.skip_connections and x.size(1) == residual.size(1):
                residual = residual[..., :: conv.stride[0]][..., : x.size(2)]
                x = (x + residual) * self.residual_scale
        if self.log_compression:
            x = (x.abs() + 1).log()
        return x, lengths


def run_block(block: nn.Sequential, x: Tensor, lengths: Tensor) -> Tensor:
    """Run (B, C, T) through `block`, whose GroupNorms see the first `lengths` frames of each row only."""
    for layer in block:
        x = masked_group_norm(x, lengths, layer) if isinstance(layer, nn.GroupNorm) else layer(x)
    return x


def read_wav2vec(path: Path) -> tuple[dict[str, Any], Saved]:
    """Arguments of the `Extractor` out of a checkpoint of fairseq's `Wav2VecModel`, and all that is in it."""
    saved = read_audio(path)
    name = "conv_feature_layers"
    args = {name: conv_layers(saved.model.get(name), EXTRACTOR, f"{path}: {name}")}
    return args | options_of(saved.model, _EXTRACTOR_OPTIONS, path), saved


@BACKBONES.register("wav2vec")
class Wav2Vec(Backbone):
    """wav2vec v1: one frame each 10 ms, 512 wide in the released models.

    Args:
        conv_feature_layers, conv_aggregator_layers: (width, kernel, stride) a layer.
        features: "c" for context features, of the aggregator, or "z" for latent ones, that go into it.
        others: as in fairseq's `Wav2VecConfig`.
    """

    modality = "audio"

    def __init__(
        self,
        conv_feature_layers: Sequence[Sequence[int]] = EXTRACTOR,
        conv_aggregator_layers: Sequence[Sequence[int]] = AGGREGATOR,
        features: str = "c",
        log_compression: bool = True,
        skip_connections_feat: bool = False,
        skip_connections_agg: bool = True,
        residual_scale: float = 0.5,
        non_affine_group_norm: bool = False,
        agg_zero_pad: bool = False,
        no_conv_bias: bool = False,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        if features not in ("c", "z"):
            raise ValueError(f"features={features!r}: allowed are c and z")
        self.features = features
        self.feature_extractor = Extractor(
            conv_feature_layers,
            log_compression,
            skip_connections_feat,
            residual_scale,
            non_affine_group_norm,
            activation,
        )
        self.feature_aggregator = ConvAggegator(
            conv_layers=[tuple(layer) for layer in conv_aggregator_layers],
            embed=self.feature_extractor.dim,
            dropout=0.0,
            skip_connections=skip_connections_agg,
            residual_scale=residual_scale,
            non_affine_group_norm=non_affine_group_norm,
            conv_bias=not no_conv_bias,
            zero_pad=agg_zero_pad,
            activation=activation_of(activation),
        )
        if features == "z":
            self.feature_aggregator.requires_grad_(False)  # it never runs
        self.dim = conv_aggregator_layers[-1][0] if features == "c" else self.feature_extractor.dim
        self.receptive_field, self.stride = self.feature_extractor.receptive_field, self.feature_extractor.stride

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        args, saved = read_wav2vec(path)
        name = "conv_aggregator_layers"
        args[name] = conv_layers(saved.model.get(name), AGGREGATOR, f"{path}: {name}")
        if (kind := saved.model.get("aggregator")) not in ("cnn", None):
            raise MMFairseqError(f"{path}: aggregator {kind!r}; only cnn, as in the released models")
        if any(key.startswith("vector_quantizer.") for key in saved.weights):
            raise MMFairseqError(f"{path}: the aggregator of a vq-wav2vec reads codes; use the backbone vq_wav2vec")
        args |= options_of(saved.model, _AGGREGATOR_OPTIONS, path)
        return args, pick(saved.weights, ("feature_extractor.", "feature_aggregator."), path)

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        x, lengths = self.feature_extractor(x, padding_mask)
        aggregator = self.feature_aggregator
        blocks = zip(aggregator.conv_layers, aggregator.residual_proj, strict=True)
        for block, projection in blocks if self.features == "c" else ():
            residual = x
            x = run_block(block, x, lengths)
            if aggregator.skip_connections:
                x = (x + (projection(residual) if projection is not None else residual)) * aggregator.residual_scale
        return feature_seq(x.transpose(1, 2), lengths)

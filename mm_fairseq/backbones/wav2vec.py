"""wav2vec v1 (Schneider et al. 2019, arXiv 1904.05862), from the public files of fairseq's examples/wav2vec.

Deviation from upstream: GroupNorm takes its statistics over the real frames of each row, so that the features of an
utterance are those it has alone (see `modules.norm.masked_group_norm`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.models.wav2vec.wav2vec import ConvAggegator, ConvFeatureExtractionModel
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..modules.norm import masked_group_norm
from .base import BACKBONES, Backbone, FeatureSeq
from .files import conv_layers, model_args, options_of, pick, read_checkpoint, receptive_field

EXTRACTOR = ((512, 10, 5), (512, 8, 4), (512, 4, 2), (512, 4, 2), (512, 4, 2), (512, 1, 1), (512, 1, 1))
AGGREGATOR = tuple((512, kernel, 1) for kernel in range(2, 14))

_OPTIONS: dict[str, Any] = {
    "log_compression": True,
    "skip_connections_feat": False,
    "skip_connections_agg": True,
    "residual_scale": 0.5,
    "non_affine_group_norm": False,
    "agg_zero_pad": False,
    "no_conv_bias": False,
    "activation": ("relu", "gelu"),
}


@BACKBONES.register("wav2vec")
class Wav2Vec(Backbone):
    """Context features c of wav2vec v1: 512 wide in the large model, one frame each 10 ms.

    Args:
        conv_feature_layers, conv_aggregator_layers: (width, kernel, stride) a layer.
        others: as in fairseq's `Wav2VecConfig`.
    """

    modality = "audio"

    def __init__(
        self,
        conv_feature_layers: Sequence[Sequence[int]] = EXTRACTOR,
        conv_aggregator_layers: Sequence[Sequence[int]] = AGGREGATOR,
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
        layers = [tuple(layer) for layer in conv_feature_layers]
        act = {"relu": nn.ReLU(), "gelu": nn.GELU()}[activation]
        self.feature_extractor = ConvFeatureExtractionModel(
            conv_layers=layers,
            dropout=0.0,
            log_compression=log_compression,
            skip_connections=skip_connections_feat,
            residual_scale=residual_scale,
            non_affine_group_norm=non_affine_group_norm,
            activation=act,
        )
        self.feature_aggregator = ConvAggegator(
            conv_layers=[tuple(layer) for layer in conv_aggregator_layers],
            embed=layers[-1][0],
            dropout=0.0,
            skip_connections=skip_connections_agg,
            residual_scale=residual_scale,
            non_affine_group_norm=non_affine_group_norm,
            conv_bias=not no_conv_bias,
            zero_pad=agg_zero_pad,
            activation=act,
        )
        self.dim = conv_aggregator_layers[-1][0]
        self.receptive_field, self.stride = receptive_field(layers)

    @classmethod
    def read(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        state = read_checkpoint(path)
        saved = model_args(state, path)
        args: dict[str, Any] = {}
        for name, default in (("conv_feature_layers", EXTRACTOR), ("conv_aggregator_layers", AGGREGATOR)):
            args[name] = conv_layers(saved.get(name), default, f"{path}: {name}")
        args |= options_of(saved, _OPTIONS, path)
        if saved.get("aggregator", "cnn") not in ("cnn", None):
            raise MMFairseqError(f"{path}: aggregator {saved['aggregator']!r}; only cnn, as in the released models")
        if "model" not in state:
            raise MMFairseqError(f"{path}: no `model` in the file; its keys are {sorted(state)}")
        return args, pick(state["model"], ("feature_extractor.", "feature_aggregator."), path)

    def forward(self, x: Tensor, padding_mask: Tensor) -> FeatureSeq:
        lengths = (~padding_mask).sum(1)
        x = F.pad(x, (0, max(0, self.receptive_field - x.size(1))))[:, None].to(self._dtype)  # B x 1 x T
        extractor = self.feature_extractor
        for block in extractor.conv_layers:
            residual, conv = x, block[0]
            lengths = ((lengths - conv.kernel_size[0]).div(conv.stride[0], rounding_mode="floor") + 1).clamp(min=0)
            x = _run(block, x, lengths)
            if extractor.skip_connections and x.size(1) == residual.size(1):
                residual = residual[..., :: conv.stride[0]][..., : x.size(2)]
                x = (x + residual) * extractor.residual_scale
        if extractor.log_compression:
            x = (x.abs() + 1).log()
        aggregator = self.feature_aggregator
        for block, projection in zip(aggregator.conv_layers, aggregator.residual_proj, strict=True):
            residual = x
            x = _run(block, x, lengths)
            if aggregator.skip_connections:
                x = (x + (projection(residual) if projection is not None else residual)) * aggregator.residual_scale
        mask = torch.arange(x.size(2), device=x.device) >= lengths[:, None]
        return FeatureSeq(x.transpose(1, 2).masked_fill(mask[..., None], 0.0), mask)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype


def _run(block: nn.Sequential, x: Tensor, lengths: Tensor) -> Tensor:
    for layer in block:
        x = masked_group_norm(x, lengths, layer) if isinstance(layer, nn.GroupNorm) else layer(x)
    return x

"""Fusion of pretrained self-supervised features of audio, text and video.

Siriwardhana et al., "Multimodal emotion recognition with transformer-based self supervised feature fusion", IEEE Access
2020, DOI 10.1109/ACCESS.2020.3026823 (`ssl_fusion`, `robertEMO_large`, `robertaEMO_base`), and "Jointly fine-tuning
'BERT-like' self supervised models to improve multimodal speech emotion recognition", Interspeech 2020, arXiv 2008.06682
(`semiemo`, shallow fusion or co-attention).

Deviations from the original code:
- any set of modalities, also by row; the original's two-modality modes come out as special cases;
- padding is known from masks made where the data is read: not from pixel values, not from sample differences;
- wav2vec's GroupNorm and every attention ignore padding, so that a result does not depend on the batch;
- text is padded to the longest of the batch, not to 512 tokens, audio not to 150,000 samples, video not to 300 frames;
- only the query position that is read is computed in the cross streams;
- the video stream is not scaled by the text's embedding scale;
- keys and values of the cross streams are not projected frame by frame (see `modules.attention`);
- `--fusion concat`, `gated`, `low_rank` and `late` are added, as baselines (see `modules.simple_fusion`);
- the semi-supervised paths of the second system (mixup, consistency training), switched off in its code, are left out.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from fairseq.models import register_model
from torch import Tensor, nn

from ..backbones import FeatureSeq
from ..errors import MMFairseqError
from ..modules.encoder import StreamEncoder
from ..modules.fusion import CoAttention, InterModalFusion, ShallowFusion, Stream
from ..modules.heads import Heads
from ..modules.simple_fusion import GatedFusion, LateFusion, LowRankFusion
from ._base import Attends, BackboneOptions, FusionModel
from ._checks import check_least

logger = logging.getLogger(__name__)

FUSIONS = ("inter_modal", "stack_up", "shallow", "concat", "gated", "low_rank", "late")
CROSS = ("inter_modal", "stack_up")  # those with cross layers
HIDDEN = ("inter_modal", "concat", "gated")  # those with a hidden layer in front of the heads
_FUSION_HELP = {
    "help": "inter_modal: every modality attends to every other one; stack_up: the same by attention and residual "
    "alone; shallow: position 0 of each, side by side; concat: the same with a hidden layer behind; gated: a gated sum "
    "(arXiv 1702.01992); low_rank: products of low rank (arXiv 1806.00064); late: a head for each, logits averaged"
}


@dataclass
class SSLFusionConfig(BackboneOptions):
    """Sizes as in the original's command line; widths are those of the backbones unless `embed_dim` is given."""

    fusion: str = field(default="inter_modal", metadata=_FUSION_HELP)
    fusion_rank: int = field(default=4, metadata={"help": "rank of --fusion low_rank"})
    max_positions_a: int = field(default=936, metadata={"help": "audio frames beyond this many are cut off"})
    max_positions_t: int = field(default=512, metadata={"help": "text tokens beyond this many are cut off"})
    max_positions_v: int = field(default=301, metadata={"help": "video frames beyond this many are cut off"})
    embed_dim: int = field(
        default=0, metadata={"help": "project every modality to this width first; 0 keeps the backbones' own widths"}
    )
    encoder_layers: int = field(
        default=2, metadata={"help": "self-attention layers of each stream but RoBERTa's, whose <s> sums it up already"}
    )
    encoder_layers_cross: int = field(default=2, metadata={"help": "layers of each cross-attention stream"})
    encoder_attention_heads: int = field(default=4, metadata={"help": "attention heads"})
    encoder_ffn_embed_dim: int = field(default=1024, metadata={"help": "inner width of the feed-forward layers"})
    dropout: float = field(default=0.1, metadata={"help": "dropout"})
    attention_dropout: float = field(default=0.1, metadata={"help": "dropout of attention weights"})
    pooler_dropout: float = field(default=0.1, metadata={"help": "dropout around the hidden layer of the head"})


@register_model("ssl_fusion", dataclass=SSLFusionConfig)
class SSLFusion(FusionModel):
    """Backbones, a self-attention stream for each modality, fusion, a head for each target.

    Args:
        cfg: sizes; `cfg.backbone_args` says what the backbones are built from.
        outputs: target name to number of outputs.
    """

    attends = (
        Attends(r"fusion\.cross\.([a-z]+)_from_([a-z]+)\.\d+(\.attention)?", r"\1", r"\2"),
        Attends(r"encoders\.([a-z]+)\.layers\.\d+\.self_attn", r"\1", r"\1", first=True),
    )

    def __init__(self, cfg: SSLFusionConfig, outputs: dict[str, int]) -> None:
        fusion = self.fusion_of(cfg)
        if fusion not in FUSIONS:
            raise MMFairseqError(f"--fusion {fusion!r}; allowed: {', '.join(FUSIONS)}")
        frames = {"audio": cfg.max_positions_a, "text": cfg.max_positions_t, "video": cfg.max_positions_v}
        for name, most in frames.items():
            if most < 1:
                raise MMFairseqError(f"--max-positions-{name[0]} {most}: at least one frame of {name} is needed")
        super().__init__(cfg, frames)
        dims = {name: cfg.embed_dim or dim for name, dim in self.backbones.dims.items()}
        for name, dim in dims.items():
            if cfg.encoder_attention_heads < 1 or dim % cfg.encoder_attention_heads:
                raise MMFairseqError(
                    f"--encoder-attention-heads {cfg.encoder_attention_heads} does not divide the width {dim} of "
                    f"{name}; choose another number or a common width by --embed-dim"
                )
        self.projections = nn.ModuleDict(
            {
                name: nn.Linear(dim, cfg.embed_dim) if cfg.embed_dim else nn.Identity()
                for name, dim in self.backbones.dims.items()
            }
        )
        heads, ffn_dim = cfg.encoder_attention_heads, cfg.encoder_ffn_embed_dim
        self.encoders = nn.ModuleDict(
            {
                name: StreamEncoder(
                    dim, heads, cfg.encoder_layers, ffn_dim, frames[name], cfg.dropout, cfg.attention_dropout
                )
                for name, dim in dims.items()
                if not self.backbones.encoders[name].summarises
            }
        )
        self.fusion = _build_fusion(fusion, dims, cfg)
        self.heads = Heads(self.fusion.out_dim, outputs, cfg.pooler_dropout, hidden=fusion in HIDDEN)
        for module in (self.encoders, self.fusion, self.heads):
            module.apply(_init_bert)

    @staticmethod
    def fusion_of(cfg: SSLFusionConfig) -> str:
        """Which of FUSIONS the options ask for."""
        return cfg.fusion

    def in_front(self, modality: str) -> int:
        return int(modality in self.encoders)  # the start vector

    def fuse(self, features: dict[str, FeatureSeq]) -> Tensor:
        streams = {}
        for name, (x, mask) in features.items():
            x, present = self.projections[name](x), ~mask.all(dim=1)
            if name in self.encoders:
                x, mask = self.encoders[name](x, mask)
            streams[name] = Stream(x, mask, present)
        return self.fusion(streams)


def _build_fusion(name: str, dims: dict[str, int], cfg: SSLFusionConfig) -> Any:
    """A module of FUSIONS, from streams to (B, `out_dim`).

    Raises:
        MMFairseqError: the rank is below 1, or given to another fusion.
    """
    if name not in CROSS and cfg.encoder_layers_cross != SSLFusionConfig.encoder_layers_cross:
        logger.warning("--encoder-layers-cross %d: %s fusion has no cross layers", cfg.encoder_layers_cross, name)
    if name != "low_rank" and cfg.fusion_rank != SSLFusionConfig.fusion_rank:
        raise MMFairseqError(f"--fusion-rank {cfg.fusion_rank}: for --fusion low_rank, not {name}")
    check_least(cfg, 1, "fusion_rank")
    heads, layers, width = cfg.encoder_attention_heads, cfg.encoder_layers_cross, max(dims.values())
    builders = {
        "inter_modal": lambda: InterModalFusion(
            dims, heads, layers, cfg.encoder_ffn_embed_dim, cfg.dropout, cfg.attention_dropout
        ),
        "stack_up": lambda: CoAttention(dims, heads, layers, cfg.dropout, cfg.attention_dropout),
        "shallow": lambda: ShallowFusion(dims),
        "concat": lambda: ShallowFusion(dims),
        "gated": lambda: GatedFusion(dims, width),
        "low_rank": lambda: LowRankFusion(dims, width, cfg.fusion_rank),
        "late": lambda: LateFusion(dims, cfg.pooler_dropout),
    }
    return builders[name]()


def _init_bert(module: nn.Module) -> None:
    """Normal(0, 0.02) weights and zero biases, as BERT has them; below 256 inputs wider, to keep the variance."""
    if isinstance(module, nn.Linear):
        weights = [module.weight]
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.MultiheadAttention):
        weights = [module.in_proj_weight, module.q_proj_weight, module.k_proj_weight, module.v_proj_weight]
    else:
        return
    for weight in weights:
        if weight is not None:
            nn.init.normal_(weight, std=max(0.02, 0.32 * weight.size(1) ** -0.5))


@dataclass
class RobertEMOLargeConfig(SSLFusionConfig):
    """The original frozen trimodal system."""

    encoder_attention_heads: int = field(default=4, metadata={"help": "attention heads"})


@register_model("robertEMO_large", dataclass=RobertEMOLargeConfig)
class RobertEMOLarge(SSLFusion):
    """`ssl_fusion` under the original's name for wide backbones (text 1024, audio 512, video 256)."""


@dataclass
class RobertaEMOBaseConfig(SSLFusionConfig):
    """One layer each, for backbones of base size."""

    encoder_layers: int = field(
        default=1, metadata={"help": "self-attention layers of each stream but RoBERTa's, whose <s> sums it up already"}
    )
    encoder_layers_cross: int = field(default=1, metadata={"help": "layers of each cross-attention stream"})
    encoder_ffn_embed_dim: int = field(default=768, metadata={"help": "inner width of the feed-forward layers"})


@register_model("robertaEMO_base", dataclass=RobertaEMOBaseConfig)
class RobertaEMOBase(SSLFusion):
    """A smaller `ssl_fusion` under the original's name."""


@dataclass
class SemiEmoConfig(SSLFusionConfig):
    """Joint fine-tuning of the backbones, with the original's flags."""

    fusion: str = field(default="shallow", metadata=_FUSION_HELP)
    stack_up: bool = field(default=False, metadata={"help": "co-attention, the same as --fusion stack_up"})
    frozen_ssl: bool = field(
        default=False, metadata={"help": "train no pretrained backbone, whatever --finetune-backbones says"}
    )
    finetune_backbones: str = field(
        default="audio,text",
        metadata={
            "help": "comma list of modalities whose pretrained backbone is trained too; without a file it always is"
        },
    )
    encoder_attention_heads: int = field(default=2, metadata={"help": "attention heads"})
    max_positions_a: int = field(default=2048, metadata={"help": "audio frames beyond this many are cut off"})


@register_model("semiemo", dataclass=SemiEmoConfig)
class SemiEmo(SSLFusion):
    """`ssl_fusion` with trained backbones whose position 0 is concatenated, or attends to the other (--stack-up)."""

    @staticmethod
    def fusion_of(cfg: Any) -> str:
        return "stack_up" if cfg.stack_up else cfg.fusion

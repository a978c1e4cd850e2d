"""Cross-modal transformers over unaligned sequences of any set of modalities.

Tsai et al., "Multimodal transformer for unaligned multimodal language sequences", ACL 2019, arXiv 1906.00295 (MulT,
with audio, text and video), and the model of audio (MFCC) and text (BERT) that follows it, for seven emotions in Korean
(korbert_vat, 2020, with audio and text).

Deviations from both originals' code:
- attention never sees padding, whatever the model or the flags; sequences are as long as the longest of a batch;
- the causal mask is off unless `--attn-mask` asks for it, and goes by time, so that for sequences of unequal length no
  query is blind to what happened before it: the Korean model's text heard the first half second of the audio;
- the residual stream runs through a layer un-normalised, as in MulT; the Korean model cut it at every sublayer;
- the mean over frames is over real ones, the last frame is the last real one; a learned weighted mean is new;
- frames of zeros are frames: positions do not depend on values, and no sample of zero is taken out of the audio;
- the convolution keeps the number of frames (with zeros around an utterance), so that none is too short for it;
- text is cut at `--max-len-for-text` tokens, those around it included, instead of losing the first two;
- any set of modalities, also by row: attention to a missing one adds nothing, a missing one is a vector of zeros;
- MFCC are brought to a fixed scale and use no floor relative to the loudest frame;
- the text encoder is one of this package: computed once if it is frozen, or trained along;
- of the last memory layer only the frame that is read is computed with `--merge-how last`;
- MulT's `view` of a strided copy, which newer versions of torch refuse, is gone.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from fairseq.models import register_model
from torch import Tensor

from ..backbones import FeatureSeq, Spec
from ..errors import MMFairseqError
from ..modules.crossmodal import CrossmodalFusion, Dropouts, ResidualLayer
from ..modules.heads import Heads
from ..modules.pooling import POOLINGS
from ._base import Attends, BackboneOptions, FusionModel
from ._checks import check_choice, check_least, check_probabilities, flag

logger = logging.getLogger(__name__)

DROPOUTS = (
    *("attn_dropout", "attn_dropout_a", "attn_dropout_v"),
    *("relu_dropout", "embed_dropout", "res_dropout", "out_dropout"),
)
WINDOW_MS = 25
MFCC_OPTIONS = {"resample_rate": "rate", "n_fft_size": "n_fft", "n_mfcc": "n_mfcc"}


@dataclass
class CrossmodalMultConfig(BackboneOptions):
    """The original's flags and, as defaults, the sizes of the Korean model."""

    d_model: int = field(default=64, metadata={"help": "width of each cross-modal transformer"})
    layers: int = field(
        default=4,
        metadata={"help": "layers of each transformer; behind three modalities the self-attention has at least 3"},
    )
    num_heads: int = field(default=8, metadata={"help": "attention heads, which divide the width"})
    conv_kernel: int = field(
        default=3, metadata={"help": "frames that the convolution in front of each transformer spans; MulT has 1"}
    )
    merge_how: str = field(
        default="last",
        metadata={"help": "one vector of each modality: average, last or attentive, over its real frames"},
    )
    attn_mask: bool = field(default=False, metadata={"help": "let no frame attend to one of a later time"})
    do_audio: bool = field(
        default=False,
        metadata={
            "help": "the original's model of audio alone: its features, as wide as they are, go straight into the "
            "self-attention; with --modalities audio"
        },
    )
    attn_dropout: float = field(
        default=0.2, metadata={"help": "dropout of attention to text and of the self-attention"}
    )
    attn_dropout_a: float = field(default=0.0, metadata={"help": "dropout of attention to audio"})
    attn_dropout_v: float = field(default=0.0, metadata={"help": "dropout of attention to video"})
    relu_dropout: float = field(default=0.1, metadata={"help": "dropout in the feed-forward layers"})
    embed_dropout: float = field(
        default=0.2, metadata={"help": "dropout of text features and of what goes into each transformer"}
    )
    res_dropout: float = field(default=0.1, metadata={"help": "dropout in front of each residual sum"})
    out_dropout: float = field(default=0.1, metadata={"help": "dropout in the residual layer in front of the heads"})
    max_len_for_text: int = field(
        default=128, metadata={"help": "text tokens beyond this many are cut off, those around the text included"}
    )
    max_len_for_audio: int = field(default=400, metadata={"help": "audio frames beyond this many are cut off"})
    max_len_for_video: int = field(default=500, metadata={"help": "video frames beyond this many are cut off"})
    resample_rate: int = field(
        default=0, metadata={"help": "sampling rate that mfcc works at, in Hz; 0: that of the data, 16000"}
    )
    n_fft_size: int = field(
        default=0,
        metadata={"help": "window of mfcc in samples at that rate, its step being half of it; 0: 25 ms"},
    )
    n_mfcc: int = field(default=0, metadata={"help": "coefficients of mfcc; 0: mfcc's own"})


@register_model("crossmodal_mult", dataclass=CrossmodalMultConfig)
class CrossmodalMult(FusionModel):
    """Backbones, cross-modal fusion, a residual layer, a head for each target.

    Args:
        cfg: sizes; `cfg.backbone_args` says what the backbones are built from.
        outputs: target name to number of outputs.
    """

    attends = (
        Attends(r"fusion\.cross\.([a-z]+)_from_([a-z]+)\.layers\.\d+\.self_attn", r"\1", r"\2"),
        Attends(r"fusion\.pooling\.([a-z]+)", "", r"\1"),
        Attends(r"fusion\.memory\.([a-z]+)\.layers\.\d+\.self_attn", r"\1", r"\1"),
    )

    def __init__(self, cfg: CrossmodalMultConfig, outputs: dict[str, int]) -> None:
        _check(cfg)
        frames = {"audio": cfg.max_len_for_audio, "text": cfg.max_len_for_text, "video": cfg.max_len_for_video}
        super().__init__(cfg, frames)
        dims = self.backbones.dims
        dim = dims["audio"] if cfg.do_audio else cfg.d_model
        if dim % cfg.num_heads:
            told = f"the audio features' width {dim} (--do-audio)" if cfg.do_audio else f"--d-model {dim}"
            raise MMFairseqError(f"--num-heads {cfg.num_heads} does not divide {told}")
        self.fusion = CrossmodalFusion(
            dims,
            dim,
            cfg.num_heads,
            cfg.layers,
            max(cfg.layers, 3) if len(dims) > 2 else cfg.layers,
            0 if cfg.do_audio else cfg.conv_kernel,
            cfg.merge_how,
            Dropouts(
                {"audio": cfg.attn_dropout_a, "text": cfg.attn_dropout, "video": cfg.attn_dropout_v},
                cfg.attn_dropout,
                cfg.relu_dropout,
                cfg.res_dropout,
                cfg.embed_dropout,
            ),
            cfg.attn_mask,
        )
        self.residual = ResidualLayer(self.fusion.out_dim, cfg.out_dropout)
        self.heads = Heads(self.fusion.out_dim, outputs, 0.0, hidden=False)

    @classmethod
    def backbone_defaults(cls, cfg: Any, fps: float | None = None) -> dict[str, dict[str, Any]]:
        """What `--resample-rate`, `--n-fft-size` and `--n-mfcc` say of mfcc.

        Raises:
            MMFairseqError: the audio backbone is another one, or its specification says otherwise.
        """
        args = {}
        for option, argument in MFCC_OPTIONS.items():
            if not cfg[option]:
                continue
            given = f"{flag(option)} {cfg[option]}"
            spec = Spec.parse("audio", cfg.audio_backbone)
            if spec.name != "mfcc":
                raise MMFairseqError(f"{given}: for --audio-backbone mfcc, not {cfg.audio_backbone!r}")
            if spec.options.get(argument, cfg[option]) != cfg[option]:
                raise MMFairseqError(f"{given}, but --audio-backbone {cfg.audio_backbone!r}: give one of them")
            args[argument] = cfg[option]
        if "rate" in args:
            args.setdefault("n_fft", max(1, args["rate"] * WINDOW_MS // 1000))
        if "n_fft" in args:
            args["hop"] = max(1, args["n_fft"] // 2)
        return {"audio": args} if args else {}

    def fuse(self, features: dict[str, FeatureSeq]) -> Tensor:
        return self.residual(self.fusion(features))


def _check(cfg: CrossmodalMultConfig) -> None:
    """Check options by themselves and against the modalities.

    Raises:
        MMFairseqError: names an option, its value and what is allowed.
    """
    check_least(cfg, 1, "d_model", "layers", "num_heads", "conv_kernel")
    check_least(cfg, 1, "max_len_for_audio", "max_len_for_text", "max_len_for_video")
    check_probabilities(cfg, *DROPOUTS)
    check_choice(cfg, "merge_how", POOLINGS)
    if cfg.do_audio and set(cfg.backbone_args) != {"audio"}:
        there = ", ".join(sorted(cfg.backbone_args))
        raise MMFairseqError(f"--do-audio: of audio alone, the training has {there}; add --modalities audio")
    for option in ("d_model", "conv_kernel"):
        if cfg.do_audio and getattr(cfg, option) != getattr(CrossmodalMultConfig, option):
            logger.warning(
                "%s %d: --do-audio has neither a projection nor a width of its own", flag(option), getattr(cfg, option)
            )
    check_least(cfg, 0, *MFCC_OPTIONS)
    for option in MFCC_OPTIONS:
        if getattr(cfg, option) and "audio" not in cfg.backbone_args:
            raise MMFairseqError(f"{flag(option)} {getattr(cfg, option)}: the training has no audio")

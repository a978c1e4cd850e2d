"""Raw audio in pieces and text: self-attention on each, then the text's first token attends to the audio.

The system "multimodal action recognition" on Fluent Speech Commands (2021): audio as pieces of raw samples after VATT
(Akbari et al. 2021, arXiv 2104.11178), post-norm layers as in Vaswani et al. 2017 (arXiv 1706.03762), prediction from
the position of <s>. Audio alone is answered from the mean of its encoded pieces, text alone from <s>.

Deviations from the original code, whose defects are numbered:
1. its initialisation drew everything from N(0, 0.01): the gains of LayerNorm, biases, the tables of positions, even the
   scalars by which scores are divided and embeddings multiplied; here constants are no parameters, LayerNorm starts as
   the identity, linear layers as Glorot and Bengio drew them;
2. its F1 had truth and prediction swapped, which weights the classes by what was predicted; here it is scikit-learn's;
3. its accuracy was the mean over batches, of which the last is smaller; here it is of the whole split;
4. its audio had no mask, neither as itself nor as keys, an extra piece of zeros, samples of 16 bits as they stand, and
   broke on two channels; here padding is nowhere seen, samples are normalised over the utterance, channels are mixed;
5. its evaluation shuffled, compared a device with a word, and broke beyond 5000 tokens; here positions are computed;
- embeddings are drawn with unit variance instead of being multiplied by the root of their width;
- cross-attention is computed for the position that is read alone: its layers let no position see another one;
- rows that lack a modality are answered from the other one, so that --modality-dropout trains one model for both;
- without text there is no position 0: audio alone is pooled, which the original cannot do.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from fairseq.models import register_model
from torch import Tensor, nn

from ..backbones import FeatureSeq, Spec
from ..errors import MMFairseqError
from ..modules.dropout import Dropout
from ..modules.heads import Heads
from ..modules.pooling import Pooling
from ..modules.positions import sinusoid
from ..modules.transformer import TransformerLayer, init_glorot
from ._base import Attends, BackboneOptions, FusionModel
from ._checks import check_least, check_modalities, check_probabilities

MODALITIES = ("audio", "text")


@dataclass
class WaveTextConfig(BackboneOptions):
    """Sizes of the original's last configuration."""

    audio_backbone: str = field(
        default="wave_pieces",
        metadata={"help": "audio encoder: NAME[:FILE[,key=value,...]], as wav2vec2:FILE,layer=9 or wave_pieces"},
    )
    audio_split_samples: int = field(
        default=1000, metadata={"help": "samples of a piece of audio (1000 = 62.5 ms), with wave_pieces"}
    )
    d_model: int = field(default=256, metadata={"help": "width of the attention layers"})
    num_heads: int = field(default=8, metadata={"help": "attention heads"})
    audio_representation_layers: int = field(default=3, metadata={"help": "self-attention layers of the audio"})
    text_representation_layers: int = field(default=2, metadata={"help": "self-attention layers of the text"})
    cross_attention_layers: int = field(default=2, metadata={"help": "layers in which the text attends to the audio"})
    ffn_dim: int = field(default=512, metadata={"help": "inner width of the feed-forward layers"})
    dropout: float = field(default=0.2, metadata={"help": "dropout, of attention weights too"})
    max_len_for_audio: int = field(default=512, metadata={"help": "audio frames (pieces) beyond this many are cut off"})
    max_len_for_text: int = field(default=512, metadata={"help": "text tokens beyond this many are cut off"})


class TokenEncoder(nn.Module):
    """Projection to a common width where it is another one, sinusoids, dropout and post-norm self-attention.

    Args:
        width: of what comes in.
        cfg: sizes.
        layers: how many.
        first: the last layer computes position 0 alone.
    """

    def __init__(self, width: int, cfg: WaveTextConfig, layers: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.project = nn.Identity() if width == cfg.d_model else nn.Linear(width, cfg.d_model)
        self.dropout = Dropout(cfg.dropout)
        self.layers = nn.ModuleList(_layer(cfg) for _ in range(layers))

    def forward(self, x: Tensor, padding_mask: Tensor) -> Tensor:
        """Encode `x` (B, T, C) with `padding_mask` (B, T); returns (B, T, D), or (B, 1, D) of position 0."""
        x = self.project(x)
        x = self.dropout(x + sinusoid(x.size(1), x.size(2), x))
        for number, layer in enumerate(self.layers, 1):
            if self.first and number == len(self.layers):
                return layer(x[:, :1], padding_mask[:, :1], x, padding_mask)
            x = layer(x, padding_mask)
        return x[:, :1] if self.first else x


@register_model("wave_text", dataclass=WaveTextConfig)
class WaveText(FusionModel):
    """The model, for audio and text, audio alone or text alone; see the module.

    Args:
        cfg: sizes; `cfg.backbone_args` says what the backbones are built from.
        outputs: target name to number of outputs.

    Raises:
        MMFairseqError: a size is not possible, or there is video.
    """

    attends = (
        Attends(r"cross\.\d+\.self_attn", "text", "audio"),
        Attends(r"encoders\.text\.layers\.\d+\.self_attn", "text", "text", first=True),
        Attends(r"encoders\.audio\.layers\.\d+\.self_attn", "audio", "audio"),
    )

    def __init__(self, cfg: WaveTextConfig, outputs: dict[str, int]) -> None:
        _check(cfg)
        super().__init__(cfg, {"audio": cfg.max_len_for_audio, "text": cfg.max_len_for_text})
        layers = {"audio": cfg.audio_representation_layers, "text": cfg.text_representation_layers}
        self.encoders = nn.ModuleDict(
            {
                name: TokenEncoder(width, cfg, layers[name], first=name == "text")
                for name, width in self.backbones.dims.items()
            }
        )
        both = len(self.encoders) == len(MODALITIES)
        self.cross = nn.ModuleList(_layer(cfg) for _ in range(cfg.cross_attention_layers if both else 0))
        self.pooling = Pooling("average", cfg.d_model)
        self.heads = Heads(cfg.d_model, outputs, 0.0, hidden=False)
        for module in (self.encoders, self.cross, self.heads):
            module.apply(init_glorot)

    @classmethod
    def backbone_defaults(cls, cfg: Any, fps: float | None = None) -> dict[str, dict[str, Any]]:
        spec, usual = Spec.parse("audio", str(cfg.audio_backbone)), WaveTextConfig.audio_split_samples
        if cfg.audio_split_samples != usual and (spec.name != "wave_pieces" or "samples" in spec.options):
            raise MMFairseqError(
                f"--audio-split-samples {cfg.audio_split_samples}: the size of the pieces of wave_pieces, "
                f"but --audio-backbone is {cfg.audio_backbone}"
            )
        return {
            "audio": {"samples": cfg.audio_split_samples, "dim": cfg.d_model},
            "text": {"dim": cfg.d_model},
        }

    def fuse(self, features: dict[str, FeatureSeq]) -> Tensor:
        x = {name: self.encoders[name](*each) for name, each in features.items()}
        masks = {name: each.padding_mask for name, each in features.items()}
        if "text" not in x:
            return self.pooling(x["audio"], masks["audio"])
        start = x["text"]  # B x 1 x D
        for layer in self.cross:
            start = layer(start, masks["text"][:, :1], x["audio"], masks["audio"])
        silent = masks["text"].all(dim=1, keepdim=True)
        if "audio" not in x or not (torch.compiler.is_exporting() or silent.any()):
            return start.squeeze(1)
        return torch.where(silent, self.pooling(x["audio"], masks["audio"]), start.squeeze(1))


def _layer(cfg: WaveTextConfig) -> TransformerLayer:
    drop = cfg.dropout
    return TransformerLayer(
        cfg.d_model,
        cfg.num_heads,
        cfg.ffn_dim,
        norm_first=False,
        attention_dropout=drop,
        relu_dropout=drop,
        residual_dropout=drop,
    )


def _check(cfg: WaveTextConfig) -> None:
    check_modalities(cfg, "wave_text", MODALITIES)
    check_least(cfg, 1, "audio_split_samples", "d_model", "num_heads", "ffn_dim")
    check_least(cfg, 1, "max_len_for_audio", "max_len_for_text")
    check_least(cfg, 0, "audio_representation_layers", "text_representation_layers", "cross_attention_layers")
    if cfg.d_model % cfg.num_heads:
        raise MMFairseqError(f"--num-heads {cfg.num_heads} does not divide --d-model {cfg.d_model}")
    check_probabilities(cfg, "dropout")

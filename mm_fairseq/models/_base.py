"""What every architecture has: backbones, a way to fuse what they give, and heads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel
from torch import Tensor

from ..backbones import BackboneSet, FeatureSeq
from ..modules.heads import Heads


@dataclass
class BackboneOptions(FairseqDataclass):
    """Which backbones, and what of them learns."""

    audio_backbone: str = field(
        default="mfcc",
        metadata={"help": "audio encoder: NAME[:FILE[,key=value,...]], as wav2vec2:FILE,layer=9 or mfcc"},
    )
    text_backbone: str = field(
        default="embedding",
        metadata={"help": "text encoder: NAME[:FILE[,key=value,...]], as roberta:DIR or embedding"},
    )
    video_backbone: str = field(
        default="fabnet",
        metadata={"help": "video encoder: NAME[:FILE[,key=value,...]], as fabnet:FILE"},
    )
    finetune_backbones: str = field(
        default="",
        metadata={
            "help": "comma list of modalities whose pretrained backbone is trained too; without a file it always is"
        },
    )
    finetune_top_layers: int = field(
        default=0,
        metadata={"help": "of pretrained backbones that learn, only so many transformer layers, the last ones; 0: all"},
    )
    freeze_finetune_updates: int = field(
        default=0, metadata={"help": "keep pretrained backbones that learn frozen for so many updates at first"}
    )
    backbone_lr: float = field(
        default=0.0,
        metadata={"help": "learning rate of pretrained backbones that learn, scheduled like --lr; 0: that of the rest"},
    )
    checkpoint_activations: bool = field(
        default=False,
        metadata={"help": "recompute the layers of trained backbones in the backward pass: less memory, more time"},
    )
    omit_frozen_backbones: bool = field(
        default=False,
        metadata={
            "help": "leave frozen backbones out of model and checkpoint, which then reads cached features only "
            "(mm-fairseq extract)"
        },
    )
    backbone_args: Any = field(
        default=None, metadata={"help": "what the backbones are built from; filled in by the task, not by hand"}
    )
    fusion_args: Any = field(
        default=None, metadata={"help": "what a pretrained fusion is built from; filled in by the task, not by hand"}
    )


class Attends(NamedTuple):
    """Modules of an architecture that attend over the time of a modality, for explanations.

    Attributes:
        path: of these modules, a regular expression.
        query: modality that asks, "" where it is none; groups of `path` as in `re.Match.expand`.
        key: modality over whose time they attend, in the same way; "" where what is recorded says it.
        first: of several queries position 0 alone is read.
    """

    path: str
    query: str
    key: str
    first: bool = False


class FusionModel(BaseFairseqModel):
    """Backbones, a fusion that the architecture defines, a head for each target.

    A subclass sets `heads`, says what `attends` and defines `fuse`; one whose fusion has public checkpoints sets
    `may_be_pretrained` and defines `fusion_file`, `read_fusion` and `load_fusion`.

    Args:
        cfg: options; `cfg.backbone_args` says what the backbones are built from.
        frames: modality to the most frames (audio, video) or tokens (text) that the architecture takes of it.
    """

    heads: Heads
    may_be_pretrained: ClassVar[bool] = False
    attends: ClassVar[tuple[Attends, ...]] = ()
    """Of each modality, the first that has something to show is shown, in it the last layer."""

    def __init__(self, cfg: BackboneOptions, frames: Mapping[str, int]) -> None:
        super().__init__()
        self.frames = dict(frames)
        self.backbones = BackboneSet(
            cfg.backbone_args, cfg.finetune_top_layers, cfg.freeze_finetune_updates, cfg.checkpoint_activations
        )

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "FusionModel":
        return cls(cfg, task.outputs)

    @classmethod
    def backbone_defaults(cls, cfg: Any, fps: float | None = None) -> dict[str, dict[str, Any]]:
        """Modality to arguments of its backbone, where neither its file nor its specification gives them.

        Args:
            cfg: options.
            fps: frames a second of the data-bin's video; None where there is none.

        Raises:
            MMFairseqError: an option of this architecture is for another backbone than the one that is named.
        """
        return {}

    @classmethod
    def fusion_file(cls, cfg: Any) -> str:
        """The file or folder of a pretrained fusion that the options name; "" where there is none."""
        return ""

    @classmethod
    def read_fusion(cls, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Plain arguments, kept as `cfg.fusion_args`, and weights for `load_fusion`.

        Raises:
            MMFairseqError: not such a checkpoint; names what is missing.
        """
        raise AssertionError("an architecture with a fusion_file defines read_fusion")

    def load_fusion(self, weights: Mapping[str, Tensor]) -> None:
        """Load what `read_fusion` found into a new model."""
        raise AssertionError("an architecture with a fusion_file defines load_fusion")

    def fuse(self, features: dict[str, FeatureSeq]) -> Tensor:
        """What the backbones give, (B, T, C) for each modality that the model was built for, to (B, D)."""
        raise AssertionError("an architecture defines fuse")

    def fuse_with_losses(self, features: dict[str, FeatureSeq]) -> tuple[Tensor, dict[str, Tensor]]:
        """As `fuse`, and losses that the architecture has of its own, weighted: {name: (B)}."""
        return self.fuse(features), {}

    def forward(
        self, inputs: dict[str, Tensor], padding_masks: dict[str, Tensor], augment: Mapping[str, Any] | None = None
    ) -> dict[str, dict[str, Tensor]]:
        """Predict.

        Args:
            inputs: audio (B, T), text (B, T), video (B, T, 3, H, W), whichever the model was built for, or features
                (B, T, C).
            padding_masks: (B, T) each.
            augment: in training: `erase`, see `BackboneSet.forward`; `partner` and `share`, see `Heads.forward`.

        Returns:
            `{"logits": {target: (B, outputs)}, "features": {"fused": (B, D)}}`; an architecture with a loss of its own
            adds `"losses": {name: (B)}`, weighted, which the criterion adds to that of the targets.
        """
        augment = augment or {}
        dtype = next(self.heads.parameters()).dtype  # a backbone may compute in another one
        found = self.backbones(inputs, padding_masks, augment.get("erase"))
        features = {name: FeatureSeq(each.x.to(dtype), each.padding_mask) for name, each in found.items()}
        fused, losses = self.fuse_with_losses(features)
        logits = self.heads(fused, augment.get("partner"), augment.get("share"))
        return {"logits": logits, "features": {"fused": fused}} | ({"losses": losses} if losses else {})

    def in_front(self, modality: str) -> int:
        """Positions that `fuse` puts in front of the frames of a modality before it attends to them."""
        return 0

    def input_limits(self) -> dict[str, tuple[int, int]]:
        """Shortest and longest input of each modality in samples, tokens or frames; the dataset cuts longer ones."""
        return {name: self.backbones.input_limits(name, self.frames[name]) for name in self.backbones.names}

    def max_positions(self) -> None:
        """None: no utterance is left out for its length."""

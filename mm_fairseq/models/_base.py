"""Options that every model with backbones has."""

from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import FairseqDataclass


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
    max_positions_a: int = field(default=936, metadata={"help": "audio frames beyond this many are cut off"})
    max_positions_t: int = field(default=512, metadata={"help": "text tokens beyond this many are cut off"})
    max_positions_v: int = field(default=301, metadata={"help": "video frames beyond this many are cut off"})
    backbone_args: Any = field(
        default=None, metadata={"help": "what the backbones are built from; filled in by the task, not by hand"}
    )

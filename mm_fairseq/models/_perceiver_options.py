"""The options of `perceiver_emo`, and what they and a released checkpoint say together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import MMFairseqError
from . import _perceiver
from ._base import BackboneOptions
from ._checks import check_least, check_probabilities, check_unused, flag
from ._perceiver import BLOCK

READS = {"audio": "waveform", "video": "pixels"}
FPS = 25.0  # of the released checkpoint
OF_FOLDER = {  # option to its name among the sizes
    "num_latents": "num_latents",
    "d_latents": "d_latents",
    "d_model": "width",
    "num_self_attends_per_block": "num_self_attends_per_block",
    "num_self_attention_heads": "num_self_attention_heads",
    "num_cross_attention_heads": "num_cross_attention_heads",
    "num_frames": "num_frames",
    "audio_samples_per_frame": "audio_samples_per_frame",
    "samples_per_patch": "samples_per_patch",
    "output_num_channels": "output_num_channels",
    "label_query_channels": "_label_trainable_num_channels",
    "perceiver_dropout": "attention_probs_dropout_prob",
    "initializer_range": "initializer_range",
}


@dataclass
class PerceiverEmoConfig(BackboneOptions):
    """Sizes of deepmind/multimodal-perceiver, head of the original."""

    audio_backbone: str = field(default="waveform", metadata={"help": "audio: waveform[:gain=1], raw samples"})
    video_backbone: str = field(default="pixels", metadata={"help": "video: pixels, raw pictures"})
    perceiver: str = field(
        default="",
        metadata={"help": "folder of a released checkpoint (config.json and weights); its sizes then hold"},
    )
    num_latents: int = field(default=784, metadata={"help": "latent vectors"})
    d_latents: int = field(default=512, metadata={"help": "width of a latent vector"})
    d_model: int = field(default=704, metadata={"help": "width of a token"})
    num_self_attends_per_block: int = field(default=8, metadata={"help": "self-attention layers of the latents"})
    num_self_attention_heads: int = field(default=8, metadata={"help": "heads of self-attention"})
    num_cross_attention_heads: int = field(
        default=1, metadata={"help": "heads of the latents' attention to the tokens"}
    )
    num_frames: int = field(default=16, metadata={"help": "frames of a window"})
    image_size: int = field(default=224, metadata={"help": "height and width of the pictures (binarize --frame-size)"})
    audio_samples_per_frame: int = field(
        default=1920, metadata={"help": "audio samples to a frame; 1920 is 48 kHz at 25 frames a second"}
    )
    samples_per_patch: int = field(default=16, metadata={"help": "audio samples of a token"})
    output_num_channels: int = field(default=512, metadata={"help": "width of what is decoded"})
    label_query_channels: int = field(default=1024, metadata={"help": "width of the query for the label"})
    perceiver_dropout: float = field(default=0.1, metadata={"help": "dropout of attention weights"})
    initializer_range: float = field(
        default=0.02, metadata={"help": "deviation of new weights; larger for narrower networks"}
    )
    head_dim: int = field(default=256, metadata={"help": "width between the two linear layers of a head"})
    head_dropout: float = field(default=0.3, metadata={"help": "dropout between them"})
    eval_windows: int = field(
        default=4, metadata={"help": "windows of a clip whose logits are averaged at evaluation, evenly spaced"}
    )
    window_fps: float = field(
        default=0.0, metadata={"help": "frames a second of windows without video; 0: 25. With video: the data-bin's"}
    )
    longest_clip: float = field(default=20.0, metadata={"help": "seconds of a clip beyond which it is cut off"})
    max_len_for_text: int = field(default=512, metadata={"help": "text tokens beyond this many are cut off"})
    reconstruction_weight: float = field(
        default=0.0,
        metadata={"help": "in training, weight of the error of reconstructed points; 0: nothing is decoded"},
    )
    reconstruction_points: int = field(
        default=512, metadata={"help": "pixels, and audio patches, reconstructed in each window"}
    )


def sizes_of(cfg: PerceiverEmoConfig) -> dict[str, Any]:
    """Those of the folder, or of the options; see `_perceiver.check`.

    Raises:
        MMFairseqError: an option contradicts the folder.
    """
    given = {name: getattr(cfg, option) for option, name in OF_FOLDER.items()}
    if cfg.fusion_args is None:
        usual = {name: value[0] if isinstance(value, tuple) else value for name, value in _perceiver.FIELDS.items()}
        usual = {name: value for name, value in usual.items() if not isinstance(value, type)}
        return {**usual, **given, "image_size": cfg.image_size // BLOCK}
    sizes = {str(name): value for name, value in cfg.fusion_args.items()}
    for option, name in OF_FOLDER.items():
        if given[name] not in (getattr(PerceiverEmoConfig, option), sizes[name]):
            raise MMFairseqError(
                f"{flag(option)} {given[name]}: the checkpoint of --perceiver has {sizes[name]}, leave the option away"
            )
    return sizes


def fps_of(cfg: PerceiverEmoConfig, entries: Mapping[str, Any]) -> float:
    """Frames a second of the windows.

    Args:
        cfg: options.
        entries: what the backbones are built from.

    Raises:
        MMFairseqError: a backbone does not give raw samples or pictures, or pictures of another rate.
    """
    for name, wanted in READS.items():
        if name in entries and entries[name]["name"] != wanted:
            raise MMFairseqError(
                f"--{name}-backbone {entries[name]['name']}: perceiver_emo reads raw {name}: --{name}-backbone {wanted}"
            )
    found = float(entries["video"]["args"]["fps"]) if "video" in entries else cfg.window_fps or FPS
    if cfg.window_fps not in (0, found):
        raise MMFairseqError(
            f"--window-fps {cfg.window_fps}: the pictures come at {found:g} frames a second, leave the option away"
        )
    return found


def check(cfg: PerceiverEmoConfig) -> None:
    """See that the options that are no sizes of the network are possible.

    Raises:
        MMFairseqError: names the option, its value and what is allowed.
    """
    check_least(cfg, 1, "eval_windows", "max_len_for_text", "reconstruction_points", "head_dim")
    check_least(cfg, 0, "reconstruction_weight", "window_fps")
    check_probabilities(cfg, "head_dropout", "perceiver_dropout")
    if not cfg.reconstruction_weight:
        check_unused(cfg, PerceiverEmoConfig, ("reconstruction_points",), "it needs --reconstruction-weight")
    if cfg.image_size < BLOCK or cfg.image_size % BLOCK:
        raise MMFairseqError(f"--image-size {cfg.image_size}: must be a multiple of {BLOCK}")
    if not 0 < cfg.initializer_range <= 1:
        raise MMFairseqError(f"--initializer-range {cfg.initializer_range}: above 0, at most 1")
    if not 0.1 <= cfg.longest_clip <= 3600:
        raise MMFairseqError(f"--longest-clip {cfg.longest_clip}: 0.1 to 3600 seconds")

"""Small Perceivers for tests: sizes, models, clips, and folders of a released checkpoint's layout."""

import numpy as np
import torch
from small_backbones import entry

from mm_fairseq.backbones.spec import complete
from mm_fairseq.models.perceiver import PerceiverEmo, PerceiverEmoConfig

OUTPUTS = {"emotion": 4, "events": 3}
SIDE, FPS = 16, 25.0
SIZES = {
    "num_latents": 6,
    "d_latents": 16,
    "d_model": 424,
    "num_self_attends_per_block": 2,
    "num_self_attention_heads": 2,
    "num_frames": 4,
    "image_size": SIDE,
    "samples_per_patch": 32,
    "output_num_channels": 24,
    "label_query_channels": 40,
    "head_dim": 8,
    "eval_windows": 3,
}
ENTRIES = {
    "audio": complete({"name": "waveform", "args": {}, "frozen": False}),
    "text": entry("embedding"),
    "video": complete({"name": "pixels", "args": {"size": SIDE, "fps": FPS}, "frozen": False}),
}


def config_of(names=("audio", "text", "video"), **options):
    cfg = PerceiverEmoConfig(**{**SIZES, **options})
    cfg.backbone_args = {name: ENTRIES[name] for name in names}
    return cfg


def model_of(names=("audio", "text", "video"), outputs=OUTPUTS, **options):
    """With weights large enough that everything matters."""
    torch.manual_seed(0)
    return shaken(PerceiverEmo(config_of(names, **options), outputs)).eval()


@torch.no_grad()
def shaken(model):
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        size = weight.size(-1) ** -0.5 if weight.dim() > 1 and weight.size(0) > 1 else 0.5
        weight.add_(torch.randn_like(weight) * size * (1.5 if ".query." in name or ".key." in name else 1))
    return model


def clips(names=("audio", "text", "video"), frames=(9, 2, 4, 6), gaps=()):
    """Rows of {modality: array or None}; sound and pictures end together."""
    rng = np.random.default_rng(0)
    made = {
        "audio": lambda n: rng.standard_normal(n * 640).astype(np.float32),
        "text": lambda n: rng.integers(4, 19, 3 + n).astype(np.int64),
        "video": lambda n: rng.integers(0, 256, (n, 3, SIDE, SIDE)).astype(np.uint8),
    }
    rows = [{name: made[name](count) for name in ("audio", "text", "video")} for count in frames]
    return [{name: None if (name, row) in gaps else each[name] for name in names} for row, each in enumerate(rows)]


def released(labels=9, **options):
    """Transformers' own model at a reduced size, with a config as the released one has it."""
    import transformers

    torch.manual_seed(0)
    sizes = {
        "num_latents": 6,
        "d_latents": 16,
        "d_model": 405,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 1,
        "num_frames": 4,
        "image_size": SIDE // 4,
        "output_shape": [1, 4, SIDE, SIDE],
        "output_num_channels": 24,
        "_label_trainable_num_channels": 40,
        "num_labels": labels,
    }
    config = transformers.PerceiverConfig(**{**sizes, **options})
    return shaken(transformers.PerceiverForMultimodalAutoencoding(config)).eval()

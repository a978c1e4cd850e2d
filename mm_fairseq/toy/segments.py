"""Small wav2vec 2.0 and a random R3D-18, for nodes of audio and video, in the forms of their public files.

====================  ===============================================================================
file                  form
====================  ===============================================================================
wav2vec2/wav2vec2.pt  `cfg`, as fairseq saves; 64 wide, two transformer layers, random filters
r3d_18/r3d_18.pth     torchvision's state dict at its full size, in float16 to keep it small; random
====================  ===============================================================================
"""

from pathlib import Path

import torch
from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Model
from torchvision.models.video import r3d_18

from .saving import parse, save

DIM = 64
_EXTRACTOR = [(DIM, 10, 5), *[(DIM, 3, 2)] * 4, *[(DIM, 2, 2)] * 2]


def write(out: Path, seed: int) -> None:
    """Write the files of the table above under `out`."""
    for name in ("wav2vec2", "r3d_18"):
        (out / name).mkdir(parents=True, exist_ok=True)
    _write_wav2vec2(out / "wav2vec2" / "wav2vec2.pt", seed)
    torch.manual_seed(seed)
    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in r3d_18().state_dict().items()
    }
    torch.save(weights, out / "r3d_18" / "r3d_18.pth")


def _write_wav2vec2(path: Path, seed: int) -> None:
    sizes = {
        "conv_feature_layers": str(_EXTRACTOR),
        "encoder_layers": 2,
        "encoder_embed_dim": DIM,
        "encoder_ffn_embed_dim": 2 * DIM,
        "encoder_attention_heads": 4,
        "conv_pos": 16,
        "conv_pos_groups": 4,
        "final_dim": 16,
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in sizes.items()]
    _, cfg = parse(["--task=audio_pretraining", "--arch=wav2vec2", "--criterion=wav2vec", *flags])
    torch.manual_seed(seed)
    model = Wav2Vec2Model.build_model(cfg.model, task=None)
    save(path, None, cfg, model.state_dict())

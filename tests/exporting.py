"""For tests of export: a small model of each architecture, rows of unequal lengths, files tried on both; the script."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from perceiver_models import OUTPUTS as PERCEIVED
from perceiver_models import SIDE, clips
from perceiver_models import model_of as perceiver
from small_backbones import entry, items
from torch import nn

from mm_fairseq.datasets import Limits
from mm_fairseq.inference.export import parity
from mm_fairseq.inference.export.capture import capture
from mm_fairseq.inference.export.formats import FORMATS, write
from mm_fairseq.inference.export.parts import parts_of
from mm_fairseq.inference.export.samples import Sample
from mm_fairseq.models.av_graph import AVGraph, AVGraphConfig
from mm_fairseq.models.mult import CrossmodalMult, CrossmodalMultConfig
from mm_fairseq.models.ssl_fusion import SSLFusion, SSLFusionConfig
from mm_fairseq.models.wave_text import WaveText, WaveTextConfig
from mm_fairseq.modules.hetero import NodeNorm

OUTPUTS = {"emotion": 4, "sentiment": 1}
LENGTHS = {"audio": (4000, 900, 700, 2400), "text": (9, 3, 2, 5), "video": (3, 1, 2, 1)}
SMALL = {"audio": "mfcc", "text": "embedding", "video": "features"}
GRAPH = {"audio": "wav2vec2_segments", "video": "features"}
WIDTH = 5  # of features in the place of video

SCRIPT = Path(__file__).parents[1] / "examples/export/run_onnx.py"
ALONE = """
import runpy, sys
class Closed:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "fairseq", "mm_fairseq", "soundfile", "onnx", "transformers"):
            raise ImportError(name)
sys.meta_path.insert(0, Closed())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
strange = {name.partition(".")[0] for name in sys.modules} & {"torch", "fairseq", "mm_fairseq", "soundfile", "onnx"}
assert not strange, strange
"""


def script(*args):
    """What became of the script, where neither torch nor fairseq nor this package can be imported."""
    return subprocess.run([sys.executable, "-c", ALONE, SCRIPT, *map(str, args)], capture_output=True, text=True)


def run_alone(*args):
    """What it answers."""
    done = script(*args)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def _of(kind, config, backbones):
    torch.manual_seed(0)
    config.backbone_args = {name: entry(backbone) for name, backbone in backbones.items()}
    return widened(kind(config, OUTPUTS))


def widened(model):
    """With weights large enough that everything matters, and norms that are not the identity."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "backbones" not in name:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    for norm in model.modules():
        if isinstance(norm, NodeNorm):
            norm.running_mean.normal_(std=0.2)
            norm.running_var.uniform_(0.5, 2)
    return model.eval().requires_grad_(False)


def ssl_fusion(backbones=SMALL, **options):
    sizes = {"encoder_layers": 1, "encoder_layers_cross": 1, "encoder_attention_heads": 2, "encoder_ffn_embed_dim": 16}
    return _of(SSLFusion, SSLFusionConfig(**{**sizes, "embed_dim": 8, **options}), backbones)


def crossmodal_mult(backbones=SMALL, **options):
    sizes = {"d_model": 8, "layers": 1, "num_heads": 2}
    return _of(CrossmodalMult, CrossmodalMultConfig(**{**sizes, **options}), backbones)


def wave_text(**options):
    sizes = {"d_model": 8, "num_heads": 2, "ffn_dim": 16, "audio_representation_layers": 1}
    return _of(WaveText, WaveTextConfig(**{**sizes, **options}), {"audio": "wave_pieces", "text": "embedding"})


def av_graph(**options):
    sizes = {"hidden_channels": 8, "num_layers": 2}
    return _of(AVGraph, AVGraphConfig(**{**sizes, **options}), GRAPH)


def perceiver_emo(**options):
    return perceiver(("audio", "text", "video"), **options).requires_grad_(False)


ARCHITECTURES = {
    "ssl_fusion": ssl_fusion,
    "crossmodal_mult": crossmodal_mult,
    "wave_text": wave_text,
    "av_graph": av_graph,
    "perceiver_emo": perceiver_emo,
}


def samples_of(model, perceived=False):
    """Four rows; of the last nothing but one modality."""
    names = model.backbones.names
    if perceived:
        rows = clips(tuple(names))
    else:
        kinds = {name: "any" if name == "video" else name for name in names}
        made = {name: items(kinds[name], LENGTHS[name], seed=3) for name in names}
        rows = [{name: made[name][row] for name in names} for row in range(4)]
    rows[3] = {names[0]: rows[3][names[0]]}
    return [Sample(f"row {number}", row, real=True) for number, row in enumerate(rows)]


def parts_for(model, part="model", perceived=False):
    """The parts of such a model."""
    limits = {name: Limits(*each) for name, each in model.input_limits().items()}
    targets = PERCEIVED if perceived else OUTPUTS
    dims = {} if perceived else {"video": WIDTH}
    return parts_of(model, targets, limits, dims, SIDE if perceived else 1, part)


def tried(part, samples, kinds, folder):
    """What the parity check says of files of a part: format to worst difference, of how large numbers."""
    program, found = capture(part), {}
    for kind in kinds:
        path = folder / f"{part.name}{FORMATS[kind].suffix}"
        write(program, part, path, kind)
        told = parity.compare(part, FORMATS[kind].open(path, part), samples)
        assert np.isfinite(told["worst"]), told
        found[kind] = told["worst"]
    return found

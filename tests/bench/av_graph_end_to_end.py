"""CPU-seconds a clip of `av_graph` from samples and pictures to gradients of both backbones, without an optimizer.

    python tests/bench/av_graph_end_to_end.py [--steps N] [--clips N] [--seconds S] [--quick]

20 audio segments of 480 ms and 10 video segments of one second in a clip of 10 s (fewer in a shorter one), 20 pictures
of 256 x 256 a second, random weights, batches of two clips, two threads. The reference is the encoders' own forward and
backward on the same segments, cut and prepared beforehand: fairseq's convolutions, torchvision's R3D-18. Both are taken
in turns; the last line is JSON; `ratio`, the median over the turns, must stay below `limit`, 1.05.
"""

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded

import resource
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from calibration import scale
from fairseq.models.wav2vec.wav2vec2 import ConvFeatureExtractionModel
from torch import Tensor, nn
from torchvision.models.video import r3d_18

from mm_fairseq.backbones.spec import complete
from mm_fairseq.backbones.wav2vec2 import EXTRACTOR
from mm_fairseq.models.av_graph import AVGraph, AVGraphConfig

LIMIT = 1.05
CLASSES, FPS, RATE, SIDE = 33, 20, 16000, 256
WINDOWS = {"audio": (7680, 8017), "video": (20, 20)}
BACKBONES = {"audio": "wav2vec2_segments", "video": "r3d_18"}


def model_of() -> AVGraph:
    """With both backbones, which learn."""
    cfg = AVGraphConfig()
    cfg.backbone_args = {
        name: complete({"name": BACKBONES[name], "args": {"window": window, "hop": hop}, "frozen": False, "sha256": {}})
        for name, (window, hop) in WINDOWS.items()
    }
    return AVGraph(cfg, {"event": CLASSES}).train()


def segments(x: Tensor, name: str) -> Tensor:
    """All segments of clips (B, T, ...), time behind the batch; the last one of a clip ends with it."""
    window, hop = WINDOWS[name]
    last = x.size(1) - window
    starts = [min(number * hop, last) for number in range(-(-last // hop) + 1)]
    return torch.cat([x[:, start : start + window] for start in starts])


def seconds(step: Callable[[], Tensor], model: nn.Module) -> float:
    """CPU-seconds of a forward and backward pass."""
    model.zero_grad(set_to_none=True)
    start = time.process_time()
    step().backward()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="turns of which the median is taken (default: 5)")
    parser.add_argument("--clips", type=int, default=2, help="clips of a batch (default: 2)")
    parser.add_argument("--seconds", type=int, default=10, help="of a clip (default: 10)")
    parser.add_argument("--quick", action="store_true", help="two turns of one clip of two seconds")
    given = parser.parse_args()
    steps, clips, length = (2, 1, 2) if given.quick else (given.steps, given.clips, given.seconds)
    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = model_of()
    inputs = {
        "audio": 0.1 * torch.randn(clips, length * RATE),
        "video": torch.randint(0, 256, (clips, length * FPS, 3, SIDE, SIDE), dtype=torch.uint8),
    }
    masks = {name: torch.zeros(x.shape[:2], dtype=torch.bool) for name, x in inputs.items()}
    target = torch.randint(CLASSES, (clips,))
    bare = nn.ModuleDict({"audio": ConvFeatureExtractionModel(list(EXTRACTOR)), "video": r3d_18()}).train()
    bare["video"].fc = nn.Identity()
    pictures = torch.stack([model.backbones.encoders["video"].preset(each) for each in inputs["video"]])
    cut = {
        "audio": segments(inputs["audio"], "audio"),
        "video": segments(pictures.transpose(1, 2), "video").transpose(1, 2).contiguous(),  # N x 3 x T x H x W
    }

    def ours() -> Tensor:
        return F.cross_entropy(model(inputs, masks)["logits"]["event"], target)

    def theirs() -> Tensor:
        return bare["audio"](cut["audio"]).mean(2).square().mean() + bare["video"](cut["video"]).square().mean()

    machine = scale(3 if given.quick else 7)
    pairs = [(seconds(ours, model), seconds(theirs, bare)) for _ in range(steps + 1)][1:]
    value, reference = (statistics.median(each) / clips for each in zip(*pairs, strict=True))
    result = {
        "name": "av_graph_end_to_end",
        "value": round(value, 3),
        "unit": "CPU-seconds a sample",
        "reference": round(reference, 3),
        "ratio": round(statistics.median(one / other for one, other in pairs), 4),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "scale": round(machine, 3),
        "limit": LIMIT,
        "seconds_a_clip": length,
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()

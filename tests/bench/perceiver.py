"""CPU-seconds a sample of training `perceiver_emo` at full size, the label alone decoded, batch 1, Adam included.

    python tests/bench/perceiver.py [--steps N] [--quick]

The released configuration, random weights: 784 latents of 512, 8 layers, 16 frames of 224x224 and their audio, 52,097
tokens of 704, two threads. The reference is transformers' own model with the same weights on the same window, asked
for the label and, for it cannot do without, for one pixel and one audio patch. The last line is JSON; `ratio` must stay
below `limit`.
"""

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded

import resource
import statistics
import time

import torch
import torch.nn.functional as F
import torchaudio
import transformers
from torch import Tensor, nn

from mm_fairseq.backbones.spec import complete
from mm_fairseq.models._perceiver import whole
from mm_fairseq.models.perceiver import PerceiverEmo, PerceiverEmoConfig

LIMIT = 0.9
CLASSES = 6
POINTS = {"image": torch.zeros(1, dtype=torch.long), "audio": torch.zeros(1, dtype=torch.long), "label": None}


class Original(nn.Module):
    """Transformers' model on inputs as ours takes them."""

    def __init__(self, ours: PerceiverEmo) -> None:
        super().__init__()
        self.model = whole(ours.sizes, ours.sizes["width"] - 4)
        own = self.model.perceiver.state_dict()
        shared = {key: value for key, value in ours.net.state_dict().items() if own[key].shape == value.shape}
        self.model.perceiver.load_state_dict({**own, **shared})

    def forward(self, inputs: dict[str, Tensor], padding_masks: dict[str, Tensor]) -> Tensor:
        audio = torchaudio.functional.resample(inputs["audio"], 16000, 48000)
        given = {"audio": audio[..., None], "image": inputs["video"] / 255}
        given["label"] = torch.zeros(len(audio), self.model.config.num_labels)
        return self.model(inputs=given, subsampled_output_points=POINTS).logits["label"]


def model_of() -> PerceiverEmo:
    """With the sizes of the released checkpoint."""
    cfg = PerceiverEmoConfig()
    entries = {"audio": {"name": "waveform", "args": {}}, "video": {"name": "pixels", "args": {}}}
    cfg.backbone_args = {name: complete(entry | {"frozen": False, "sha256": {}}) for name, entry in entries.items()}
    model = PerceiverEmo(cfg, {"emotion": CLASSES})
    with torch.no_grad():
        for weight in model.parameters():  # so much that every part makes a difference
            weight.add_(0.03 * torch.randn_like(weight))
    return model


def batch_of() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """One window of noise: 0.64 seconds."""
    inputs = {
        "audio": 0.1 * torch.randn(1, 16 * 640),
        "video": torch.randint(0, 256, (1, 16, 3, 224, 224), dtype=torch.uint8),
    }
    return inputs, {name: torch.zeros(x.shape[:2], dtype=torch.bool) for name, x in inputs.items()}


def cost(model: nn.Module, steps: int) -> tuple[float, float]:
    """CPU-seconds and seconds of a step, the median over steps behind the first."""
    optimizer, (inputs, masks) = torch.optim.Adam(model.train().parameters(), 1e-5), batch_of()
    seen = []
    for _ in range(steps + 1):
        start = time.process_time(), time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        out = model(inputs, masks)
        logits = out["logits"]["emotion"] if isinstance(out, dict) else out
        F.cross_entropy(logits, torch.tensor([2])).backward()
        optimizer.step()
        seen.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    used, passed = zip(*seen[1:], strict=True)
    return statistics.median(used), statistics.median(passed)


@torch.no_grad()
def difference(model: PerceiverEmo, original: Original) -> float:
    """Largest one between the decoded labels, by the same classifier."""
    inputs, masks = batch_of()
    ours = model.eval()(inputs, masks)["features"]["fused"]
    head = original.model.perceiver.output_postprocessor.modalities["label"].classifier
    return float((head(ours) - original.eval()(inputs, masks)).abs().max())


def peak() -> float:
    """Memory in GB, the most so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="steps of which the median is taken (default: 5)")
    parser.add_argument("--quick", action="store_true", help="one step each")
    given = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    steps = 1 if given.quick else given.steps
    model = model_of()
    value, seconds = cost(model, steps)
    ours = peak()
    original = Original(model)
    reference, theirs = cost(original, min(steps, 3))
    result = {
        "name": "perceiver",
        "value": round(value, 2),
        "unit": "CPU-seconds a sample",
        "reference": round(reference, 2),
        "ratio": round(value / reference, 4),
        "limit": LIMIT,
        "peak_rss_gb": ours,
        "reference_peak_rss_gb": peak(),
        "seconds": round(seconds, 2),
        "reference_seconds": round(theirs, 2),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "largest_difference": difference(model, Original(model)),
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()

"""Steps of training `crossmodal_mult` on random features, and the same network as MulT's own code computes it."""

import argparse
import copy
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded

import resource
import statistics
import time
from typing import Any

import torch
import torch.nn.functional as F
from calibration import scale
from fairseq.optim.adam import Adam
from torch import Tensor, nn

from mm_fairseq.backbones.spec import complete
from mm_fairseq.models.mult import CrossmodalMult, CrossmodalMultConfig
from mm_fairseq.modules.dropout import Dropout
from mm_fairseq.modules.transformer import TransformerLayer


class PlainDropout(nn.Dropout):
    """Torch's own."""


class PlainLayer(TransformerLayer):
    """Torch's attention with its weights written out, for rows of one length; every frame is computed."""

    def forward(self, x: Tensor, padding_mask: Tensor, key: Any = None, *others: Any) -> Tensor:  # type: ignore[override]
        query = self.norm1(x)
        keys = query if key is None else self.norm1(key)
        x = x + self.dropout1(self.self_attn(query, keys, keys)[0])
        return x + self.dropout2(self.linear2(self.dropout(F.relu(self.linear1(self.norm2(x))))))


def plain(model: nn.Module) -> nn.Module:
    """A copy that computes the same the long way."""
    model = copy.deepcopy(model)
    for module in model.modules():
        for kind, other in ((Dropout, PlainDropout), (TransformerLayer, PlainLayer)):
            if type(module) is kind:
                module.__class__ = other
    model.fusion.last = False  # of the last layer, too
    return model


def model_of(widths: dict[str, int], **options: Any) -> CrossmodalMult:
    """On features of these widths, with a head of four classes."""
    cfg = CrossmodalMultConfig(**options)
    entries = {name: {"name": "features", "args": {"dim": width}} for name, width in widths.items()}
    cfg.backbone_args = {name: complete(entry | {"frozen": False, "sha256": {}}) for name, entry in entries.items()}
    return CrossmodalMult(cfg, {"emotion": 4})


class Training:
    """Steps on one batch of rows of full length.

    Args:
        frames: modality to frames and width.
        batch: rows.
    """

    def __init__(self, frames: dict[str, tuple[int, int]], batch: int) -> None:
        torch.manual_seed(0)
        self.inputs = {name: torch.randn(batch, *shape) for name, shape in frames.items()}
        self.masks = {name: torch.zeros(batch, count, dtype=torch.bool) for name, (count, _) in frames.items()}
        self.target, self.batch = torch.randint(4, (batch,)), batch

    def logits(self, model: nn.Module) -> Tensor:
        return model(self.inputs, self.masks)["logits"]["emotion"]

    def cost(self, model: nn.Module, steps: int) -> float:
        """CPU-seconds a sample, the median over steps behind the first."""
        optimizer, seen = Adam(model.train().parameters(), 1e-3), []
        for _ in range(steps + 1):
            start = time.process_time()
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(self.logits(model), self.target).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.8)
            optimizer.step()
            seen.append((time.process_time() - start) / self.batch)
        return statistics.median(seen[1:])


def measure(name: str, limit: float, frames: dict[str, tuple[int, int]], batch: int, **options: Any) -> None:
    """Read the command line, train, and print the figures as one line of JSON."""
    parser = argparse.ArgumentParser(description=f"CPU-seconds a sample of training: {name}")
    parser.add_argument("--steps", type=int, default=5, help="steps of which the median is taken (default: 5)")
    parser.add_argument("--quick", action="store_true", help="one step, the reference on a quarter of the rows")
    given = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    model, training = model_of({key: width for key, (_, width) in frames.items()}, **options), Training(frames, batch)
    few = Training(frames, max(1, batch // 4))
    value = training.cost(model, 1 if given.quick else given.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    machine = [scale(3 if given.quick else 7)]
    reference = (few if given.quick else training).cost(plain(model), 1)
    machine.append(scale(3 if given.quick else 7))
    with torch.no_grad():
        difference = few.logits(model.eval()) - few.logits(plain(model).eval())
    factor = statistics.mean(machine)
    result = {
        "name": name,
        "value": round(value, 4),
        "unit": "CPU-seconds a sample",
        "reference": round(reference, 4),
        "ratio": round(value / reference, 4),
        "peak_rss_gb": round(peak, 2),
        "scale": round(factor, 3),
        "limit": round(limit * factor, 4),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "largest_difference": float(difference.abs().max()),
    }
    print(json.dumps(result))  # noqa: T201

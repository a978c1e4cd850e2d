"""How fast this machine is now: CPU-seconds measured here, divided by `scale`, compare with those of other machines."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

QUIET = {"products": 0.71, "memory": 0.163}  # CPU-seconds where limits were set: two cores, nothing else running


def cpu_seconds(step: Callable[[], object], repeats: int) -> float:
    """Median user and system time, of all threads, of a step that has run once before."""
    step()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        step()
        found.append(time.process_time() - start)
    return statistics.median(found)


def scale(repeats: int = 7) -> float:
    """Geometric mean of the times of matrix products and of what the memory bounds; 1 where limits were set."""
    layer = nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True)
    x, scores = torch.randn(16, 200, 512), torch.randn(64, 400, 400, requires_grad=True)

    def products() -> None:
        layer.zero_grad()
        layer(x).square().mean().backward()

    def memory() -> None:
        scores.grad = None
        scores.softmax(-1).square().sum().backward()

    ratios = [cpu_seconds(step, repeats) / QUIET[name] for name, step in (("products", products), ("memory", memory))]
    return (ratios[0] * ratios[1]) ** 0.5

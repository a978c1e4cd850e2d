"""Changes to the pictures of an utterance, (T, 3, H, W)."""

import numpy as np


def drop_frames(x: np.ndarray, probability: float, shortest: int, rng: np.random.Generator) -> np.ndarray:
    """Leave pictures out, each with a probability; what is left moves together. At least `shortest`, and one, stay."""
    numbers = rng.random(len(x))
    kept = numbers >= probability
    needed = min(len(x), max(1, shortest))
    if kept.sum() < needed:
        kept[np.argsort(-numbers)[:needed]] = True
    return x[kept]


def flip(x: np.ndarray) -> np.ndarray:
    """Left and right exchanged in every picture; the layout in memory stays."""
    return x[..., ::-1].copy(order="K")

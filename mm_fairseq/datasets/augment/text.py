"""Changes to the tokens of a text."""

import numpy as np


def drop_words(x: np.ndarray, probability: float, shortest: int, rng: np.random.Generator) -> np.ndarray:
    """Leave tokens out, each with a probability; never the symbols at either end.

    Args:
        x: (T), between the symbols.
        probability: of each token.
        shortest: what T must not fall below; one token between the symbols stays besides.
        rng: where randomness comes from.
    """
    numbers = rng.random(max(0, len(x) - 2))
    kept = numbers >= probability
    needed = min(len(numbers), max(1, shortest - 2))
    if kept.sum() < needed:
        kept[np.argsort(-numbers)[:needed]] = True
    return np.concatenate([x[:1], x[1:-1][kept], x[-1:]]) if len(x) > 2 else x

"""Changes that the model makes to a batch, and what it is told of them.

B rows, K rectangles.
"""

from collections.abc import Sequence

import numpy as np


def masks(
    times: int, time_width: float, channels: int, channel_width: float, rng: np.random.Generator
) -> list[list[float]]:
    """Rectangles to erase in the features of an utterance (SpecAugment, Park et al. 2019, arXiv 1904.08779, section 2).

    Args:
        times: how many stretches of time, through all channels.
        time_width: the widest, as a share of the frames; the width is drawn evenly from 0 to it.
        channels: how many bands of channels, through all frames.
        channel_width: the widest, as a share of the channels.
        rng: where randomness comes from.

    Returns:
        `times + channels` of [first frame, end frame, first channel, end channel], as shares.
    """
    found: list[list[float]] = []
    for number, widest in ((times, time_width), (channels, channel_width)):
        for width, place in zip(rng.random(number) * widest, rng.random(number), strict=True):
            start = float(place * (1 - width))
            span = [start, start + float(width)]
            found.append([*span, 0.0, 1.0] if len(found) < times else [0.0, 1.0, *span])
    return found


def partners(numbers: Sequence[float]) -> np.ndarray:
    """Row to the row that it is mixed with: the next lower one by a number drawn for each utterance. Shape (B).

    Who is mixed with whom depends on the utterances of the batch, not on their order in it.
    """
    order = np.argsort(numbers, kind="stable")
    found = np.empty(len(order), np.int64)
    found[order] = np.roll(order, 1)
    return found

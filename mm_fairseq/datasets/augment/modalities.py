"""Modalities that are withheld in training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def drop_modalities(
    sample: dict[str, Any], probability: float, fill: Mapping[str, float], seed: int, update: int
) -> dict[str, Any]:
    """Withhold modalities of utterances at random, as if they were missing; one that is there always stays.

    What is dropped depends on seed, update and utterance alone, not on batches or ranks.

    Args:
        sample: a collated batch; left as it is.
        probability: of each modality that an utterance has.
        fill: modality to the value of padding.
        seed: of the run.
        update: number of the update.

    Returns:
        The batch with other `net_input`.
    """
    inputs, masks = sample["net_input"]["inputs"], sample["net_input"]["padding_masks"]
    names = sorted(inputs)
    there = np.stack([~masks[name].all(1).cpu().numpy() for name in names], axis=1)
    drop = np.zeros_like(there)
    for row, utterance in enumerate(sample["id"].tolist()):
        numbers = np.random.default_rng([seed, update, utterance]).random(len(names))
        drop[row] = there[row] & (numbers < probability)
        if there[row].any() and (drop[row] == there[row]).all():
            drop[row, np.where(there[row], numbers, -1).argmax()] = False
    out: dict[str, dict[str, torch.Tensor]] = {"inputs": {}, "padding_masks": {}}
    for column, name in enumerate(names):
        gone = torch.from_numpy(drop[:, column]).to(masks[name].device)
        x = inputs[name]
        out["padding_masks"][name] = masks[name] | gone[:, None]
        out["inputs"][name] = x.masked_fill(gone.view(-1, *[1] * (x.dim() - 1)), fill.get(name, 0))
    return sample | {"net_input": sample["net_input"] | out}

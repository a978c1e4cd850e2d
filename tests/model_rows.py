"""Ragged batches for the tests of models."""

import torch
from small_backbones import items

from mm_fairseq.datasets.collate import pad
from mm_fairseq.datasets.raw_items import EMPTY
from mm_fairseq.manifest import MODALITIES

GAPS = {  # (modality, row) that are missing out of four rows
    "one each": {("audio", 0), ("text", 1), ("video", 2)},
    "one left each": {(name, row) for row, kept in enumerate(MODALITIES) for name in MODALITIES if name != kept},
    "nothing in row 1": {(name, 1) for name in MODALITIES},
    "no audio at all": {("audio", row) for row in range(4)},
    "nothing at all": {(name, row) for row in range(4) for name in MODALITIES},
}


def rows_of(lengths, names, gaps=()):
    """Four rows of {modality: array, or None at a gap (modality, row)}, as long as `lengths` says of each modality."""
    made = {name: items(name, lengths[name]) for name in names}
    return [{name: None if (name, row) in gaps else made[name][row] for name in names} for row in range(4)]


def batch_of(rows, names):
    """Inputs and padding masks of `rows`."""
    padded = {name: pad([row[name] for row in rows], 1 if name == "text" else 0, EMPTY[name]) for name in names}
    return {name: x for name, (x, _) in padded.items()}, {name: mask for name, (_, mask) in padded.items()}


def logits_of(model, rows, names):
    """Those of all targets side by side, (B, outputs), on the CPU."""
    device = next(model.parameters()).device
    inputs, masks = ({name: x.to(device) for name, x in part.items()} for part in batch_of(rows, names))
    with torch.no_grad():
        return torch.cat(list(model(inputs, masks)["logits"].values()), dim=-1).cpu()

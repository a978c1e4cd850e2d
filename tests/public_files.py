"""Checkpoints in the forms of fairseq's public files, and what a model makes of them."""

from argparse import Namespace

import torch
from fairseq.data import Dictionary
from omegaconf import OmegaConf

from mm_fairseq.backbones import BackboneSet, resolve


def load(modality, text):
    """The backbone set of one specification, with its pretrained weights, in eval mode."""
    found = resolve({modality: text}, set(), {})
    backbones = BackboneSet(found.entries).eval()
    backbones.load_pretrained(found)
    return backbones


def features(backbones, modality, x):
    """What one unpadded batch gives."""
    mask = torch.zeros(x.shape[:2], dtype=torch.bool)
    with torch.no_grad():
        return backbones({modality: x}, {modality: mask})[modality].x


def save_args(path, model, options, task, names=()):
    """As fairseq saved until 2020: every option in one Namespace, task and model alike."""
    history = [{"criterion_name": "", "optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}]
    args = Namespace(**{**plain(options), **task, "task": task["_name"], **dict(names)})
    del args._name
    state = {"args": args, "model": model.state_dict(), "optimizer_history": history, "extra_state": {"epoch": 1}}
    torch.save({**state, "last_optimizer_state": None}, path)
    return path


def save_cfg(path, model, options, task, names=()):
    """As fairseq saves since then: `cfg` by parts, and what the task must remember."""
    cfg = {"_name": None, "common": {"seed": 1}, "task": dict(task), "model": plain(options) | dict(names)}
    dictionary = Dictionary()
    dictionary.add_symbol("17")
    state = {"args": None, "cfg": cfg, "model": model.state_dict(), "criterion": None, "optimizer_history": []}
    torch.save({**state, "task_state": {"dictionaries": [dictionary]}, "last_optimizer_state": None}, path)
    return path


def plain(options):
    """A configuration of fairseq as a dictionary; interpolations, which need the rest of it, are left out."""
    values = OmegaConf.to_container(OmegaConf.structured(options), resolve=False, enum_to_str=True)
    return {key: value for key, value in values.items() if "${" not in str(value)}


SAVERS = {"args": save_args, "cfg": save_cfg}

"""How fairseq saves: what the small checkpoints have in common."""

import warnings
from argparse import Namespace
from pathlib import Path

import torch
from fairseq import options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models.roberta import RobertaModel
from fairseq.tasks.masked_lm import MaskedLMTask
from omegaconf import DictConfig, OmegaConf
from torch import nn


def parse(flags: list[str]) -> tuple[Namespace, DictConfig]:
    """What `fairseq-train` would make of these flags: the old namespace and the new configuration."""
    args = options.parse_args_and_arch(options.get_training_parser(), input_args=["data-bin", *flags])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # hydra: fairseq calls it by names of its past
        return args, convert_namespace_to_omegaconf(args)


def save(path: Path, args: Namespace | None, cfg: DictConfig | None, weights: dict[str, torch.Tensor]) -> None:
    """Save the state that fairseq's trainer saves, without an optimizer."""
    history = {"criterion_name": "", "optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}
    iterator = {"epoch": 1, "iterations_in_epoch": 0, "shuffle": True}
    state: dict = {
        "args": args,
        "model": weights,
        "optimizer_history": [history],
        "extra_state": {"train_iterator": iterator, "val_loss": 0.0},
        "last_optimizer_state": None,
    }
    if cfg is not None:
        plain = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
        state |= {"cfg": plain, "criterion": None, "task_state": {}}
    torch.save(state, path)  # not as trainings here do, which write plain types and a checksum beside them


def build_bert(dictionary: Path, dim: int, tokens: int, seed: int) -> tuple[Namespace, DictConfig, nn.Module]:
    """A RoBERTa of two layers over a dictionary: its options in both forms, and the model."""
    sizes = {
        "encoder_layers": 2,
        "encoder_embed_dim": dim,
        "encoder_ffn_embed_dim": 2 * dim,
        "encoder_attention_heads": 4,
        "max_positions": tokens,
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in sizes.items()]
    flags += ["--task=masked_lm", "--arch=roberta", "--criterion=masked_lm", f"--tokens-per-sample={tokens}"]
    args, cfg = parse(flags)
    torch.manual_seed(seed)
    model = RobertaModel.build_model(cfg.model, MaskedLMTask(cfg.task, Dictionary.load(str(dictionary))))
    _widen(model)
    return args, cfg, model


@torch.no_grad()
def _widen(model: nn.Module) -> None:
    """Give every linear layer unit gain, so that attention mixes the words visibly, and mute the positions a little."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0, module.in_features**-0.5)
        elif name.endswith("embed_positions"):
            module.weight *= 0.3  # type: ignore[operator]


def old_roberta_keys(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename to the layout of 2019: `decoder.`, `emb_layer_norm`, one fused projection for query, key and value."""
    old = {}
    for key, value in state.items():
        new = key.replace("encoder.", "decoder.", 1).replace("layernorm_embedding", "emb_layer_norm")
        if ".self_attn.q_proj." in key:
            value = torch.cat([state[key.replace("q_proj", name)] for name in ("q_proj", "k_proj", "v_proj")])
            new = new.replace("q_proj.", "in_proj_")
        elif ".self_attn.k_proj." in key or ".self_attn.v_proj." in key:
            continue
        old[new] = value
    return old

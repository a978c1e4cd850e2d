"""Small pretrained checkpoints, made by fairseq's own classes and saved in fairseq's own forms.

=================================  =======================================================================
file                               form
=================================  =======================================================================
wav2vec/wav2vec.pt                 `cfg`, as fairseq >= 0.10 saves
wav2vec/wav2vec_args.pt            `args`, with the task and architecture names of wav2vec_large.pt
roberta/model.pt                   `cfg`; beside it dict.txt, encoder.json, vocab.bpe
roberta_args/model.pt              `args`, with the key names of roberta.large/model.pt; same companions
fabnet/fabnet.pt, fabnet_train.pt  see `fabnet`
=================================  =======================================================================

The two forms of a network hold the same weights. The weights are random, but scaled so that a linear read-out of the
features finds what the toy corpus shows.
"""

import shutil
import warnings
from argparse import Namespace
from pathlib import Path

import torch
from fairseq import checkpoint_utils, options
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models.roberta import RobertaModel
from fairseq.models.wav2vec.wav2vec import Wav2VecModel
from fairseq.tasks.masked_lm import MaskedLMTask
from omegaconf import DictConfig, OmegaConf
from torch import nn
from tqdm import tqdm

from . import fabnet
from .bpe import write_bpe
from .sentences import every_word

WAV2VEC_DIM = 64
ROBERTA_DIM = 64
MERGES = 400
MAX_TOKENS = 128

_EXTRACTOR = [(WAV2VEC_DIM, 10, 5), (WAV2VEC_DIM, 8, 4), *[(WAV2VEC_DIM, 4, 2)] * 3, *[(WAV2VEC_DIM, 1, 1)] * 2]
_AGGREGATOR = [(WAV2VEC_DIM, kernel, 1) for kernel in (2, 3, 4)]
_COMPANIONS = ("dict.txt", "encoder.json", "vocab.bpe")


def write(out: Path, seed: int) -> None:
    """Write all the files of the table above under `out`; the same seed gives the same weights."""
    makers = {"wav2vec": write_wav2vec, "roberta": write_roberta, "fabnet": fabnet.write}
    with torch.random.fork_rng(devices=[]):
        for name, make in tqdm(makers.items(), desc="toy checkpoints", disable=None):
            (out / name).mkdir(parents=True, exist_ok=True)
            make(out / name, seed)


def write_wav2vec(folder: Path, seed: int) -> None:
    settings = {
        "conv_feature_layers": str(_EXTRACTOR),
        "conv_aggregator_layers": str(_AGGREGATOR),
        "prediction_steps": 2,
        "residual_scale": 0.5,
    }
    # skip_connections_agg and log_compression are True by default, and fairseq's flags of those names turn them off.
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    args, cfg = _parse(["--task=audio_pretraining", "--arch=wav2vec", "--criterion=wav2vec", "--infonce", *flags])
    torch.manual_seed(seed)
    model = Wav2VecModel.build_model(cfg.model, task=None)
    _save(folder / "wav2vec.pt", None, cfg, model.state_dict())
    names = {"task": "speech_pretraining", "arch": "audio_cpc", "criterion": "binary_cross_entropy"}
    defaults: dict = OmegaConf.to_container(cfg.model, resolve=True, enum_to_str=True)  # type: ignore[assignment]
    old = Namespace(**{**defaults, **vars(args), **names})
    _save(folder / "wav2vec_args.pt", old, None, model.state_dict())


def write_roberta(folder: Path, seed: int) -> None:
    write_bpe(folder, every_word(), MERGES)
    sizes = {
        "encoder_layers": 2,
        "encoder_embed_dim": ROBERTA_DIM,
        "encoder_ffn_embed_dim": 2 * ROBERTA_DIM,
        "encoder_attention_heads": 4,
        "max_positions": MAX_TOKENS,
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in sizes.items()]
    flags += ["--task=masked_lm", "--arch=roberta", "--criterion=masked_lm", f"--tokens-per-sample={MAX_TOKENS}"]
    args, cfg = _parse(flags)
    torch.manual_seed(seed)
    model = RobertaModel.build_model(cfg.model, MaskedLMTask(cfg.task, Dictionary.load(str(folder / "dict.txt"))))
    _widen(model)
    _save(folder / "model.pt", None, cfg, model.state_dict())

    old = folder.with_name("roberta_args")
    old.mkdir(exist_ok=True)
    for name in _COMPANIONS:
        shutil.copyfile(folder / name, old / name)
    _save(old / "model.pt", args, None, _old_roberta_keys(model.state_dict()))


def _parse(flags: list[str]) -> tuple[Namespace, DictConfig]:
    """What `fairseq-train` would make of these flags: the old namespace and the new configuration."""
    args = options.parse_args_and_arch(options.get_training_parser(), input_args=["data-bin", *flags])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # hydra: fairseq calls it by names of its past
        return args, convert_namespace_to_omegaconf(args)


def _save(path: Path, args: Namespace | None, cfg: DictConfig | None, weights: dict[str, torch.Tensor]) -> None:
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
    checkpoint_utils.torch_persistent_save(state, str(path))


@torch.no_grad()
def _widen(model: nn.Module) -> None:
    """Give every linear layer unit gain, so that attention mixes the words visibly, and mute the positions a little."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0, module.in_features**-0.5)
        elif name.endswith("embed_positions"):
            module.weight *= 0.3  # type: ignore[operator]


def _old_roberta_keys(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
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

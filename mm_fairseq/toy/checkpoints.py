"""Small pretrained checkpoints, made by fairseq's own classes and saved in fairseq's own forms.

=================================  =======================================================================
file                               form
=================================  =======================================================================
wav2vec/wav2vec.pt                 `cfg`, as fairseq >= 0.10 saves
wav2vec/wav2vec_args.pt            `args`, with the task and architecture names of wav2vec_large.pt
roberta/model.pt                   `cfg`; beside it dict.txt, encoder.json, vocab.bpe
roberta_args/model.pt              `args`, with the key names of roberta.large/model.pt; same companions
fabnet/fabnet.pt, fabnet_train.pt  see `fabnet`
vq_wav2vec/, bert_kmeans/          see `audio_tokens`
wav2vec2/, r3d_18/                 see `segments`
=================================  =======================================================================

The two forms of a network hold the same weights. The weights are random, but scaled so that a linear read-out of the
features finds what the toy corpus shows.
"""

import shutil
from argparse import Namespace
from pathlib import Path

import torch
from fairseq.models.wav2vec.wav2vec import Wav2VecModel
from omegaconf import OmegaConf
from tqdm import tqdm

from . import audio_tokens, fabnet, segments
from .bpe import write_bpe
from .saving import build_bert, old_roberta_keys, parse, save
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
        audio_tokens.write(out, seed)
        segments.write(out, seed)


def write_wav2vec(folder: Path, seed: int) -> None:
    settings = {
        "conv_feature_layers": str(_EXTRACTOR),
        "conv_aggregator_layers": str(_AGGREGATOR),
        "prediction_steps": 2,
        "residual_scale": 0.5,
    }
    # skip_connections_agg and log_compression are True by default, and fairseq's flags of those names turn them off.
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    args, cfg = parse(["--task=audio_pretraining", "--arch=wav2vec", "--criterion=wav2vec", "--infonce", *flags])
    torch.manual_seed(seed)
    model = Wav2VecModel.build_model(cfg.model, task=None)
    save(folder / "wav2vec.pt", None, cfg, model.state_dict())
    names = {"task": "speech_pretraining", "arch": "audio_cpc", "criterion": "binary_cross_entropy"}
    defaults: dict = OmegaConf.to_container(cfg.model, resolve=True, enum_to_str=True)  # type: ignore[assignment]
    old = Namespace(**{**defaults, **vars(args), **names})
    save(folder / "wav2vec_args.pt", old, None, model.state_dict())


def write_roberta(folder: Path, seed: int) -> None:
    write_bpe(folder, every_word(), MERGES)
    args, cfg, model = build_bert(folder / "dict.txt", ROBERTA_DIM, MAX_TOKENS, seed)
    save(folder / "model.pt", None, cfg, model.state_dict())

    old = folder.with_name("roberta_args")
    old.mkdir(exist_ok=True)
    for name in _COMPANIONS:
        shutil.copyfile(folder / name, old / name)
    save(old / "model.pt", args, None, old_roberta_keys(model.state_dict()))

"""Small vq-wav2vec and the BERT over its codes, in the forms of their public files.

==================================  ==========================================================================
file                                form
==================================  ==========================================================================
vq_wav2vec/vq-wav2vec_kmeans.pt     `args`; random filters, and the centres of what they make of toy speech
bert_kmeans/bert_kmeans.pt          `args`, with the key names of 2019
bert_kmeans/dict.txt                the pairs of codes of toy speech, the commonest first, without the rarest
==================================  ==========================================================================
"""

from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from fairseq.models.wav2vec.wav2vec import Wav2VecModel
from omegaconf import OmegaConf
from scipy.cluster.vq import kmeans2

from .cues import Cue
from .saving import build_bert, old_roberta_keys, parse, save
from .speech import speak, voice

DIM, BERT_DIM = 64, 64
GROUPS, CODES = 2, 16
MAX_TOKENS = 512
_EXTRACTOR = [(DIM, 10, 5), (DIM, 8, 4), *[(DIM, 4, 2)] * 3, *[(DIM, 1, 1)] * 3]
_SENTENCES = 12
_RARE = 2  # pairs that occur less often than this have no word


def write(out: Path, seed: int) -> None:
    """Write the files of the table above under `out`."""
    for name in ("vq_wav2vec", "bert_kmeans"):
        (out / name).mkdir(parents=True, exist_ok=True)
    pairs = _write_codes(out / "vq_wav2vec" / "vq-wav2vec_kmeans.pt", seed)
    _write_bert(out / "bert_kmeans", pairs, seed)


def _write_codes(path: Path, seed: int) -> Counter[tuple[int, int]]:
    """Write the model of codes; returns how often each pair of them occurs in toy speech."""
    settings = {
        "conv_feature_layers": str(_EXTRACTOR),
        "conv_aggregator_layers": str([(DIM, 2, 1)]),
        "prediction_steps": 2,
        "residual_scale": 0.5,
        "vq_type": "kmeans",
        "vq_vars": CODES,
        "vq_groups": GROUPS,
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    flags += ["--task=audio_pretraining", "--arch=wav2vec", "--criterion=wav2vec", "--infonce", "--combine-groups"]
    args, cfg = parse(flags)
    torch.manual_seed(seed)
    model = Wav2VecModel.build_model(cfg.model, task=None).eval()
    with torch.no_grad():
        heard = [model.feature_extractor(torch.from_numpy(sound)[None]) for sound in _sounds(seed)]
        projected = [model.vector_quantizer.projection(features) for features in heard]
        points = torch.cat([each.view(GROUPS, DIM // GROUPS, -1).transpose(1, 2).flatten(0, 1) for each in projected])
        centres, _ = kmeans2(points.double().numpy(), CODES, seed=seed, minit="++")
        model.vector_quantizer.embedding.copy_(torch.from_numpy(centres)[:, None])
        codes = [model.vector_quantizer.forward_idx(features)[1][0].tolist() for features in heard]
    defaults: dict = OmegaConf.to_container(cfg.model, resolve=True, enum_to_str=True)  # type: ignore[assignment]
    names = {"task": "speech_pretraining", "arch": "audio_cpc", "criterion": "binary_cross_entropy"}
    save(path, Namespace(**{**defaults, **vars(args), **names}), None, model.state_dict())
    return Counter((first, second) for sentence in codes for first, second in sentence)


def _sounds(seed: int) -> list[np.ndarray]:
    """Toy speech of both sexes in every mood."""
    rng = np.random.default_rng([seed, 1])
    moods = [Cue(pair, detail) for pair in (-1, 1) for detail in (-1, 0, 1)]
    return [speak(voice("FM"[turn % 2], rng), moods[turn % 6], 0.6, rng)[0] for turn in range(_SENTENCES)]


def _write_bert(folder: Path, pairs: Counter[tuple[int, int]], seed: int) -> None:
    words = [(f"{first}-{second}", count) for (first, second), count in pairs.items() if count >= _RARE]
    words.sort(key=lambda word: (-word[1], word[0]))
    (folder / "dict.txt").write_text("".join(f"{word} {count}\n" for word, count in words), encoding="utf-8")
    args, _, model = build_bert(folder / "dict.txt", BERT_DIM, MAX_TOKENS, seed)
    save(folder / "bert_kmeans.pt", args, None, old_roberta_keys(model.state_dict()))

"""The bound on the size of a checkpoint's model, and which task it may be of."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_backbones import ARGS
from torch import nn

from mm_fairseq.backbones.backbone_set import Omitted
from mm_fairseq.backbones.spec import build
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.fairseq_compat.safety import _Bounded, _check_task, bounded

BIG, ONE = 2**44, torch.ones(2)  # far more than any machine has
GREEDY = {
    "Tensor": lambda: torch.Tensor(BIG, 2),
    "FloatTensor": lambda: torch.FloatTensor(BIG),
    "zeros": lambda: torch.zeros(np.int64(BIG)),
    "arange": lambda: torch.arange(BIG),
    "eye": lambda: torch.eye(2**22),
    "linspace": lambda: torch.linspace(0, 1, BIG),
    "pad": lambda: F.pad(ONE, (0, BIG)),
    "new_zeros": lambda: ONE.new_zeros(BIG),
    "new_full": lambda: ONE.new_full((BIG,), 1.0),
    "new": lambda: ONE.new(BIG),
    "repeat": lambda: ONE.repeat(BIG),
    "clone": lambda: ONE.expand(BIG, 2).clone(),
    "resize_": lambda: torch.empty(0).resize_(BIG),
    "layer": lambda: nn.Linear(2**22, 2**22),
    "many": lambda: [torch.zeros(2**10) for _ in range(1025)],
}


@pytest.mark.parametrize("make", GREEDY.values(), ids=GREEDY)
def test_memory_is_not_taken(make):
    with pytest.raises(MMFairseqError, match="ask for a model of more than 1,048,576 numbers"), _Bounded(2**20):
        make()


def test_honest_layers_are_what_they_are_without():
    def made():
        torch.manual_seed(1)
        layers = [nn.Linear(3, 4), nn.LSTM(4, 4), nn.TransformerEncoderLayer(8, 2, 8), nn.Embedding(5, 3)]
        layers += [nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 2)), nn.BatchNorm1d(np.int64(3))]
        return [*nn.ModuleList(layers).state_dict().values(), torch.zeros(np.int64(3), np.int64(2))]

    bare = made()
    with _Bounded(2**12):
        bounded = made()
    assert all(torch.equal(one, other) for one, other in zip(bare, bounded, strict=True))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"n_mfcc": 2**23}, "n_mfcc=8388608: at most n_mels=64"),
        ({"n_mfcc": 2**28}, "n_mfcc=268435456 of 'mfcc': at most 16777216"),
        ({"hop": float("inf")}, "hop=inf of 'mfcc': expected a finite number"),
    ],
)
def test_numbers_of_a_backbone_from_a_checkpoint(args, words):
    start = time.process_time()
    with pytest.raises(MMFairseqError, match=words):
        build({"name": "mfcc", "args": {"n_mels": 64, **args}})
    assert time.process_time() - start < 10


@pytest.mark.parametrize("own", ["masked_lm", "emotion_prediction"])
@pytest.mark.parametrize("asked", ["language_modeling", "emotion_prediction", None])
def test_only_our_task_and_others_do_not_mix(own, asked):
    state = {"cfg": {"task": SimpleNamespace(_name=own)}}
    if asked is None or own == asked or "emotion_prediction" not in (own, asked):
        _check_task("a.pt", state, asked)
        return
    with pytest.raises(
        MMFairseqError, match=f"a.pt: a checkpoint of the task '{own}', the command says --task {asked}"
    ):
        _check_task("a.pt", state, asked)


@pytest.mark.parametrize("name", ["wav2vec", "wav2vec2", "roberta", "hf_text", "hf_audio", "fabnet", "r3d_18"])
def test_backbones_that_a_checkpoint_leaves_out_take_no_memory(name):
    """Their weights are not in it, so that they would be more than it holds."""
    with bounded(2**12):
        assert Omitted({"name": name, "args": ARGS[name]}).dim > 0

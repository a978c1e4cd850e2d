"""Pretrained files: what is read of them is checked."""

import hashlib
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mm_fairseq.backbones.files import (
    conv_layers,
    model_args,
    options_of,
    plain,
    receptive_field,
    sha256,
    state_dict,
)
from mm_fairseq.errors import MMFairseqError

FILE = Path("some/model.pt")
DEFAULT = ((8, 3, 1),)


@pytest.mark.parametrize("options", [Namespace(a=1), {"a": 1}, OmegaConf.create({"a": 1})])
def test_options_in_every_form_become_a_dictionary(options):
    assert plain(options) == {"a": 1}


@pytest.mark.parametrize(
    "state",
    [{}, {"args": 5}, {"args": None, "cfg": 5}, {"cfg": {"model": None}}, {"cfg": {"task": {}}}, {1: 2, "a": 3}],
)
def test_files_without_options(state):
    with pytest.raises(MMFairseqError, match=r"model\.pt: neither `args` nor `cfg\.model`"):
        model_args(state, FILE)


def test_options_are_taken_by_name_with_defaults():
    defaults = {"layers": 12, "dropout": 0.1, "norm": False, "act": ("relu", "gelu"), "width": int}
    assert options_of({"other": object()}, defaults, FILE) == {
        "layers": 12,
        "dropout": 0.1,
        "norm": False,
        "act": "relu",
    }
    saved = {"layers": 2, "dropout": 0, "norm": True, "act": "gelu", "width": 4}
    assert options_of(saved, defaults, FILE) == saved


@pytest.mark.parametrize(
    ("default", "value", "words"),
    [
        (12, "12", "layers is '12', expected a value of type int"),
        (12, True, "type int"),
        (12, 1.5, "type int"),
        (False, 1, "type bool"),
        (0.1, "0.1", "type float"),
        (0.1, False, "type float"),
        (("relu", "gelu"), "__import__('os')", "allowed: relu, gelu"),
        (("relu", "gelu"), 3, "type str"),
        (int, [1], "type int"),
        (12, -1, "allowed: 0 to 16384"),
        (12, 10**7, "allowed: 0 to 16384"),
        (0.1, float("nan"), "must be finite"),
    ],
)
def test_options_of_another_type_or_size_are_errors(default, value, words):
    with pytest.raises(MMFairseqError) as error:
        options_of({"layers": value}, {"layers": default}, FILE)
    assert "model.pt" in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize("option", ["encoder_layers", "vq_depth"])
def test_layers_are_few(option):
    with pytest.raises(MMFairseqError, match=rf"model\.pt: {option} is 65; allowed: 0 to 64"):
        options_of({option: 65}, {option: int}, FILE)


@pytest.mark.parametrize(("weights", "words"), [([1], "are a list"), (torch.ones(2), "Tensor"), ({1: 2}, "named 1")])
def test_state_dicts_have_names(weights, words):
    with pytest.raises(MMFairseqError, match=rf"model\.pt: .*{words}"):
        state_dict(weights, FILE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [[8, 3, 1]]),
        ("[(512, 10, 5)] + [(512, 3, 2)] * 2", [[512, 10, 5], [512, 3, 2], [512, 3, 2]]),
        (" [(4, 3, 2)]*2 + [[5,1,1]]", [[4, 3, 2], [4, 3, 2], [5, 1, 1]]),
        ([(4, 3, 2)], [[4, 3, 2]]),
    ],
)
def test_conv_layers(value, expected):
    assert conv_layers(value, DEFAULT, "model.pt: layers") == expected


@pytest.mark.parametrize(
    "value",
    [
        *("", "[]", "[(512, 10)]", "[(512, 10, 0)]", "[('a', 1, 1)]", "[(1, 1, 1)] * 65", "[(1, 1, 1)] * 10 ** 9"),
        *("open('x', 'w')", "(" * 9999, "[" * 200000, "[(9, 9, 9) for _ in range(2)]", 7, [[1, 2, "x"]], object()),
        *("[(1e400, 3, 1)]", [[float("inf"), 3, 1]], "[(4, 3, 1)]" + " * 64" * 9, "[(4, 3, 1)] * 64 + [(4, 3, 1)]"),
    ],
)
def test_other_conv_layers_are_errors(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MMFairseqError, match=r"model\.pt: layers: expected a list of \(width, kernel, stride\)"):
        conv_layers(value, DEFAULT, "model.pt: layers")
    assert not list(tmp_path.iterdir())


def test_receptive_field_is_that_of_the_convolutions():
    layers = [(2, 10, 5), (2, 8, 4), (2, 4, 2)]
    field, stride = receptive_field(layers)
    convs = torch.nn.Sequential(*(torch.nn.Conv1d(1, 1, kernel, step) for _, kernel, step in layers))
    assert convs(torch.zeros(1, 1, field)).size(2) == 1
    assert convs(torch.zeros(1, 1, field + stride - 1)).size(2) == 1
    assert convs(torch.zeros(1, 1, field + stride)).size(2) == 2


def test_checksum_is_of_contents_in_order(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    digests = b"".join(hashlib.sha256(each).digest() for each in (b"1", b"2"))
    assert sha256([first, second]) == hashlib.sha256(digests).hexdigest()
    assert sha256([second, first]) != sha256([first, second])

"""Specifications and how a set of backbones is resolved and loaded."""

import json

import pytest
import torch
from small_backbones import entry

from mm_fairseq.backbones import BackboneSet, Spec, build, complete, read_checkpoint, resolve
from mm_fairseq.backbones.files import model_args, pick
from mm_fairseq.errors import MMFairseqError


@pytest.mark.parametrize(
    ("modality", "text", "expected"),
    [
        ("audio", "mfcc", ("mfcc", "", {})),
        ("audio", "mfcc:", ("mfcc", "", {})),
        ("audio", "mfcc:n_mfcc=13,hop=200", ("mfcc", "", {"n_mfcc": 13, "hop": 200})),
        ("text", "embedding:dim=32", ("embedding", "", {"dim": 32})),
        ("audio", "wav2vec:/data/wav2vec_large.pt", ("wav2vec", "/data/wav2vec_large.pt", {})),
        ("audio", "wav2vec:/data/lr=0.1/last.pt", ("wav2vec", "/data/lr=0.1/last.pt", {})),
        ("text", "roberta:C:/roberta", ("roberta", "C:/roberta", {})),
        ("audio", "wav2vec:/data/a.pt,activation=gelu", ("wav2vec", "/data/a.pt", {"activation": "gelu"})),
        (
            "audio",
            "wav2vec:/a,b/c.pt,residual_scale=0.5,log_compression=false",
            ("wav2vec", "/a,b/c.pt", {"residual_scale": 0.5, "log_compression": False}),
        ),
    ],
)
def test_parse(modality, text, expected):
    assert Spec.parse(modality, text) == expected


@pytest.mark.parametrize(
    ("modality", "text", "words"),
    [
        ("audio", "hubort", ["'hubort'", "mfcc", "wav2vec"]),
        ("audio", "", ["''", "mfcc"]),
        ("video", "mfcc", ["'mfcc'", "audio", "video", "fabnet"]),
        ("audio", "mfcc:n_mfc=3", ["'n_mfc'", "mfcc:n_mfc=3", "n_mfcc", "n_mels"]),
    ],
)
def test_parse_errors_name_what_is_allowed(modality, text, words):
    with pytest.raises(MMFairseqError) as error:
        Spec.parse(modality, text)
    for word in words:
        assert word in str(error.value)


MFCC = {"n_mfcc": 40, "n_fft": 400, "hop": 160, "n_mels": 64}


def test_resolve_gives_plain_entries():
    found, weights, _ = resolve({"text": "embedding:dim=6", "audio": "mfcc"}, set(), {"text": {"vocabulary": 30}})
    assert weights == {}
    assert found == {
        "audio": {"name": "mfcc", "args": MFCC, "frozen": False, "sha256": {}},
        "text": {"name": "embedding", "args": {"vocabulary": 30, "dim": 6}, "frozen": False, "sha256": {}},
    }


def test_resolve_freezes_pretrained_ones(checkpoints):
    specs = {"audio": f"wav2vec:{checkpoints}/wav2vec/wav2vec.pt", "video": f"fabnet:{checkpoints}/fabnet/fabnet.pt"}
    found, _, _ = resolve(specs, {"audio"}, {})
    assert {name: each["frozen"] for name, each in found.items()} == {"audio": False, "video": True}


@pytest.mark.parametrize(
    "args",
    [
        {"n_mfcc": 100},  # more coefficients than mel bands
        {"hop": 0},
        {"sample_rate": 8000},
        {"n_mfcc": 0.5},
        {"n_mfcc": "many"},
    ],
)
def test_arguments_that_do_not_fit(args):
    with pytest.raises(MMFairseqError, match="mfcc"):
        build({"name": "mfcc", "args": args, "frozen": False})


def test_read_checkpoint_names_the_file(tmp_path):
    path = tmp_path / "absent.pt"
    with pytest.raises(MMFairseqError, match=r"absent\.pt: no such"):
        read_checkpoint(path)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(MMFairseqError, match=r"list\.pt: expected a dictionary, found list"):
        read_checkpoint(tmp_path / "list.pt")


def test_model_args_of_neither_form(tmp_path):
    with pytest.raises(MMFairseqError, match=r"neither `args` nor `cfg\.model`"):
        model_args({"model": {}, "cfg": {"task": {}}}, tmp_path / "x.pt")


def test_pick_takes_module_off_and_misses_nothing(tmp_path):
    weights = {"module.encoder.0.weight": torch.ones(1), "decoder.bias": torch.ones(1)}
    assert list(pick(weights, ("encoder.",), tmp_path)) == ["encoder.0.weight"]
    with pytest.raises(MMFairseqError, match=r"mask\."):
        pick(weights, ("encoder.", "mask."), tmp_path)


def test_load_pretrained_is_strict(checkpoints):
    specs = {"audio": f"wav2vec:{checkpoints}/wav2vec/wav2vec.pt"}
    other = BackboneSet({"audio": entry("wav2vec")})
    with pytest.raises(MMFairseqError, match=r"wav2vec\.pt: weights do not fit"):
        other.load_pretrained(resolve(specs, set(), {}))


def test_what_is_left_out_is_the_same_as_its_default(checkpoints):
    path = f"wav2vec:{checkpoints}/wav2vec/wav2vec.pt"
    entries = [resolve({"audio": path + options}, set(), {}).entries for options in ("", ",features=c", ",features=z")]
    assert entries[0] == entries[1] != entries[2]
    assert complete(entries[0]["audio"]) == json.loads(json.dumps(entries[0]["audio"]))

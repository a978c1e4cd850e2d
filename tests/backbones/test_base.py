"""Specifications and how a set of backbones is resolved and loaded."""

import json
import resource

import pytest
import torch
from small_backbones import ARGS, entry

from mm_fairseq.backbones import BACKBONES, BackboneSet, Spec, build, complete, read_checkpoint, resolve
from mm_fairseq.backbones.files import model_args, pick
from mm_fairseq.backbones.spec import _check_size
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
        ("audio", "mfcc:hop=80,hop=90", ["'hop' is given twice"]),
        ("audio", "mfcc:n_mels=true", ["n_mels=true", "a whole number"]),
        ("audio", "mfcc:n_mfcc=0", ["n_mfcc=0", "1 to"]),
        ("text", "embedding:dim=0", ["dim=0", "1 to"]),
        ("text", "embedding:dim=1e3", ["dim=1e3", "a whole number"]),
        ("text", "roberta:x,dropout=abc", ["dropout=abc", "a number"]),
        ("text", "roberta:x,encoder_layers=10000000", ["encoder_layers=10000000", "1 to 64"]),
        ("audio", "wav2vec:x,log_compression=off", ["log_compression=off", "true or false"]),
        ("audio", "wav2vec:x,residual_scale=nan", ["residual_scale=nan", "a finite number"]),
        ("audio", "wav2vec:x,activation=3", ["activation=3", "a word"]),
        ("audio", "wav2vec:x,conv_feature_layers=3", ["conv_feature_layers=3", "with a file"]),
        ("audio", "wav2vec2:x,layer=true", ["layer=true", "a whole number or a word"]),
        ("audio", "wav2vec2:x,layer=1.5", ["layer=1.5", "a whole number or a word"]),
        ("audio", "hf_audio:x,normalize=maybe", ["normalize=maybe", "true or false"]),
    ],
)
def test_parse_errors_name_what_is_allowed(modality, text, words):
    with pytest.raises(MMFairseqError) as error:
        Spec.parse(modality, text)
    for word in words:
        assert word in str(error.value)


MFCC = {"n_mfcc": 40, "n_fft": 400, "hop": 160, "n_mels": 64, "rate": 16000}


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


def test_arguments_that_do_not_fit_are_told_behind_the_reason(monkeypatch):
    with pytest.raises(
        MMFairseqError, match=r"^hop=0: at least 1; backbone 'mfcc' of audio does not take hop=0, n_mfcc=10$"
    ):
        build({"name": "mfcc", "args": {"n_mfcc": 10, "hop": 0}})

    def fail(self, **_):
        raise KeyError("exec")

    monkeypatch.setattr(BACKBONES.get("mfcc"), "__init__", fail)
    with pytest.raises(MMFairseqError, match=r"^KeyError: 'exec'; backbone 'mfcc'"):
        build({"name": "mfcc", "args": {}})


def test_arguments_that_do_not_fit_a_file_name_it(checkpoints):
    with pytest.raises(MMFairseqError, match=r"^/.*wav2vec\.pt: features='q': allowed are c and z; backbone 'wav2vec'"):
        resolve({"audio": f"wav2vec:{checkpoints}/wav2vec/wav2vec.pt,features=q"}, set(), {})


HUGE = [
    ("audio", "wav2vec", "wav2vec/wav2vec_args.pt", {"conv_feature_layers": "[(8192, 512, 1)] * 8"}),
    ("text", "roberta", "roberta_args/model.pt", {"encoder_ffn_embed_dim": 2**14, "encoder_layers": 64}),
    ("text", "roberta", "roberta_args/model.pt", {"encoder_layers": 10**7}),
    ("text", "roberta", "roberta_args/model.pt", {"max_positions": 10**12}),
    ("audio", "vq_wav2vec", "vq_wav2vec/vq-wav2vec_kmeans.pt", {"vq_type": "gumbel", "vq_depth": 10**6}),
    ("audio", "vq_wav2vec", "vq_wav2vec/vq-wav2vec_kmeans.pt", {"vq_vars": 10**11}),
]


@pytest.mark.parametrize(("modality", "name", "file", "options"), HUGE)
def test_a_few_bytes_do_not_ask_for_gigabytes(checkpoints, tmp_path, modality, name, file, options):
    state = torch.load(checkpoints / file, weights_only=True)
    place = vars(state["args"]) if state.get("args") else state["cfg"]["model"]
    place.update(options)
    torch.save(state, tmp_path / "huge.pt")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MMFairseqError, match=r"huge\.pt: (weights do not fit.* ask for [\d,]{9}|.* allowed: 0 to )"):
        resolve({modality: f"{name}:{tmp_path / 'huge.pt'}"}, set(), {})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB


@pytest.mark.parametrize("name", ARGS)
def test_every_backbone_with_weights_can_be_built_of_shapes_alone(name):
    made = entry(name)
    state = torch.get_rng_state()
    weights = build(made).state_dict() if BACKBONES.get(name).learns else {}
    torch.set_rng_state(state)
    if weights:
        _check_size(made, weights, "file.pt")
        assert torch.equal(torch.get_rng_state(), state)
        assert {weight.device.type for weight in build(made).parameters()} == {"cpu"}


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

"""Explanations of the five architectures: their weights over time, and the effect of leaving out modalities."""

import copy
import json
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from fairseq import models
from omegaconf import OmegaConf
from small_models import MODALITIES

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference import EmotionModel, Inputs
from mm_fairseq.inference.explain import FEATURES_NOTE, WINDOWS_NOTE, WORDS_NOTE, explain
from mm_fairseq.models.ssl_fusion import FUSIONS

KINDS = {
    "ssl_fusion": {"audio": "cross", "text": "cross", "video": "cross"},
    "crossmodal_mult": {"audio": "cross", "text": "cross", "video": "cross"},
    "wave_text": {"audio": "cross", "text": "self"},
    "av_graph": {"audio": "pooling", "video": "pooling"},
    "perceiver_emo": {"audio": "latents", "video": "latents"},
}


@pytest.fixture(scope="module")
def inputs_of(small_models):
    found = {}

    def read(architecture, number=0):
        if (architecture, number) not in found:
            found[architecture, number] = small_models.model(architecture).read(small_models.clips()[number])
        return found[architecture, number]

    return read


def other(model, state=None, **options):
    """A new model of the same architecture, of other options and no training."""
    options = model._loaded.options | options
    outputs = SimpleNamespace(outputs={name: kind.outputs for name, kind in model.kinds.items()})
    weights = models.build_model(OmegaConf.create(options), outputs, from_checkpoint=True).state_dict()
    return EmotionModel(replace(model._loaded, options=options, weights=weights, state=state or model.state))


def check_shown(explanation, name):
    seen = explanation.shown[name]
    assert sum(seen.weights) == pytest.approx(1, abs=1e-4)
    assert min(seen.weights) >= 0
    assert len(seen.weights) == len(seen.frames)
    assert all(0 <= start < end <= explanation.reach[name] + 1e-6 for start, end in seen.frames)
    assert list(seen.frames) == sorted(seen.frames)


@pytest.mark.parametrize("architecture", MODALITIES)
def test_every_architecture_says_where_it_looked_and_what_each_modality_is_worth(architecture, small_models, inputs_of):
    model, inputs = small_models.model(architecture), inputs_of(architecture)
    found = explain(model, inputs)
    names = sorted(MODALITIES[architecture])
    assert {name: seen.kind for name, seen in found.shown.items()} == KINDS[architecture]
    for name in names:
        check_shown(found, name)
    for curve in found.curves:
        assert sum(curve.weights) == pytest.approx(1, abs=1e-4)
        assert 0 < curve.share <= 1 + 1e-6
    subsets = [gone for count in range(1, len(names)) for gone in combinations(found.answer.modalities, count)]
    assert [effect.without for effect in found.effects] == subsets
    for gone, answer in [((), found.answer), *((effect.without, effect.answer) for effect in found.effects)]:
        (expected,) = model.answer([inputs.without(gone)])
        assert answer.modalities == expected.modalities
        for target, scores in expected.targets.items():
            ours = {each["label"]: each["score"] for each in answer.targets[target]}
            assert ours == pytest.approx({each["label"]: each["score"] for each in scores}, abs=1e-6)
    for effect in found.effects:
        assert effect.change == effect.score - found.score
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == found.to_json()


def test_times_are_those_of_frames_pieces_pictures_and_windows(small_models, inputs_of):
    mult = explain(small_models.model("crossmodal_mult"), inputs_of("crossmodal_mult"))
    samples = len(inputs_of("crossmodal_mult").items["audio"])
    frames = mult.shown["audio"].frames
    assert len(frames) == 1 + (samples - 400) // 160
    assert frames[3] == pytest.approx((0.03, 0.055))
    pictures = len(inputs_of("crossmodal_mult").items["video"])
    fps = small_models.model("crossmodal_mult").state["meta"]["fps"]
    assert np.allclose(mult.shown["video"].frames, [(at / fps, (at + 1) / fps) for at in range(pictures)])
    pieces = explain(small_models.model("wave_text"), inputs_of("wave_text")).shown["audio"].frames
    assert pieces[2] == pytest.approx((0.125, 0.1875))
    assert len(pieces) == -(-samples // 1000)
    perceiver = explain(small_models.model("perceiver_emo"), inputs_of("perceiver_emo"))
    fps = small_models.model("perceiver_emo").state["meta"]["fps"]
    assert perceiver.notes == dict.fromkeys(("audio", "video"), WINDOWS_NOTE)
    for name in ("audio", "video"):
        assert perceiver.shown[name].frames[1] == pytest.approx((1 / fps, 2 / fps))


def test_words_share_the_clip_evenly_and_have_the_weight_of_their_symbols(small_models, inputs_of):
    inputs = inputs_of("ssl_fusion")
    found = explain(small_models.model("ssl_fusion"), inputs)
    assert [word.word for word in found.words] == inputs.text.split()
    assert [word.start for word in found.words[1:]] == pytest.approx([word.end for word in found.words[:-1]])
    assert (found.words[0].start, found.words[-1].end) == (0, pytest.approx(found.length))
    steps = {round(word.end - word.start, 9) for word in found.words}
    assert len(steps) == 1
    assert sum(word.weight for word in found.words) == pytest.approx(1, abs=1e-4)
    assert (
        sum(len(word.symbols) for word in found.words)
        == len(inputs.items["text"]) - 2
        == len(found.shown["text"].frames)
    )
    assert not any(word.unknown for word in found.words)
    assert found.notes == {"text": WORDS_NOTE}
    assert found.to_json()["attention"]["text"]["note"] == WORDS_NOTE


def test_words_beyond_what_the_model_reads_have_their_room(small_models, inputs_of):
    """Four words, of which the model got the symbols of two: they lie in the first half."""
    model, inputs = small_models.model("ssl_fusion"), inputs_of("ssl_fusion")
    text = "It was bad here"
    ids = model.reader.texts(text)
    first = len(model.reader.texts("It was"))
    cut = np.array([0, *ids[:first], 2])
    found = explain(model, replace(inputs, text=text, items=inputs.items | {"text": cut}))
    assert [word.word for word in found.words] == ["It", "was"]
    assert found.words[-1].end == pytest.approx(found.length / 2)
    assert found.reach["text"] == found.words[-1].end
    assert len(found.shown["text"].frames) == first


def test_words_that_the_model_cannot_read_are_marked(small_models):
    model = small_models.model("ssl_fusion")
    number = model.reader.texts.numbers
    known = next(iter(number))
    inputs = Inputs("", {"text": np.array([0, 3, number[known], 2])}, text="x y")
    encoder = SimpleNamespace(tokenizer=SimpleNamespace(encode=str.split))
    model.reader.texts, kept = encoder, model.reader.texts
    try:
        found = explain(model, inputs)
    finally:
        model.reader.texts = kept
    assert [(word.word, word.unknown) for word in found.words] == [("x", True), ("y", False)]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_each_fusion_shows_what_it_has_and_says_what_it_lacks(fusion, small_models, inputs_of):
    """FAb-Net and wav2vec have streams of their own, RoBERTa's <s> is read as it is."""
    inputs = inputs_of("ssl_fusion")
    with other(small_models.model("ssl_fusion"), fusion=fusion) as model:
        found = explain(model, inputs)
    cross = fusion in ("inter_modal", "stack_up")
    kinds = {name: seen and seen.kind for name, seen in found.shown.items()}
    assert kinds == {
        "audio": "cross" if cross else "self",
        "text": "cross" if cross else None,
        "video": "cross" if cross else "self",
    }
    told = found.to_json()["attention"]["text"]
    assert (told["shown"] is None) == (told["reason"] is not None) == (not cross)
    assert bool(told["layers"]) == cross
    assert all((word.weight is None) != cross for word in found.words)
    assert {tuple(effect.without) for effect in found.effects} >= {("audio",), ("audio", "video")}


def test_streams_without_layers_of_their_own_have_nothing_to_show(small_models, inputs_of):
    with other(small_models.model("ssl_fusion"), fusion="concat", encoder_layers=0) as model:
        found = explain(model, inputs_of("ssl_fusion"))
    assert found.curves == ()
    assert all("as it stands" in told["reason"] for told in found.to_json()["attention"].values())


@pytest.mark.parametrize("architecture", MODALITIES)
def test_a_missing_modality_neither_looks_nor_is_looked_at(architecture, small_models, inputs_of):
    model, inputs = small_models.model(architecture), inputs_of(architecture)
    for gone in MODALITIES[architecture]:
        found = explain(model, inputs.without([gone]))
        left = [name for name in ("audio", "text", "video") if name in MODALITIES[architecture] and name != gone]
        assert sorted(found.shown) == left
        assert {curve.modality for curve in found.curves} <= set(left)
        assert {curve.asks for curve in found.curves} <= {*left, ""}
        assert len(found.effects) == 2 ** len(left) - 2
        for name in left:
            if found.shown[name] is not None:
                check_shown(found, name)


def test_text_alone_has_no_seconds(small_models, inputs_of):
    model = small_models.model("wave_text")
    inputs = replace(inputs_of("wave_text").without(["audio"]), seconds=None)
    found = explain(model, inputs)
    assert (found.unit, found.length) == ("share", 1.0)
    assert found.words[-1].end == pytest.approx(1)
    assert found.effects == ()


def test_features_of_a_corpus_are_laid_evenly(small_models, inputs_of):
    trained = small_models.model("crossmodal_mult")
    state = copy.deepcopy(trained.state)
    state["meta"]["streams"]["audio"]["dim"] = 5
    features = {"name": "features", "args": {"dim": 5}, "frozen": True}
    inputs = inputs_of("crossmodal_mult").without(["video"])
    given = replace(inputs, items=inputs.items | {"audio": np.ones((20, 5), np.float32)}, seconds=4.0)
    backbones = trained._loaded.options["backbone_args"] | {"audio": features}
    with other(trained, state, backbone_args=backbones) as model:
        found = explain(model, given)
    assert np.allclose(found.shown["audio"].frames, [(at / 5, (at + 1) / 5) for at in range(20)])
    assert found.notes["audio"] == FEATURES_NOTE


def test_what_changes_at_one_time_changes_the_weights_there(small_models, inputs_of):
    """Noise in the last quarter of the sound: the weights of pieces of that time move most."""
    model, inputs = small_models.model("wave_text"), inputs_of("wave_text")
    sound = inputs.items["audio"].copy()
    start = 3 * len(sound) // 4
    sound[start:] = np.random.default_rng(0).uniform(-1, 1, len(sound) - start)
    before, after = (
        explain(model, replace(inputs, items=inputs.items | {"audio": x})) for x in (inputs.items["audio"], sound)
    )
    ratio = np.log(np.array(after.shown["audio"].weights) / np.array(before.shown["audio"].weights))
    ratio -= np.median(ratio)
    late = np.array([middle > start / 16000 for middle in map(np.mean, before.shown["audio"].frames)])
    assert np.abs(ratio[late]).mean() > 1.5 * np.abs(ratio[~late]).mean()


def test_an_unknown_target_is_named(small_models, inputs_of):
    with pytest.raises(MMFairseqError, match=r"target 'mood'.*emotion"):
        explain(small_models.model("wave_text"), inputs_of("wave_text"), "mood")


def test_any_target_can_be_explained(small_models, inputs_of):
    model = small_models.model("wave_text")
    for target in model.kinds:
        found = explain(model, inputs_of("wave_text"), target)
        assert found.label == found.answer.targets[target][0]["label"]

"""Which parts of which backbones learn, and when; layers, weighted sums, cached features."""

import copy

import pytest
import torch
from small_backbones import entry, items

from mm_fairseq.backbones import BACKBONES, BackboneSet
from mm_fairseq.backbones.backbone_set import erased
from mm_fairseq.backbones.base import chosen_states
from mm_fairseq.datasets.collate import pad
from mm_fairseq.errors import MMFairseqError

LENGTHS = (9, 3, 8, 2)


def backbones(args=None, frozen=False, **options):
    torch.manual_seed(0)
    roberta = entry("roberta", frozen)
    pretrained = {"sha256": {"file": "ab"}, "args": roberta["args"] | (args or {})}
    return BackboneSet({"text": roberta | pretrained}, **options)


def batch(missing=()):
    rows = [None if row in missing else item for row, item in enumerate(items("text", LENGTHS))]
    x, mask = pad(rows, 1, items("text", [1])[0][:0])
    return {"text": x}, {"text": mask}


def learns(model):
    model.zero_grad()
    model(*batch())["text"].x.square().sum().backward()
    return {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.abs().sum()}


# Layers


@pytest.mark.parametrize(
    ("layer", "states"), [("last", (3,)), (3, (3,)), (-1, (3,)), (0, (0,)), (-4, (0,)), ("weighted", (0, 1, 2, 3))]
)
def test_chosen_states(layer, states):
    assert chosen_states(layer, 3) == states


@pytest.mark.parametrize("layer", [4, -5, "first", 1.0, None])
def test_states_that_are_not_there(layer):
    with pytest.raises(ValueError, match=r"last, weighted and -4 to 3"):
        chosen_states(layer, 3)


def test_a_weighted_sum_begins_as_the_mean_of_all_states_and_learns():
    single = [backbones({"layer": layer}).eval()(*batch())["text"].x for layer in (0, 1, 2)]
    model = backbones({"layer": "weighted"}, frozen=True)
    out = model(*batch())["text"].x
    torch.testing.assert_close(out, torch.stack(single).mean(0))
    assert model.dims == {"text": 8}
    assert learns(model) == {"mixers.text.weight"}


def test_layers_above_the_chosen_one_are_not_run():
    model = backbones({"layer": 1})
    model.encoders["text"].encoder.sentence_encoder.layers[1].forward = None
    assert len(model.encoders["text"].layers()) == 1
    assert model(*batch())["text"].x.shape == (4, 9, 8)


# Freezing


def test_only_the_top_layers_learn():
    model = backbones(top_layers=1).train()
    assert {name.split(".layers.")[1][0] for name in learns(model)} == {"1"}
    training = {name for name, module in model.encoders["text"].named_modules() if module.training}
    assert training
    assert all(".layers.1" in name for name in training)


def test_more_layers_than_there_are():
    with pytest.raises(MMFairseqError, match=r"--finetune-top-layers 3: the text backbone has 2 layers"):
        backbones(top_layers=3)


def test_top_layers_leave_backbones_without_layers_alone():
    pretrained = {"sha256": {"file": "ab"}}
    model = BackboneSet({"audio": entry("wav2vec") | pretrained, "text": entry("roberta") | pretrained}, top_layers=2)
    assert all(weight.requires_grad for weight in model.encoders["audio"].parameters())


def test_the_first_updates_leave_it_alone():
    model = backbones(frozen_updates=2).train()
    for updates, waits in ((0, True), (1, True), (2, False), (3, False), (1, True)):
        model.set_num_updates(updates)
        assert model.encoders["text"].training != waits
        assert bool(learns(model)) != waits
        assert len(model.idle()) == (len(list(model.parameters())) if waits else 0)
        # every parameter takes part, or DistributedDataParallel would stop
        used = {name for name, weight in model.named_parameters() if weight.grad is not None}
        assert len(used) == len(list(model.parameters()))


@pytest.mark.parametrize("waits", [True, False])
def test_taking_part_does_not_overflow_half_precision(waits):
    """The sum of all weights may be beyond 65504; zero times infinity is not a number."""
    model = backbones(frozen_updates=1 if waits else 0).half().train()
    model.set_num_updates(0)
    with torch.no_grad():
        model.encoders["text"].encoder.sentence_encoder.embed_tokens.weight += 500
    inputs, masks = batch(missing=range(4) if not waits else ())
    found = model(inputs, masks)["text"].x
    assert found.requires_grad
    assert found.isfinite().all()


def test_layers_where_there_are_none_are_named(caplog):
    BackboneSet({"audio": entry("wav2vec") | {"sha256": {"file": "ab"}}}, top_layers=2)
    assert "--finetune-top-layers: the audio backbone has no layers" in caplog.text


@pytest.mark.parametrize("options", [{"top_layers": -1}, {"frozen_updates": -1}])
def test_negative_numbers(options):
    with pytest.raises(MMFairseqError, match=r"-1: must not be negative"):
        backbones(**options)


def test_those_that_were_not_pretrained_learn_from_the_start():
    model = BackboneSet({"text": entry("roberta")}, top_layers=1, frozen_updates=5).train()
    assert any(".layers.0" in name for name in learns(model))
    assert model.tuned_parameters() == model.idle() == []


def test_waiting_ones_wait_in_a_new_epoch_too():
    model = backbones(frozen_updates=2)
    model.eval().train()
    assert not model.encoders["text"].training


def test_a_frozen_one_gives_features_that_others_can_learn_from():
    model = backbones(frozen=True).train()
    assert not model.encoders["text"].training
    features, mask = model(*batch())["text"]
    assert not features.is_inference()
    assert not mask.is_inference()
    torch.nn.Linear(8, 1)(features).sum().backward()


def test_recomputing_changes_no_gradient():
    plain, saving = backbones(), backbones(recompute=True)
    assert saving.state_dict().keys() == plain.state_dict().keys()
    grads = []
    for model in (plain.eval(), saving.eval()):
        features = model(*batch())["text"].x
        features.pow(3).sum().backward()
        grads.append([weight.grad for weight in model.parameters()])
    for first, second in zip(*grads, strict=True):
        torch.testing.assert_close(second, first)


def test_recomputing_keeps_less():
    kept = []

    def count(tensor):
        kept[-1] += tensor.numel()
        return tensor

    for recompute in (False, True):
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            backbones(recompute=recompute)(*batch())
    assert kept[1] < kept[0] / 2


# Cached features


@pytest.mark.parametrize("layer", ["last", "weighted"])
def test_cached_features_are_taken_as_they_are(layer):
    args = {"layer": layer}
    model = backbones(args, frozen=True).eval()
    inputs, masks = batch()
    cached = model.encoders["text"](inputs["text"], masks["text"]).x
    omitted = BackboneSet({"text": entry("roberta", True) | {"args": entry("roberta")["args"] | args, "omitted": True}})
    assert not [key for key in omitted.state_dict() if "encoders" in key]
    for each in (model, omitted):
        cached[masks["text"]] = 7  # what stands in the padding is not seen
        found = each({"text": cached}, masks)["text"]
        torch.testing.assert_close(found.x, model(inputs, masks)["text"].x)
        assert torch.equal(found.padding_mask, masks["text"])


def test_cached_features_of_another_width():
    masks = batch()[1]
    with pytest.raises(MMFairseqError, match=r"cached features of text are 5 wide, the model expects 8"):
        backbones(frozen=True)({"text": torch.zeros(4, 9, 5)}, masks)


@pytest.mark.parametrize("name", sorted({*BACKBONES.names()} - {"features"}))  # that one is never frozen
def test_one_that_is_omitted_knows_what_it_is_like(name):
    modality = BACKBONES.get(name).modality
    model = BackboneSet({modality: entry(name, frozen=True)})
    omitted = BackboneSet({modality: entry(name, frozen=True) | {"omitted": True}})
    assert omitted.dims == model.dims
    assert omitted.input_limits(modality, 7) == model.input_limits(modality, 7)
    assert omitted.encoders[modality].summarises == model.encoders[modality].summarises
    assert omitted.encoders[modality].states == model.encoders[modality].states
    assert not omitted.encoders.state_dict()
    raw, mask = pad(items(modality, [500 if modality == "audio" else 2]), 0, items(modality, [1])[0][:0])
    with pytest.raises(MMFairseqError, match=rf"--omit-frozen-backbones.*'{name}'.*mm-fairseq extract"):
        omitted({modality: raw}, {modality: mask})


def test_a_set_can_be_copied():
    model = backbones(recompute=True, top_layers=1)
    copy.deepcopy(model)(*batch())


def test_erased_rectangles_follow_the_real_frames_of_a_row():
    lengths, x = [10, 4], torch.ones(2, 10, 4)
    mask = torch.arange(10) >= torch.tensor(lengths)[:, None]
    rectangles = torch.tensor([[0.5, 1.0, 0.0, 1.0], [0.0, 1.0, 0.25, 0.5]]).expand(2, 2, 4)
    out = erased(x, mask, rectangles)
    for row, length in enumerate(lengths):
        kept = torch.ones(length, 4)
        kept[length // 2 :] = 0
        kept[:, 1] = 0
        assert torch.equal(out[row, :length], kept)
    assert torch.equal(erased(x, mask, torch.zeros(2, 1, 4)), x)


def test_a_set_erases_what_it_is_told():
    model, (inputs, masks) = backbones().eval(), batch()
    found, whole = (
        model(inputs, masks, {"text": torch.tensor([[[0.0, 1.0, 0.0, 0.5]]]).expand(4, 1, 4)}),
        model(*batch()),
    )
    half = found["text"].x.size(2) // 2
    assert not found["text"].x[..., :half].any()
    assert torch.equal(found["text"].x[..., half:], whole["text"].x[..., half:])

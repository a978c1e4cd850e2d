"""What every registered backbone must hold to."""

import json

import numpy as np
import pytest
import torch
from small_backbones import ARGS, entry, items, modality_of

from mm_fairseq.backbones import BACKBONES, BackboneSet
from mm_fairseq.datasets.collate import pad

NAMES = BACKBONES.names()
LENGTHS = {"audio": (4000, 1700, 3999, 2555), "text": (9, 3, 8, 2), "video": (3, 1, 2, 1), "any": (9, 3, 8, 2)}
LIKE = {
    "audio": np.zeros(0, np.float32),
    "text": np.zeros(0, np.int64),
    "video": np.zeros((0, 3, 1, 1), np.uint8),
    "any": np.zeros((0, 5), np.float32),
}


def backbone_set(name):
    torch.manual_seed(0)
    return BackboneSet({modality_of(name): entry(name)}).eval()


def encode(backbones, name, rows):
    modality = modality_of(name)
    x, mask = pad(rows, 1 if modality == "text" else 0, LIKE[modality])
    device = next(iter([*backbones.parameters(), *backbones.buffers(), x])).device
    with torch.no_grad():
        return backbones({modality: x.to(device)}, {modality: mask.to(device)})[modality]


def test_small_arguments_cover_every_backbone():
    assert sorted(ARGS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_declares_what_it_is(name):
    model = BACKBONES.get(name)(**ARGS[name])
    assert model.modality in ("audio", "text", "video", "any")
    assert model.dim > 0
    assert model.rate_hz >= 0
    assert model.receptive_field >= 1
    assert json.loads(json.dumps(ARGS[name])) == ARGS[name]  # arguments survive a checkpoint


@pytest.mark.parametrize("name", NAMES)
def test_padded_equals_alone(name, device):
    backbones = backbone_set(name).to(device)
    rows = items(modality_of(name), LENGTHS[modality_of(name)])
    batch = encode(backbones, name, rows)
    assert batch.x.shape[2] == backbones.dims[modality_of(name)]
    seen = []
    for row, item in enumerate(rows):
        alone = encode(backbones, name, [item])
        frames = alone.x.shape[1]
        assert not alone.padding_mask.any()
        assert (~batch.padding_mask[row]).sum() == frames
        assert not batch.padding_mask[row, :frames].any()  # padding stands behind
        torch.testing.assert_close(batch.x[row, :frames], alone.x[0], atol=1e-5, rtol=1e-5)
        assert (batch.x[row, frames:] == 0).all()
        seen.append(alone.x[0, 0])
    assert modality_of(name) == "text" or (seen[0] - seen[1]).abs().max() > 1e-4  # every text begins with <s>


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_the_padding_is_not_seen(name):
    backbones, modality = backbone_set(name), modality_of(name)
    x, mask = pad(items(modality, LENGTHS[modality]), 1 if modality == "text" else 0, LIKE[modality])
    junk = x.clone()
    junk[mask] = 7
    with torch.no_grad():
        found, expected = (backbones({modality: each}, {modality: mask})[modality].x for each in (junk, x))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_missing_rows_are_zeros_and_padding(name):
    backbones = backbone_set(name)
    modality = modality_of(name)
    rows = items(modality, LENGTHS[modality])
    complete, batch = encode(backbones, name, rows), encode(backbones, name, [rows[0], None, rows[2], None])
    for row in (1, 3):
        assert batch.padding_mask[row].all()
        assert (batch.x[row] == 0).all()
    for row in (0, 2):
        torch.testing.assert_close(batch.x[row], complete.x[row], atol=1e-5, rtol=1e-5)
    nothing = encode(backbones, name, [None, None])
    assert nothing.x.shape == (2, 1, backbones.dims[modality])
    assert nothing.padding_mask.all()
    assert (nothing.x == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_receptive_field_is_the_shortest_input(name):
    backbones, modality = backbone_set(name), modality_of(name)
    shortest, longest = backbones.input_limits(modality, 5)
    assert shortest == backbones.encoders[modality].receptive_field
    assert (~encode(backbones, name, items(modality, [shortest])).padding_mask).sum() >= 1
    frames = (~encode(backbones, name, items(modality, [longest])).padding_mask).sum()
    assert frames == 5
    if shortest > 1:
        short = encode(backbones, name, items(modality, [shortest - 1, longest]))
        assert short.padding_mask[0].all()
        assert short.x.isfinite().all()
        assert encode(backbones, name, items(modality, [1])).padding_mask.all()


@pytest.mark.parametrize("name", NAMES)
def test_frozen_ones_neither_learn_nor_change(name):
    frozen = BackboneSet({modality_of(name): entry(name, frozen=True)}).train()
    trained = BackboneSet({modality_of(name): entry(name)}).train()
    modality = modality_of(name)
    assert not frozen.encoders[modality].training
    assert trained.encoders[modality].training
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    still = {key for key, parameter in trained.named_parameters() if not parameter.requires_grad}
    assert all(key.startswith("encoders.audio.vq.") for key in still)  # the codes of vq_bert never learn
    x, mask = pad(items(modality, LENGTHS[modality]), 1 if modality == "text" else 0, LIKE[modality])
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    assert not frozen({modality: x}, {modality: mask})[modality].x.requires_grad
    assert all(torch.equal(before[key], value) for key, value in frozen.state_dict().items())
    if next(trained.parameters(), None) is not None:
        out = trained({modality: x}, {modality: mask})[modality].x
        out.square().sum().backward()
        grads = [parameter.grad for parameter in trained.parameters() if parameter.grad is not None]
        assert grads
        assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_stays_near_single(name):
    backbones, modality = backbone_set(name), modality_of(name)
    rows = items(modality, LENGTHS[modality])
    single = encode(backbones, name, rows)
    half = encode(backbones.half(), name, rows)
    assert torch.equal(half.padding_mask, single.padding_mask)
    assert (half.x.float() - single.x).abs().max() <= 0.02 * single.x.abs().max()

"""Modality dropout: a dropped modality is a missing one, as often as asked, whatever the batch."""

import numpy as np
import pytest
import torch
from small_backbones import entry, items

from mm_fairseq.datasets import drop_modalities
from mm_fairseq.datasets.collate import pad
from mm_fairseq.models.ssl_fusion import SSLFusion, SSLFusionConfig

LIKE = {"audio": np.zeros(0, np.float32), "text": np.zeros(0, np.int64), "video": np.zeros((0, 3, 1, 1), np.uint8)}
NAMES = sorted(LIKE)
FILL = {"text": 1}


def collated(rows, ids):
    """`rows` is a list of {modality: array or None}."""
    inputs, masks = {}, {}
    for name in rows[0]:
        inputs[name], masks[name] = pad([row[name] for row in rows], FILL.get(name, 0), LIKE[name])
    return {"id": torch.tensor(ids), "net_input": {"inputs": inputs, "padding_masks": masks}, "target": {}}


def there(sample):
    """Which utterance has which modality. Shape (B, 3)."""
    masks = sample["net_input"]["padding_masks"]
    return torch.stack([~masks[name].all(1) for name in sorted(masks)], 1).numpy()


def many(size, missing=()):
    """Utterances of one sample, token and pixel, of which all lack `missing`."""
    item = {"audio": np.ones(1, np.float32), "text": np.full(1, 5), "video": np.ones((1, 3, 1, 1), np.uint8)}
    row = {name: None if name in missing else item[name] for name in NAMES}
    return collated([row] * size, range(size))


@pytest.mark.parametrize("fusion", ["inter_modal", "shallow"])
def test_dropped_is_missing(fusion):
    torch.manual_seed(0)
    sizes = {"encoder_layers": 1, "encoder_layers_cross": 1, "encoder_attention_heads": 2, "encoder_ffn_embed_dim": 16}
    cfg = SSLFusionConfig(fusion=fusion, embed_dim=8, **sizes)
    cfg.backbone_args = {
        name: entry(backbone) for name, backbone in zip(NAMES, ("mfcc", "embedding", "fabnet"), strict=True)
    }
    model = SSLFusion(cfg, {"emotion": 4}).eval()
    lengths = {"audio": [2500, 900, 1700, 0, 1200], "text": [9, 3, 5, 4, 0], "video": [1, 2, 1, 1, 1]}
    made = {name: items(name, lengths[name]) for name in NAMES}
    rows = [{name: made[name][row] for name in NAMES} for row in range(5)]
    sample = collated(rows, [3, 14, 15, 92, 65])
    before = {name: x.clone() for name, x in sample["net_input"]["inputs"].items()}
    ever = np.zeros((5, 3), bool)
    for update in range(4):
        out = drop_modalities(sample, 0.5, FILL, seed=1, update=update)
        dropped = there(sample) & ~there(out)
        ever |= dropped
        without = [
            {name: None if dropped[row, column] else rows[row][name] for column, name in enumerate(NAMES)}
            for row in range(5)
        ]
        batches = out, sample, collated(without, range(5))
        with torch.no_grad():
            found, whole, expected = (model(**batch["net_input"])["logits"]["emotion"] for batch in batches)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        assert ((found - whole).abs().amax(1) > 1e-4).tolist() == dropped.any(1).tolist()
    assert ever.any(0).all()
    assert all(torch.equal(before[name], x) for name, x in sample["net_input"]["inputs"].items())
    assert not (there(sample) ^ (np.array([lengths[name] for name in NAMES]).T > 0)).any()


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("missing", [(), ("audio",)])
def test_as_often_as_asked_and_never_all(probability, missing):
    """All n would be dropped with P^n; then one of them stays, so that each is dropped with P - P^n / n."""
    sample = many(3000, missing)
    left = there(drop_modalities(sample, probability, FILL, seed=1, update=0))
    n = 3 - len(missing)
    assert left.any(1).all()
    share = 1 - left.mean(0)
    for column, name in enumerate(NAMES):
        expected = 1 if name in missing else probability - probability**n / n
        assert share[column] == pytest.approx(expected, abs=0.03)
    alone = n * probability ** (n - 1) * (1 - probability) + probability**n
    assert (left.sum(1) == 1).mean() == pytest.approx(alone, abs=0.03)


def test_the_only_modality_stays():
    sample = many(50, ("audio", "video"))
    assert (there(drop_modalities(sample, 0.95, FILL, seed=1, update=0)) == there(sample)).all()
    nothing = many(3, NAMES)
    assert not there(drop_modalities(nothing, 0.95, FILL, seed=1, update=0)).any()


def test_depends_on_seed_update_and_utterance_alone():
    sample = many(40)
    left = there(drop_modalities(sample, 0.5, FILL, seed=1, update=7))
    assert (there(drop_modalities(sample, 0.5, FILL, seed=1, update=7)) == left).all()
    assert (there(drop_modalities(sample, 0.5, FILL, seed=1, update=8)) != left).any()
    assert (there(drop_modalities(sample, 0.5, FILL, seed=2, update=7)) != left).any()
    order = np.random.default_rng(0).permutation(40)
    for part in np.split(order, [1, 8, 20]):
        rows = torch.from_numpy(part)
        net_input = {key: {name: x[rows] for name, x in values.items()} for key, values in sample["net_input"].items()}
        batch = sample | {"id": rows, "net_input": net_input}
        assert (there(drop_modalities(batch, 0.5, FILL, seed=1, update=7)) == left[part]).all()


def test_the_rest_of_the_batch_stays():
    sample = many(4) | {"target": {"emotion": torch.arange(4)}, "nsentences": 4, "ntokens": 9}
    out = drop_modalities(sample, 0.5, FILL, seed=1, update=0)
    assert {key: value for key, value in out.items() if key != "net_input"} == {
        key: value for key, value in sample.items() if key != "net_input"
    }
    for name, mask in out["net_input"]["padding_masks"].items():
        x = out["net_input"]["inputs"][name]
        assert x.dtype == sample["net_input"]["inputs"][name].dtype
        assert x[mask].eq(FILL.get(name, 0)).all()
        assert torch.equal(x[~mask], sample["net_input"]["inputs"][name][~mask])

"""eGeMAPS against openSMILE itself."""

import sys

import numpy as np
import opensmile
import pytest
import torch
from small_backbones import items

from mm_fairseq.backbones import BackboneSet, build
from mm_fairseq.backbones.egemaps import LEVELS, LIMIT, SCALES
from mm_fairseq.datasets.collate import pad
from mm_fairseq.errors import MMFairseqError


def encode(level, rows):
    model = BackboneSet({"audio": {"name": "egemaps", "args": {"level": level}, "frozen": False}})
    x, mask = pad(rows, 0, np.zeros(0, np.float32))
    return model({"audio": x}, {"audio": mask})["audio"]


def voice(seconds):
    """A buzz of 120 Hz, whose partials fall off."""
    time = np.arange(int(16000 * seconds)) / 16000
    return sum(np.sin(2 * np.pi * 120 * k * time) / k**2 for k in range(1, 20)).astype(np.float32) / 4


@pytest.mark.parametrize(("level", "columns"), [("lld", 25), ("functionals", 88)])
def test_equals_opensmile(level, columns):
    x = voice(0.8)
    smile = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel[LEVELS[level]])
    shift, scale = np.array(SCALES[level])
    expected = np.clip((smile.process_signal(x, 16000).to_numpy() - shift) / scale, -LIMIT, LIMIT)
    found = encode(level, [x]).x[0]
    assert found.shape == (1 if level == "functionals" else 76, columns)
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), atol=1e-5, rtol=1e-5)
    assert found.abs().max() > 0.5


@pytest.mark.parametrize("level", LEVELS)
def test_every_sound_gives_finite_numbers(level):
    rows = [np.zeros(960, np.float32), np.ones(4000, np.float32), np.eye(1, 3000, 500, dtype=np.float32)[0]]
    out = encode(level, rows)
    assert out.x.isfinite().all()
    assert not out.padding_mask.all(1).any()


def test_functionals_are_one_vector_alone_and_in_a_batch():
    rows = [*items("audio", (5000, 3000)), None, np.ones(900, np.float32)]
    batch = encode("functionals", rows)
    assert batch.padding_mask.tolist() == [[False], [False], [True], [True]]
    assert (batch.x[2:] == 0).all()
    assert torch.equal(batch.x[:1], encode("functionals", rows[:1]).x)
    model = build({"name": "egemaps", "args": {"level": "functionals"}})
    assert (model.rate_hz, model.dim, model.longest_input(1)) == (0, 88, sys.maxsize)


def test_unknown_level():
    with pytest.raises(MMFairseqError, match=r"level='frames': allowed are lld, functionals"):
        build({"name": "egemaps", "args": {"level": "frames"}})


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(MMFairseqError, match=r"pip install 'mm-fairseq\[opensmile\]'"):
        build({"name": "egemaps", "args": {}})

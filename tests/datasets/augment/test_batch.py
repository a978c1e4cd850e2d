"""Masks of SpecAugment as shares, and who is mixed with whom."""

import numpy as np
import pytest
import torch

from mm_fairseq.backbones.backbone_set import erased
from mm_fairseq.datasets.augment.batch import masks, partners


def rng(seed=0):
    return np.random.default_rng(seed)


def test_masks_are_as_many_and_as_wide_as_asked():
    found = np.array([masks(2, 0.3, 3, 0.5, rng(seed)) for seed in range(400)])
    assert found.shape == (400, 5, 4)
    assert ((found >= 0) & (found <= 1)).all()
    times, channels = found[:, :2], found[:, 2:]
    assert (times[..., 2:] == [0, 1]).all()
    assert (channels[..., :2] == [0, 1]).all()
    for spans, widest in ((times[..., :2], 0.3), (channels[..., 2:], 0.5)):
        widths = spans[..., 1] - spans[..., 0]
        assert widths.min() >= 0
        assert widths.max() <= widest + 1e-12
        assert widths.mean() == pytest.approx(widest / 2, rel=0.1)
        assert spans[..., 0].min() < 0.02  # anywhere
        assert spans[..., 1].max() > 0.98
    assert np.array(masks(1, 0.3, 0, 0, rng())).shape == (1, 4)


@pytest.mark.parametrize("seed", range(5))
def test_masks_erase_what_they_name(seed):
    """Against a mask written out row by row, on rows of different lengths."""
    torch.manual_seed(seed)
    lengths = [40, 17, 1]
    padding = torch.arange(40) >= torch.tensor(lengths)[:, None]
    x = (1 + torch.rand(3, 40, 13)).masked_fill(padding[..., None], 0)
    rectangles = [masks(2, 0.4, 2, 0.4, rng(3 * seed + row)) for row in range(3)]
    out = erased(x, padding, torch.tensor(rectangles))
    expected = x.clone()
    for row, length in enumerate(lengths):
        for t0, t1, c0, c1 in rectangles[row]:
            times = slice(round(t0 * length), round(t1 * length))
            expected[row, times, round(c0 * 13) : round(c1 * 13)] = 0
    assert torch.equal(out, expected)
    assert (out == 0).sum() > (x == 0).sum()


@pytest.mark.parametrize("size", [1, 2, 7])
def test_everybody_is_mixed_once_and_with_the_same_in_any_order(size):
    numbers = rng().random(size)
    found = partners(numbers)
    assert sorted(found) == list(range(size))
    assert size == 1 or (found != np.arange(size)).all()
    order = rng(1).permutation(size)
    assert np.array_equal(order[partners(numbers[order])], found[order])

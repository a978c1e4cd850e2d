"""Pooling of real frames by hand."""

import pytest
import torch

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.modules.pooling import POOLINGS, Pooling

LENGTHS = (3, 1, 0, 4)
MASK = torch.arange(4) >= torch.tensor(LENGTHS)[:, None]


def pooling(how):
    module = Pooling(how, 2)
    if how == "attentive":
        torch.nn.init.constant_(module.score.weight, 0.7)
    return module


def expected(how, x):
    if how == "last":
        return x[-1]
    if how == "average":
        return x.mean(0)
    return ((0.7 * x.sum(1)).softmax(0)[:, None] * x).sum(0)


@pytest.mark.parametrize("how", POOLINGS)
def test_real_frames_alone_count(how):
    torch.manual_seed(0)
    x = torch.randn(4, 4, 2)
    x[MASK] = float("inf")
    out = pooling(how)(x, MASK)
    for row, length in enumerate(LENGTHS):
        wanted = expected(how, x[row, :length]) if length else torch.zeros(2)
        torch.testing.assert_close(out[row], wanted)


@pytest.mark.parametrize("how", POOLINGS)
def test_an_empty_row_gives_finite_gradients(how):
    x, module = torch.randn(4, 4, 2, requires_grad=True), pooling(how)
    module(x, MASK).square().sum().backward()
    assert (x.grad[2] == 0).all()
    assert x.grad.isfinite().all()
    assert all(weight.grad.abs().sum() > 0 for weight in module.parameters())


def test_attentive_begins_as_the_mean_and_learns():
    x = torch.randn(4, 4, 2)
    module = Pooling("attentive", 2)
    torch.testing.assert_close(module(x, MASK), Pooling("average", 2)(x, MASK))
    module(x, MASK).square().sum().backward()
    assert module.score.weight.grad.abs().sum() > 0


def test_unknown_way_is_named():
    with pytest.raises(MMFairseqError, match=r"'max'.*average, last, attentive"):
        Pooling("max", 2)

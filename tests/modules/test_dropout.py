"""Dropout: the share, the scale, the gradient and the seed, as torch's own has them."""

import pytest
import torch

from mm_fairseq.modules import dropout as module
from mm_fairseq.modules.dropout import Draw, Dropout, relu_dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.97])
def test_share_and_scale(probability, device):
    torch.manual_seed(0)
    x = torch.full((1000, 333), 2.0, device=device)
    out = Dropout(probability)(x)
    kept = out != 0
    assert kept.float().mean().item() == pytest.approx(1 - probability, abs=0.003)
    torch.testing.assert_close(out[kept], torch.full_like(out[kept], 2 / (1 - probability)), rtol=1e-3, atol=0)
    assert out.mean().item() == pytest.approx(2, rel=0.02)


def test_draws_are_independent():
    torch.manual_seed(0)
    kept = Draw(0.5)(torch.Size([200_003])).float() - 0.5
    for shift in (1, 2, 3, 4, 5, 8, 16):
        assert abs((kept[shift:] * kept[:-shift]).mean()) < 0.002


def test_gradient_flows_where_the_value_does(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 7)  # several pieces, the last one short
    x = torch.randn(5, 9, dtype=torch.double, requires_grad=True)
    out = Dropout(0.4)(x)
    out.backward(torch.ones_like(out))
    torch.testing.assert_close(out, x * x.grad)
    assert 0 < (x.grad == 0).sum() < 45
    assert x.grad.max() == pytest.approx(1 / 0.6, rel=1e-4)


def test_the_seed_decides_and_views_do_not_matter():
    x = torch.randn(6, 40)
    outs = []
    for view in (x, x.t().contiguous().t()):
        torch.manual_seed(3)
        outs.append(Dropout(0.3)(view))
    assert torch.equal(*outs)
    assert not torch.equal(outs[0], Dropout(0.3)(x))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_nothing_or_everything(probability):
    x = torch.randn(3, 4)
    assert torch.equal(Dropout(probability)(x), x * (1 - probability))
    assert Dropout(0.5).eval()(x) is x


def test_half_precision():
    assert Dropout(0.5)(torch.ones(64, dtype=torch.half)).dtype == torch.half


def test_relu_and_dropout_at_once(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 7)
    torch.manual_seed(0)
    x = torch.randn(50, 90, dtype=torch.double, requires_grad=True)
    out = relu_dropout(x * 1, 0.4, True)
    (gradient,) = torch.autograd.grad(out.square().sum() / 2, x)
    kept = out != 0
    torch.testing.assert_close(out[kept], x[kept].relu() / 0.6, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(gradient, out / 0.6, atol=1e-4, rtol=1e-4)
    assert (x[kept] > 0).all()
    assert kept.sum().item() / (x > 0).sum().item() == pytest.approx(0.6, abs=0.03)


def test_relu_without_dropout_leaves_its_input():
    x = torch.randn(5, 9)
    for probability, training in ((0.0, True), (0.4, False), (0.4, True)):
        before = x.clone()
        out = relu_dropout(x, probability, training)
        assert torch.equal(x, before)
        assert (probability and training) or torch.equal(out, x.relu())

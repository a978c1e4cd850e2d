"""Dropout: the share, the scale, the gradient and the seed, as torch's own has them."""

import pytest
import torch

from mm_fairseq.modules import dropout as module
from mm_fairseq.modules.dropout import Draw, Dropout


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

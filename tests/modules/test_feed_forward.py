"""The feed-forward part against the plain formula with the same mask."""

import pytest
import torch
import torch.nn.functional as F

from mm_fairseq.modules import feed_forward as module
from mm_fairseq.modules import transformer
from mm_fairseq.modules.feed_forward import feed_forward


def weights():
    torch.manual_seed(0)
    shapes = [(3, 7, 6), (10, 6), (10,), (6, 10), (6,)]
    return [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("piece", [10**6, 40, 1])
def test_equals_the_formula_with_its_gradients(piece, monkeypatch):
    drawn = []

    class Draw(module.Draw):
        def __call__(self, size):
            drawn.append(super().__call__(size))
            return drawn[-1]

    monkeypatch.setattr(module, "Draw", Draw)
    monkeypatch.setattr(module, "PIECE", piece)
    x, first, bias, second, out_bias = given = weights()
    out = feed_forward(*given, 0.3)
    kept = torch.cat(drawn).view(3, 7, 10)
    factor = Draw(0.3).factor
    expected = F.linear(F.relu(F.linear(x, first, bias)) * kept * factor, second, out_bias)
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=1e-12)
    above = torch.randn(out.shape, dtype=torch.double)
    found, wanted = (torch.autograd.grad((each * above).sum(), given) for each in (out, expected))
    torch.testing.assert_close(found, wanted, atol=1e-11, rtol=1e-11)
    count = len(drawn) // 2
    assert all(torch.equal(*pair) for pair in zip(drawn[:count], drawn[count:], strict=True))  # the same once more


def test_layers_take_it_for_many_hidden_units(monkeypatch):
    layer = transformer.TransformerLayer(12, 3, 20, True, 0.0, 1e-9, 0.0)  # that drops nothing
    x, mask = torch.randn(3, 6, 12), torch.zeros(3, 6, dtype=torch.bool)
    outs = [layer(x, mask)]
    used = []
    monkeypatch.setattr(module, "LARGE", 3 * 6 * 20)
    monkeypatch.setattr(transformer, "feed_forward", lambda *args: used.append(1) or feed_forward(*args))
    outs.append(layer(x, mask))
    assert used
    torch.testing.assert_close(*outs, atol=1e-6, rtol=1e-5)
    layer.eval()
    layer(x, mask)
    assert len(used) == 1

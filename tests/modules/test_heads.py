"""Heads: one linear layer a target."""

import pytest
import torch

from mm_fairseq.modules.heads import Heads


@pytest.mark.parametrize("hidden", [True, False])
def test_formula(hidden):  # "type" is a name that torch keeps for itself
    torch.manual_seed(0)
    heads = Heads(6, {"emotion": 4, "type": 1}, dropout=0.3, hidden=hidden).eval()
    x = torch.randn(3, 6)
    inner = torch.tanh(x @ heads.dense[1].weight.T + heads.dense[1].bias) if hidden else x
    out = heads(x)
    assert {name: value.shape for name, value in out.items()} == {"emotion": (3, 4), "type": (3, 1)}
    for name, value in out.items():
        layer = heads.out[f"to_{name}"]
        torch.testing.assert_close(value, inner @ layer.weight.T + layer.bias)


def test_dropout_acts_in_training_only():
    heads = Heads(64, {"emotion": 4}, dropout=0.5, hidden=False)
    x = torch.ones(1, 64)
    assert not torch.equal(heads(x)["emotion"], heads(x)["emotion"])
    heads.eval()
    assert torch.equal(heads(x)["emotion"], heads(x)["emotion"])


def test_mixup_is_of_the_fused_vectors():
    torch.manual_seed(0)
    heads = Heads(6, {"emotion": 4}, dropout=0.0, hidden=True).eval()
    x, partner, share = torch.randn(3, 6), torch.tensor([1, 2, 2]), torch.tensor([0.25, 1.0, 0.5])
    mixed = torch.stack([0.25 * x[0] + 0.75 * x[1], x[1], x[2]])
    torch.testing.assert_close(heads(x, partner, share), heads(mixed))

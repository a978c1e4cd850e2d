"""MaskedAttention against torch's own."""

import pytest
import torch
from torch import nn

from mm_fairseq.modules.attention import MaskedAttention


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return MaskedAttention(dim=8, heads=2, key_dim=6).eval()


def test_normal_rows_equal_torch(attention):
    plain = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True).eval()
    plain.load_state_dict(attention.state_dict())
    query, key = torch.randn(3, 4, 8), torch.randn(3, 5, 6)
    mask = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 1, 1, 1, 1]]).bool()
    expected = plain(query, key, key, key_padding_mask=mask)[0]
    torch.testing.assert_close(attention(query, key, mask), expected)


def test_row_without_keys_is_zero_and_differentiable(attention):
    query, key = torch.randn(2, 4, 8, requires_grad=True), torch.randn(2, 5, 6, requires_grad=True)
    mask = torch.tensor([[True] * 5, [False] * 5])
    attention.out_proj.bias.data.fill_(3.0)
    out = attention(query, key, mask)
    assert (out[0] == 0).all()
    assert (out[1] != 0).any()
    out.sum().backward()
    for tensor in (query, key, *attention.parameters()):
        assert tensor.grad.isfinite().all()
    assert (key.grad[0] == 0).all()


def test_padding_changes_nothing(attention):
    query, key = torch.randn(1, 4, 8), torch.randn(1, 5, 6)
    alone = attention(query, key, torch.zeros(1, 5, dtype=torch.bool))
    padded = torch.cat([key, torch.full((1, 7, 6), 1e4)], dim=1)
    torch.testing.assert_close(attention(query, padded, (torch.arange(12) >= 5)[None]), alone)

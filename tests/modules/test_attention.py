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


def single(key_dim, dtype=torch.double, dropout=0.0):
    """Ours and torch's with the same weights, a query, keys and a mask with a row of every kind."""
    torch.manual_seed(0)
    ours = MaskedAttention(12, 3, dropout, key_dim).to(dtype)
    theirs = nn.MultiheadAttention(12, 3, dropout, kdim=key_dim, vdim=key_dim, batch_first=True).to(dtype)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict())
    query = torch.randn(3, 1, 12, dtype=dtype, requires_grad=True)
    key = torch.randn(3, 5, key_dim, dtype=dtype, requires_grad=True)
    return ours, theirs, query, key, torch.arange(5) >= torch.tensor([5, 3, 1])[:, None]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.double, 1e-10), (torch.float, 1e-5)])
@pytest.mark.parametrize("key_dim", [12, 6])
def test_a_single_query_equals_torch_with_its_gradients(key_dim, dtype, tolerance):
    ours, theirs, query, key, mask = single(key_dim, dtype)
    outs = ours(query, key, mask), theirs(query, key, key, key_padding_mask=mask)[0]
    torch.testing.assert_close(*outs, atol=tolerance, rtol=tolerance)
    weight = torch.randn_like(outs[0])
    found, expected = (
        torch.autograd.grad((out * weight).sum(), (query, key, *model.parameters()))
        for out, model in zip(outs, (ours, theirs), strict=True)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=10 * tolerance, rtol=10 * tolerance)


@pytest.mark.parametrize("key_dim", [12, 6])
def test_a_single_query_without_keys_is_zero(key_dim):
    ours, _, query, key, mask = single(key_dim)
    mask[1] = True
    out = ours(query, key, mask)
    assert (out[1] == 0).all()
    assert (out[[0, 2]] != 0).any(-1).all()
    out.sum().backward()
    for tensor in (query, key, *ours.parameters()):
        assert tensor.grad.isfinite().all()
    assert (key.grad[1] == 0).all()


def test_dropout_of_a_single_query_is_that_of_torch():
    ours, theirs, query, key, mask = single(6, torch.float, dropout=0.4)
    many = [x.detach()[:1].expand(20000, -1, -1) for x in (query, key)]
    rows = mask[:1].expand(20000, -1)
    found, expected = ours(*many, rows), theirs(many[0], many[1], many[1], key_padding_mask=rows)[0]
    spread = expected.std(0)
    assert spread.min() > 0.1
    torch.testing.assert_close(found.mean(0), expected.mean(0), atol=float(0.05 * spread.max()), rtol=0)
    torch.testing.assert_close(found.std(0), spread, rtol=0.05, atol=0)


def test_a_single_query_in_half_precision(device):
    ours, _, query, key, mask = single(6, torch.float)
    expected = ours(query, key, mask)
    half = ours.half().to(device)(query.half().to(device), key.half().to(device), mask.to(device))
    assert half.dtype == torch.half
    torch.testing.assert_close(half.float().cpu(), expected, atol=0.05, rtol=0.05)

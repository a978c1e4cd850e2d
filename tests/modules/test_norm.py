"""Masked group normalisation against nn.GroupNorm on rows without padding."""

import pytest
import torch
from torch import nn

from mm_fairseq.modules.norm import MaskedGroupNorm, masked_group_norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_equals_group_norm_of_the_row_alone(dtype, affine, groups):
    torch.manual_seed(0)
    norm = nn.GroupNorm(groups, 6, affine=affine, dtype=dtype)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x, lengths = 3 + 2 * torch.randn(4, 6, 20, dtype=dtype), torch.tensor([20, 7, 1, 0])
    out = masked_group_norm(x, lengths, norm)
    assert out.dtype == dtype
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for row, length in enumerate(lengths.tolist()):
        assert (out[row, :, length:] == 0).all()
        if length * 6 > groups:  # nn.GroupNorm takes no variance of a single value
            alone = norm(x[row : row + 1, :, :length])[0]
            torch.testing.assert_close(out[row, :, :length], alone, atol=tolerance, rtol=tolerance)


def test_values_in_the_padding_are_not_seen():
    norm, x = nn.GroupNorm(1, 3), torch.randn(1, 3, 9)
    loud = x.clone()
    loud[..., 4:] = torch.tensor([1e6, -1e6, float("nan"), float("inf"), 0])
    lengths = torch.tensor([4])
    torch.testing.assert_close(masked_group_norm(loud, lengths, norm), masked_group_norm(x, lengths, norm))


def test_long_rows_keep_their_precision():
    torch.manual_seed(0)
    norm, x = nn.GroupNorm(1, 64), torch.randn(2, 64, 40000)
    found = masked_group_norm(x, torch.tensor([40000, 30000]), norm)[1:, :, :30000]
    torch.testing.assert_close(found.double(), norm.double()(x[1:, :, :30000].double()), atol=1e-6, rtol=1e-6)


def test_half_precision_takes_its_statistics_in_single():
    norm = nn.GroupNorm(1, 4)
    x = (300 * torch.randn(2, 4, 400)).half()
    out = masked_group_norm(x, torch.tensor([400, 400]), norm)
    torch.testing.assert_close(out.float(), norm(x.float()), atol=2e-3, rtol=2e-3)


def test_the_module_has_the_weights_of_group_norm():
    torch.manual_seed(0)
    norm, masked = nn.GroupNorm(4, 4), MaskedGroupNorm(4, 4)
    nn.init.normal_(norm.weight)
    masked.load_state_dict(norm.state_dict())
    x = torch.randn(2, 4, 9)
    assert torch.equal(masked(x), norm(x))
    masked.lengths = torch.tensor([9, 5])
    found = masked(x)
    torch.testing.assert_close(found[:1], norm(x[:1]))
    torch.testing.assert_close(found[1:, :, :5], norm(x[1:, :, :5]))
    assert (found[1, :, 5:] == 0).all()


def test_the_gradient_is_that_of_the_row_alone():
    torch.manual_seed(0)
    norm, x = nn.GroupNorm(2, 4), torch.randn(1, 4, 9, requires_grad=True)
    (expected,) = torch.autograd.grad(norm(x[..., :6]).pow(3).sum(), x)
    (found,) = torch.autograd.grad(masked_group_norm(x, torch.tensor([6]), norm).pow(3).sum(), x)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

"""masked_group_norm against nn.GroupNorm on rows without padding."""

import pytest
import torch
from torch import nn

from mm_fairseq.modules.norm import masked_group_norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("affine", [True, False])
def test_equals_group_norm_of_the_row_alone(dtype, affine):
    torch.manual_seed(0)
    norm = nn.GroupNorm(1, 6, affine=affine, dtype=dtype)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x, lengths = 3 + 2 * torch.randn(4, 6, 20, dtype=dtype), torch.tensor([20, 7, 1, 0])
    out = masked_group_norm(x, lengths, norm)
    assert out.dtype == dtype
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    for row, length in enumerate(lengths.tolist()):
        assert (out[row, :, length:] == 0).all()
        if length:
            alone = norm(x[row : row + 1, :, :length])[0]
            torch.testing.assert_close(out[row, :, :length], alone, atol=tolerance, rtol=tolerance)


def test_values_in_the_padding_are_not_seen():
    norm, x = nn.GroupNorm(1, 3), torch.randn(1, 3, 9)
    loud = x.clone()
    loud[..., 4:] = 1e6
    lengths = torch.tensor([4])
    torch.testing.assert_close(masked_group_norm(loud, lengths, norm), masked_group_norm(x, lengths, norm))


def test_half_precision_takes_its_statistics_in_single():
    norm = nn.GroupNorm(1, 4)
    x = (300 * torch.randn(2, 4, 400)).half()
    out = masked_group_norm(x, torch.tensor([400, 400]), norm)
    torch.testing.assert_close(out.float(), norm(x.float()), atol=2e-3, rtol=2e-3)


def test_more_groups_are_refused():
    with pytest.raises(ValueError, match="2"):
        masked_group_norm(torch.randn(1, 4, 3), torch.tensor([3]), nn.GroupNorm(2, 4))

"""Sinusoids against the formula of the paper."""

import math

import pytest
import torch

from mm_fairseq.modules.positions import sinusoid


@pytest.mark.parametrize("dim", [6, 7, 1])
def test_formula(dim):
    out = sinusoid(40, dim, torch.zeros((), dtype=torch.double))
    assert out.shape == (40, dim)
    for position in (0, 1, 39):
        for channel in range(dim):
            angle = position / 10000 ** (2 * (channel // 2) / dim)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert out[position, channel].item() == pytest.approx(expected, abs=1e-12)


def test_type_is_that_of_the_input():
    assert sinusoid(3, 4, torch.zeros(1, dtype=torch.half)).dtype == torch.half

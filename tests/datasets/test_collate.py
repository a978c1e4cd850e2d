"""Padding of arrays of different lengths."""

import numpy as np
import pytest
import torch

from mm_fairseq.datasets.collate import pad


def test_pads_behind_and_masks():
    x, mask = pad([np.array([1, 2, 3]), np.array([4]), None], value=9, like=np.zeros(0, np.int64))
    assert x.tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]
    assert mask.tolist() == [[False] * 3, [False, True, True], [True] * 3]
    assert (x.dtype, mask.dtype) == (torch.int64, torch.bool)


def test_trailing_shape_is_that_of_the_items():
    x, mask = pad([None, np.ones((2, 3, 4), np.uint8)], value=0, like=np.zeros((0, 3, 1), np.uint8))
    assert x.shape == (2, 2, 3, 4)
    assert x[1].eq(1).all()
    assert mask.tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("items", [[None, None], [np.zeros(0, np.float32), None]])
def test_nothing_at_all_is_one_frame_of_padding(items):
    x, mask = pad(items, value=0, like=np.zeros(0, np.float32))
    assert x.shape == mask.shape == (2, 1)
    assert mask.all()

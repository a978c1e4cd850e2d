"""Frame drop and flip."""

import numpy as np
import pytest

from mm_fairseq.datasets.augment.video import drop_frames, flip


def pictures(count, width=4):
    """Picture t has the value t in column 0, t + 1 in column 1, and so on; channels last in memory."""
    x = np.arange(count)[:, None, None, None] + np.arange(width)[None, None, :, None]
    return np.broadcast_to(x, (count, 3, width, 3)).astype(np.uint8).transpose(0, 3, 1, 2)


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_as_often_as_asked_and_what_stays_moves_together(probability):
    x = pictures(200)
    out = drop_frames(x, probability, 1, np.random.default_rng(0))
    numbers = out[:, 0, 0, 0]
    assert 1 - len(out) / 200 == pytest.approx(probability, abs=0.08)
    assert (np.diff(numbers.astype(int)) > 0).all()
    assert np.array_equal(out, x[numbers])


@pytest.mark.parametrize(("count", "shortest", "left"), [(5, 1, 1), (5, 4, 4), (2, 4, 2), (1, 1, 1)])
def test_some_stay(count, shortest, left):
    assert len(drop_frames(pictures(count), 1 - 1e-12, shortest, np.random.default_rng(0))) == left


def test_flip_exchanges_left_and_right_and_keeps_the_layout():
    x = pictures(3)
    out = flip(x)
    assert np.array_equal(out[..., 0], x[..., 3])
    assert np.array_equal(flip(out), x)
    assert out.strides == x.copy(order="K").strides
    assert (out.dtype, out.shape) == (x.dtype, x.shape)

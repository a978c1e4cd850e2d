"""Word drop: as often as asked, in order, never the symbols at the ends."""

import numpy as np
import pytest

from mm_fairseq.datasets.augment.text import drop_words

BOS, EOS = 0, 2
TEXT = np.array([BOS, *range(10, 510), EOS])


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_as_often_as_asked(probability):
    out = drop_words(TEXT, probability, 1, np.random.default_rng(0))
    assert (out[0], out[-1]) == (BOS, EOS)
    assert (np.diff(out[1:-1]) > 0).all()  # in order
    assert 1 - (len(out) - 2) / 500 == pytest.approx(probability, abs=0.06)
    assert out.dtype == TEXT.dtype


@pytest.mark.parametrize(("shortest", "left"), [(1, 1), (2, 1), (5, 3), (502, 500)])
def test_something_stays(shortest, left):
    out = drop_words(TEXT, 1 - 1e-12, shortest, np.random.default_rng(0))
    assert len(out) == left + 2
    assert (out[0], out[-1]) == (BOS, EOS)


@pytest.mark.parametrize("text", [[BOS, EOS], [BOS], [BOS, 7, EOS]])
def test_there_may_be_nothing_to_drop(text):
    assert drop_words(np.array(text), 0.99, 1, np.random.default_rng(0)).tolist() == text

"""Batches as two arrays against fairseq's lists of them."""

import numpy as np
import pytest
from fairseq.data import data_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_fairseq.datasets import batches
from mm_fairseq.datasets.batches import Batches, Chosen, plan


def fairseqs(sizes, order, max_tokens, max_sentences, multiple=1):
    return data_utils.batch_by_size(order, None, sizes[order], max_tokens, max_sentences, multiple)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=80),
    st.one_of(st.none(), st.integers(30, 100)),
    st.one_of(st.none(), st.integers(1, 9)),
    st.booleans(),
    st.integers(1, 20),
)
def test_made_in_parts_they_are_those_made_at_once(sizes, max_tokens, max_sentences, by_length, chunk):
    sizes = np.array(sizes, np.int64)
    order = np.argsort(sizes, kind="stable") if by_length else np.random.default_rng(0).permutation(len(sizes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "CHUNK", chunk)
        found = plan(order, lambda part: fairseqs(sizes, part, max_tokens, max_sentences))
    expected = fairseqs(sizes, order, max_tokens, max_sentences)
    assert len(found) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("multiple", [2, 8])
def test_multiples_are_made_at_once(multiple):
    sizes = np.random.default_rng(0).integers(1, 30, 100)
    order = np.argsort(sizes, kind="stable")
    found = plan(order, lambda part: fairseqs(sizes, part, 90, None, multiple), whole=True)
    assert [batch.tolist() for batch in found] == [
        batch.tolist() for batch in fairseqs(sizes, order, 90, None, multiple)
    ]


def test_a_sequence_as_any_other():
    found = Batches(np.array([4, 2, 0, 1, 3]), np.array([0, 2, 3, 5]))
    listed = [[4, 2], [0], [1, 3]]
    assert [batch.tolist() for batch in found] == listed
    assert found[0].dtype == np.int64
    assert found[-1].tolist() == [1, 3]
    assert [batch.tolist() for batch in found[1:]] == listed[1:]
    with pytest.raises(IndexError):
        found[3]
    some = Chosen(found, np.array([2, -1, 0]))
    assert [list(batch) for batch in some] == [[1, 3], [], [4, 2]]
    assert [list(batch) for batch in some[1:]] == [[], [4, 2]]
    assert len(some) == 3


def test_nothing_has_no_batches():
    assert len(plan(np.zeros(0, np.int64), lambda part: [])) == 0

"""Epochs against fairseq's own iterator; resumed at any number of ranks every utterance is visited once."""

import logging
from collections import Counter

import numpy as np
import pytest
import torch
from fairseq.data import FairseqDataset
from fairseq.data.iterators import EpochBatchIterator, GroupedIterator
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_fairseq.datasets import EpochIterator
from mm_fairseq.datasets.batches import plan

pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory'")


class Numbers(FairseqDataset):
    """Its items are their own numbers."""

    def __init__(self, size):
        self.sizes = np.random.default_rng(1).integers(1, 30, size)
        self.epochs = []

    def __getitem__(self, index):
        return int(index)

    def __len__(self):
        return len(self.sizes)

    def collater(self, samples):
        return samples

    def num_tokens_vec(self, indices):
        return self.sizes[indices]

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def sampler(self, dataset, epoch):
        order = np.random.default_rng(epoch).permutation(len(self))
        return plan(order, lambda part: FairseqDataset.batch_by_size(self, part, max_tokens=60))


def theirs(size, rank=0, ranks=1, **options):
    data = Numbers(size)
    return EpochBatchIterator(
        data, data.collater, data.sampler, seed=3, num_shards=ranks, shard_id=rank, persistent_workers=False, **options
    )


def ours(size, rank=0, ranks=1, update_freq=(1,), **options):
    return EpochIterator(theirs(size, rank, ranks, **options), update_freq)


OPTIONS = {
    "plain": {},
    "workers": {"num_workers": 1},
    "buffered": {"buffer_size": 4},
    "remainder": {"skip_remainder_batch": True},
    "grouped": {"grouped_shuffling": True},
    "unshuffled": {"disable_shuffling": True},
}


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("name", OPTIONS)
def test_epochs_and_resumption_are_fairseqs(name, ranks):
    """Three epochs, one of them begun again in its middle from the state, and the states themselves."""
    for rank in range(ranks if name == "plain" else 1):
        made = [make(50, rank, ranks, **OPTIONS[name]) for make in (theirs, ours)]
        for epoch in range(1, 4):
            iterators = [each.next_epoch_itr(shuffle=epoch != 2, fix_batches_to_gpus=True) for each in made]
            assert len(iterators[0]) == len(iterators[1]) > 4 // ranks
            found = [[], []]
            for step in range(len(iterators[0])):
                for batches, iterator in zip(found, iterators, strict=True):
                    batches.append(next(iterator))
                states = [each.state_dict() for each in made]
                assert states[0] == {key: states[1][key] for key in states[0]}
                if (epoch, step) == (3, 1):
                    made = [make(50, rank, ranks, **OPTIONS[name]) for make in (theirs, ours)]
                    for each, state in zip(made, states, strict=True):
                        each.load_state_dict(state)
                    iterators = [each.next_epoch_itr(fix_batches_to_gpus=True) for each in made]
                    assert iterators[0].n == iterators[1].n == 2
            assert found[0] == found[1]
            assert [len(each) for each in made] == [len(made[0])] * 2
            assert [each.end_of_epoch() for each in made] == [True] * 2
        assert made[0].first_batch == made[1].first_batch
        assert made[0].dataset.epochs == made[1].dataset.epochs


def test_what_is_shuffled_is_numbers():
    """NumPy draws the same for an array of numbers as for a list of batches."""
    for size in (1, 2, 7, 1000):
        listed, numbers = [[place] for place in range(size)], np.arange(size, dtype=np.int32)
        np.random.seed(5)
        np.random.shuffle(listed)
        np.random.seed(5)
        np.random.shuffle(numbers)
        assert [place for (place,) in listed] == numbers.tolist()


def updates(iterators, freq, most):
    """Utterances of the first `most` updates of all ranks together, as fairseq's command takes them."""
    seen = []
    grouped = [GroupedIterator(iterator, freq) for iterator in iterators]
    for _ in range(most):
        if not grouped[0].has_next():
            break
        for each in grouped:
            seen += [index for batch in next(each) for index in batch]
    return seen


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4),
    st.booleans(),
)
def test_every_utterance_once_whatever_the_ranks(size, runs, shuffle):
    """An epoch in several runs, each of so many ranks, of such an --update-freq and of so many updates."""
    seen, state = [], None
    for ranks, freq, most in [*runs, (2, 3, size)]:
        made = [ours(size, rank, ranks, (freq,)) for rank in range(ranks)]
        if state is not None:
            for each in made:
                each.load_state_dict(state)
        iterators = [each.next_epoch_itr(shuffle=shuffle) for each in made]
        assert len({len(iterator) for iterator in iterators}) == 1
        seen += updates(iterators, freq, most)
        states = [each.state_dict() for each in made]
        assert all(each == states[0] for each in states)
        state = states[0]
        if state["epoch"] == 2:
            break
    assert (state["epoch"], state["iterations_in_epoch"]) == (2, 0)
    assert Counter(seen) == Counter(range(size))


def test_the_order_goes_on_where_it_was():
    """Three ranks take over from two: together they get what one rank alone would get next."""
    whole = list(ours(80).next_epoch_itr())
    two = [ours(80, rank, 2) for rank in range(2)]
    iterators = [each.next_epoch_itr() for each in two]
    taken = [next(iterator) for _ in range(3) for iterator in iterators]
    assert taken == whole[:6]
    three = [ours(80, rank, 3) for rank in range(3)]
    for each in three:
        each.load_state_dict(two[0].state_dict())
    rest = [each.next_epoch_itr() for each in three]
    found = [next(iterator) for _ in range(len(rest[0]) - rest[0].n) for iterator in rest]
    assert [batch for batch in found if batch] == whole[6:]
    assert three[1].state_dict() == {"version": 2, "epoch": 2, "iterations_in_epoch": 0, "shuffle": True}


def test_groups_stay_those_of_the_run_that_began():
    began = [ours(80, rank, 2, grouped_shuffling=True) for rank in range(2)]
    iterators = [each.next_epoch_itr() for each in began]
    taken = [next(iterator) for _ in range(2) for iterator in iterators]
    uninterrupted = taken + [next(iterator) for _ in range(len(iterators[0]) - 2) for iterator in iterators]
    again = [ours(80, rank, 2, grouped_shuffling=True) for rank in range(2)]
    iterators = [each.next_epoch_itr() for each in again]
    for _ in range(2):
        for iterator in iterators:
            next(iterator)
    alone = ours(80, grouped_shuffling=True)
    alone.load_state_dict(again[0].state_dict())
    assert taken + list(alone.next_epoch_itr()) == uninterrupted


def test_an_older_state_is_one_of_as_many_ranks():
    made = ours(50, 1, 2)
    iterator = made.next_epoch_itr()
    expected = list(iterator)[3:]
    old = {"version": 2, "epoch": 1, "iterations_in_epoch": 3, "shuffle": True}
    made = ours(50, 1, 2)
    made.load_state_dict(old)
    assert list(made.next_epoch_itr()) == expected


def test_a_state_of_other_batches_is_told(caplog):
    made = ours(50)
    next(made.next_epoch_itr())
    state = made.state_dict()
    with caplog.at_level(logging.WARNING):
        ours(70).load_state_dict(state)
    assert f"epoch 1 was begun with {state['batches']} batches and has" in caplog.text


def test_a_state_goes_through_a_checkpoint(tmp_path):
    made = ours(50)
    next(made.next_epoch_itr())
    torch.save(made.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == made.state_dict()

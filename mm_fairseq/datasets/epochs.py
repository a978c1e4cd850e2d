"""fairseq's iterator over epochs, without an object a batch, and with a state that any number of ranks goes on from."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from fairseq.data import data_utils
from fairseq.data.iterators import EpochBatchIterator

from .batches import Chosen, give_back

logger = logging.getLogger(__name__)


class Begin(NamedTuple):
    """Where in an epoch an iterator begins.

    Args:
        consumed: batches of the whole epoch that all ranks together have had before.
        iterations: of each rank, that count as done.
        ranks: of the run that began the epoch; --grouped-shuffling makes groups of so many batches.
    """

    consumed: int
    iterations: int
    ranks: int


class EpochIterator(EpochBatchIterator):
    """As fairseq's, with the same batches in the same order on every rank.

    Its state says in `consumed` how many batches of the epoch all ranks together have had, in `ranks` how many ranks
    began the epoch and in `batches` how many it has. Ranks that go on from it, as many as before or not, share what is
    left: every utterance is visited once in the epoch. A state without these keys is one of as many ranks as there are.

    Batches are left out where fairseq leaves them out: with --grouped-shuffling those that fill no whole group, with
    --skip-remainder-batch those that fill no whole update.

    Args:
        made: an iterator that fairseq made, not used yet.
        update_freq: --update-freq, a number an epoch and the last one for all further epochs. What counts as done is a
            multiple of it, or fairseq would leave out the last update of the epoch.
    """

    def __init__(self, made: EpochBatchIterator, update_freq: Sequence[int] = (1,)) -> None:
        sampler = made.batch_sampler
        super().__init__(
            dataset=made.dataset,
            collate_fn=made.collate_fn,
            batch_sampler=sampler if callable(sampler) else lambda dataset, epoch: sampler,
            seed=made.seed,
            num_shards=made.num_shards,
            shard_id=made.shard_id,
            num_workers=made.num_workers,
            epoch=made.epoch,
            buffer_size=made.buffer_size,
            timeout=made.timeout,
            disable_shuffling=made.disable_shuffling,
            skip_remainder_batch=made.skip_remainder_batch,
            grouped_shuffling=made.grouped_shuffling,
            reuse_dataloader=made.reuse_dataloader,
            persistent_workers=made.persistent_workers,
        )
        self.epoch: int
        self._frozen_batches: Any = None
        self.update_freq = update_freq
        self._begin = Begin(0, 0, self.num_shards)

    @property
    def frozen_batches(self) -> Any:
        """All batches of the epoch, in the order of the dataset."""
        if self._frozen_batches is None:
            self._frozen_batches = self.batch_sampler(self.dataset, self.epoch)
        return self._frozen_batches

    def next_epoch_itr(
        self, shuffle: bool = True, fix_batches_to_gpus: bool = False, set_dataset_epoch: bool = True
    ) -> Any:
        if self._next_epoch_itr is None:
            self._begin = Begin(0, 0, self.num_shards)
        return super().next_epoch_itr(shuffle, fix_batches_to_gpus, set_dataset_epoch)

    def ordered_batches(self, epoch: int, fix_batches_to_gpus: bool, shuffle: bool) -> Any:
        """Those of this rank, behind an empty one for each iteration that counts as done."""
        if self._supports_prefetch:
            return super().ordered_batches(epoch, fix_batches_to_gpus, shuffle)
        chosen = Chosen(self.frozen_batches, self._own(epoch, shuffle))
        give_back()
        return chosen

    def _own(self, epoch: int, shuffle: bool) -> np.ndarray:
        """Numbers of the batches of this rank; -1 for an empty one. Shape (iterations)."""
        left = self._order(epoch, shuffle)[self._begin.consumed :]
        done, iterations = self._begin.iterations, -(-len(left) // self.num_shards)
        own = left[self.shard_id :: self.num_shards]
        numbers = np.full(done + iterations, -1, np.int32)
        numbers[done : done + len(own)] = own
        return numbers

    def _order(self, epoch: int, shuffle: bool) -> np.ndarray:
        """Numbers of the batches as all ranks together get them. Shape (batches)."""
        group = self._begin.ranks if self.grouped_shuffling and shuffle else 1
        numbers = np.arange(len(self.frozen_batches) // group, dtype=np.int32)
        if shuffle:
            with data_utils.numpy_seed(self.seed + epoch):
                np.random.shuffle(numbers)  # draws what it draws for a list
        return (numbers[:, None] * group + np.arange(group, dtype=np.int32)).ravel()

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if state["iterations_in_epoch"] and not self._supports_prefetch:
            begin, total = self._begin, len(self.frozen_batches)
            consumed = begin.consumed + (state["iterations_in_epoch"] - begin.iterations) * self.num_shards
            state |= {"consumed": min(consumed, total), "ranks": begin.ranks, "batches": total}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        done, epoch = int(state_dict.get("iterations_in_epoch", 0)), int(state_dict["epoch"])
        if epoch != self.epoch:
            self._frozen_batches, self.epoch = None, epoch
        if done and not self._supports_prefetch:
            consumed = state_dict.get("consumed", done * self.num_shards)
            every = self.update_freq[min(epoch, len(self.update_freq)) - 1]
            done = -(-consumed // (self.num_shards * every)) * every
            self._begin = Begin(consumed, done, int(state_dict.get("ranks") or self.num_shards))
            if (told := state_dict.get("batches", len(self.frozen_batches))) != len(self.frozen_batches):
                logger.warning(
                    "epoch %d was begun with %d batches and has %d now: in what is left of it some utterances may come "
                    "twice or not at all; give the same --batch-size and --max-tokens, or --reset-dataloader",
                    *(epoch, told, len(self.frozen_batches)),
                )
        super().load_state_dict(state_dict | {"iterations_in_epoch": done})

"""A loss or gradient that is not a finite number: fairseq ends with a traceback that says nothing of the data.

It looks at the norm of the gradient alone, so that a NaN loss with a gradient goes unseen, and on several ranks takes
gradients that are not finite for ones that differ. Here a task that has a `Watch` as its `non_finite` says whose they
are, on all ranks together, before fairseq saves crash.pt, looks for the layer and ends; or leaves the update out. What
--fp16 and --amp do where a gradient is too large for their scale of the loss stays as it is; but --amp would try a loss
that is not finite again and again, at ever smaller scales: there the same is done as without it.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from fairseq.distributed import utils as distributed_utils
from fairseq.trainer import Trainer

from ..errors import MMFairseqError

ACTIONS = ENDED, SKIPPED, SCALED = "ended", "skipped", "left to the scale of the loss"
KEY = "skipped_nonfinite"  # in the extra state of a checkpoint


class Watch(Protocol):
    """What a task knows of the updates of its training.

    Args:
        skipped: updates that were left out.
        message: why the training ends; "" where it does not.
    """

    skipped: int
    message: str

    def begin(self, model: torch.nn.Module, update: int) -> None:
        """Before an update; `model` as it is, without what distributes it, and how many updates there were."""

    def lost(self) -> bool:
        """Whether a loss of this update is not finite, on this rank."""

    def suspects(self, model: torch.nn.Module, criterion: Any, batches: Iterable[Any], gradients: bool) -> list[Any]:
        """Utterances of this rank that may have made it so, found by trying each alone; plain types.

        Args:
            model: as above.
            criterion: of the training.
            batches: of this rank and update.
            gradients: look at gradients, the losses being finite.
        """

    def may_skip(self, model: torch.nn.Module) -> bool:
        """Whether this update may be left out; the same on all ranks."""

    def tell(self, found: list[list[Any]], action: str, folder: str, master: bool, skippable: bool = True) -> None:
        """Say and write down what was found.

        Args:
            found: `suspects` of every rank.
            action: what becomes of the update, one of `ACTIONS`.
            folder: of the checkpoints.
            master: whether it is this rank that writes.
            skippable: whether such an update could be left out.
        """


class _Skipped(Exception):
    """An update that is left out."""


def apply() -> None:
    """Watch the updates of all trainings; a second call changes nothing."""
    if getattr(Trainer.train_step, "repaired_by", None) == __name__:
        return
    Trainer.train_step = _watched(Trainer.train_step)
    Trainer.clip_grad_norm = _judged(Trainer.clip_grad_norm)
    Trainer.state_dict = _counted(Trainer.state_dict)
    Trainer.load_checkpoint = _count_again(Trainer.load_checkpoint)


def _watch(trainer: Trainer) -> Watch | None:
    return getattr(trainer.task, "non_finite", None)


def _watched(original: Callable) -> Callable:
    @functools.wraps(original)
    def train_step(self: Trainer, samples: list[Any], raise_oom: bool = False) -> Any:
        watch = _watch(self)
        if watch is None:
            return original(self, samples, raise_oom)
        self.watched = samples
        watch.begin(self.get_model(), self.get_num_updates())
        try:
            return original(self, samples, raise_oom)
        except _Skipped:
            self.zero_grad()
            return None
        except FloatingPointError as error:
            if not watch.message:
                raise
            raise MMFairseqError(watch.message) from error

    train_step.repaired_by = __name__  # type: ignore[attr-defined]
    return train_step


def _judged(original: Callable) -> Callable:
    @functools.wraps(original)
    def clip_grad_norm(self: Trainer, clip_norm: float) -> Any:
        watch = _watch(self)
        if watch is None:
            return original(self, clip_norm)
        try:
            norm = original(self, clip_norm)
        except OverflowError:  # --fp16 makes its scale smaller and leaves the update out
            if _anywhere(self, watch.lost())[0]:
                _tell(self, watch, SCALED, gradients=False)
            raise
        except FloatingPointError:  # its scale is at the smallest
            _tell(self, watch, ENDED, gradients=not _anywhere(self, watch.lost())[0], skippable=False)
            raise
        loss, gradient = _anywhere(self, watch.lost(), not torch.isfinite(norm).all())
        amp = self.cfg.common.amp
        if loss or (gradient and not amp):
            action = SKIPPED if watch.may_skip(self.get_model()) else ENDED
            _tell(self, watch, action, gradients=not loss)
            if action == SKIPPED:
                if amp:  # the scale stays; the optimizer is ready for the next update
                    self.optimizer.scaler.update(self.optimizer.scaler.get_scale())
                    self._amp_retries = 0
                raise _Skipped
            if amp:
                raise FloatingPointError(watch.message)
            return norm * torch.nan
        return norm

    return clip_grad_norm


def _anywhere(trainer: Trainer, *faults: Any) -> list[bool]:
    """Whether each of these holds on any rank."""
    flags = torch.tensor([float(fault) for fault in faults], device=trainer.device)
    if trainer.data_parallel_world_size > 1:
        distributed_utils.all_reduce(flags, group=trainer.data_parallel_process_group, op="max")
    return [bool(flag) for flag in flags.tolist()]


def _tell(trainer: Trainer, watch: Watch, action: str, gradients: bool, skippable: bool = True) -> None:
    batches = (trainer._prepare_sample(sample)[0] for sample in trainer.watched)
    found = [watch.suspects(trainer.get_model(), trainer.get_criterion(), batches, gradients)]
    if trainer.data_parallel_world_size > 1:
        found = distributed_utils.all_gather_list(found[0], group=trainer.data_parallel_process_group)
    folder, master = trainer.cfg.checkpoint.save_dir, trainer.is_data_parallel_master
    watch.tell(found, action, folder, master, skippable)


def _counted(original: Callable) -> Callable:
    @functools.wraps(original)
    def state_dict(self: Trainer) -> dict[str, Any]:
        state = original(self)
        if (watch := _watch(self)) is not None and watch.skipped:
            state["extra_state"][KEY] = watch.skipped
        return state

    return state_dict


def _count_again(original: Callable) -> Callable:
    @functools.wraps(original)
    def load_checkpoint(self: Trainer, *args: Any, reset_meters: bool = False, **kwargs: Any) -> Any:
        extra = original(self, *args, reset_meters=reset_meters, **kwargs)
        if (watch := _watch(self)) is not None and extra and not reset_meters:
            watch.skipped = int(extra.get(KEY, 0))
        return extra

    return load_checkpoint

"""Every repair of fairseq, each with its reason. Nothing else in the package patches anything.

`apply()` runs when the package is imported, that is before fairseq loads a file or starts a process.
"""

import copy
import functools
import logging
import math
import os
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import omegaconf
import torch
import torch.distributed as dist
from fairseq import checkpoint_utils, utils
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import progress_bar
from fairseq.models import distributed_fairseq_model
from fairseq.nan_detector import NanDetector
from fairseq.optim.composite import CompositeLRScheduler
from fairseq.optim.lr_scheduler.pass_through import PassThroughScheduleSchedule

from ..errors import MMFairseqError
from . import checkpoints, loopback, non_finite, safety

logger = logging.getLogger(__name__)


def apply() -> None:
    """Make all repairs; a second call changes nothing."""
    if getattr(distributed_utils.infer_init_method, "repaired_by", None) == __name__:
        return
    distributed_utils.infer_init_method = _infer_init_method(distributed_utils.infer_init_method)
    distributed_utils.call_main = _stressed_subsets(distributed_utils.call_main)
    distributed_utils.all_gather_list = _all_gather_list
    distributed_fairseq_model.DistributedDataParallel = _cpu_ready_ddp(
        distributed_fairseq_model.DistributedDataParallel
    )
    NanDetector.add_hooks = _hooks_of_leaves
    CompositeLRScheduler.step = _step_of_groups
    PassThroughScheduleSchedule.step = _step_of_optimizer
    checkpoint_utils.overwrite_args_by_name = _leave_backbone_args(checkpoint_utils.overwrite_args_by_name)
    checkpoint_utils.load_model_ensemble_and_task = _remember_loggers(checkpoint_utils.load_model_ensemble_and_task)
    checkpoint_utils.save_checkpoint = _undefined_is_not_best(checkpoint_utils.save_checkpoint)
    safety.apply()
    checkpoints.apply()
    checkpoint_utils.torch_persistent_save = safety.of_plain_types(checkpoint_utils.torch_persistent_save)
    if command := sys.modules.get("fairseq_cli.train"):
        command.should_stop_early = _undefined_is_no_stop(command.should_stop_early)  # type: ignore[attr-defined]
    progress_bar.progress_bar = _final_loggers(progress_bar.progress_bar)
    for bar in (progress_bar.BaseProgressBar, progress_bar.JsonProgressBar):
        bar._format_stats = _hide_private(bar._format_stats)
    sys.excepthook = _plain_message(sys.excepthook)
    non_finite.apply()
    loopback.apply()


def _infer_init_method(original: Callable) -> Callable:
    """Processes started by torchrun on a machine without a GPU.

    fairseq takes its default world size from the number of GPUs, so that under torchrun on a CPU every process trains
    alone in the same folder; where it does see torchrun it divides by the number of GPUs; and its own spawn on zero
    devices starts nothing and reports success.
    """

    @functools.wraps(original)
    def infer(cfg: Any, force_distributed: bool = False) -> None:
        if torch.cuda.is_available() or cfg.tpu:
            return original(cfg, force_distributed)
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ and cfg.distributed_init_method is None:
            cfg.distributed_init_method = "env://"
            cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
            cfg.distributed_rank = int(os.environ["RANK"])
            cfg.device_id = 0
            cfg.distributed_no_spawn = True
            cfg.distributed_backend = "gloo"
        elif cfg.distributed_world_size > 1 and not cfg.distributed_no_spawn:
            raise MMFairseqError(
                f"--distributed-world-size {cfg.distributed_world_size} on a machine without a GPU: start them by "
                f"`torchrun --nproc_per_node {cfg.distributed_world_size} $(which fairseq-train) ...` instead"
            )

    infer.repaired_by = __name__  # type: ignore[attr-defined]
    return infer


def _stressed_subsets(original: Callable) -> Callable:
    """`fairseq-validate` scores the splits that --valid-subset names, and has no way for a task to add to them.

    Behind each of them come those under --stress, `SPLIT@STRESS`.
    """

    @functools.wraps(original)
    def call_main(cfg: Any, main: Callable, **kwargs: Any) -> Any:
        stresses = str((cfg.get("task") or {}).get("stress") or "") if "override_args" in kwargs else ""
        names = [name.strip() for name in stresses.split(",") if name.strip()]
        if names:
            splits = cfg.dataset.valid_subset.split(",")
            copies = [[split, *(f"{split}@{name}" for name in names if "@" not in split)] for split in splits]
            cfg.dataset.valid_subset = ",".join(dict.fromkeys(name for each in copies for name in each))
        return original(cfg, main, **kwargs)

    return call_main


def _all_gather_list(data: Any, group: Any = None, max_size: int = 16384) -> list[Any]:
    """Gather any object from all ranks.

    fairseq's own goes through CUDA byte tensors, which a CPU lacks, and refuses more than `max_size` bytes, which the
    predictions of a whole split exceed. As there, tensors come back on the CPU.
    """
    group = group or distributed_utils.get_global_group()
    out: list[Any] = [None] * distributed_utils.get_world_size(group)
    dist.all_gather_object(out, utils.move_to_cpu(data), group=group)
    return out


def _cpu_ready_ddp(original: Callable) -> Callable:
    """`DistributedDataParallel` refuses device ids for modules on the CPU, and fairseq always passes one."""

    @functools.wraps(original, updated=())
    def build(module: torch.nn.Module, device_ids: Any = None, output_device: Any = None, **kwargs: Any) -> Any:
        if next(module.parameters()).device.type == "cpu":
            device_ids = output_device = None
        return original(module=module, device_ids=device_ids, output_device=output_device, **kwargs)

    return build


def _leave_backbone_args(original: Callable) -> Callable:
    """The options of `fairseq-validate` rewrite every entry of a checkpoint's configuration that has their name.

    They do so at any depth: its `--path` would become that of a pretrained file, and BLEU's `pad` that of a tokenizer.
    """

    @functools.wraps(original)
    def overwrite(cfg: Any, overrides: dict[str, Any]) -> None:
        model = cfg.get("model")
        ours = isinstance(model, omegaconf.DictConfig)  # others may have a Namespace there
        kept = copy.deepcopy(model.get("backbone_args")) if ours else None
        original(cfg, overrides)
        if kept is not None:
            with omegaconf.open_dict(cfg):
                cfg.model.backbone_args = kept

    return overwrite


def _hooks_of_leaves(self: Any, module: torch.nn.Module) -> None:
    """Fairseq looks for the layer that made a NaN, and dies of outputs that are dictionaries: torch's backward hook.

    The layers at the bottom return tensors; what is above them says no more.
    """
    if self.forward:
        self.fhooks.append(module.register_forward_hook(self.fhook_fn))
    if self.backward and not list(module.children()):
        self.bhooks.append(module.register_backward_hook(self.bhook_fn))


def _step_of_groups(self: Any, epoch: int, val_loss: float | None = None) -> None:
    """Fairseq's composite optimizer keeps the validation loss from its schedulers: no `reduce_lr_on_plateau`."""
    for scheduler in self.lr_schedulers.values():
        scheduler.step(epoch, val_loss)


def _step_of_optimizer(self: Any, epoch: int, val_loss: float | None = None) -> None:
    """`pass_through` hands everything on to the optimizer's own scheduler but the end of an epoch."""
    self.optimizer.lr_scheduler.step(epoch, val_loss)


def _hide_private(original: Callable) -> Callable:
    """`fairseq-validate` shows the log of every batch; keys with a leading underscore (counts) are not for people."""

    @functools.wraps(original)
    def format_stats(self: Any, stats: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        public = type(stats)((key, value) for key, value in stats.items() if key[:1] != "_")
        return original(self, public, *args, **kwargs)

    return format_stats


def _undefined_is_not_best(original: Callable) -> Callable:
    """A metric that is not defined (NaN: the correlation of a constant) makes `fairseq-train` forget the best value.

    Whatever comes next is then the best checkpoint, however bad. Here such a validation leaves the best one alone.
    """

    @functools.wraps(original)
    def save(cfg: Any, trainer: Any, epoch_itr: Any, val_loss: float | None) -> Any:
        if val_loss is not None and math.isnan(val_loss):
            logger.warning("--best-checkpoint-metric %s is not defined here: not the best", cfg.best_checkpoint_metric)
            val_loss = None
        return original(cfg, trainer, epoch_itr, val_loss)

    return save


def _undefined_is_no_stop(original: Callable) -> Callable:
    """No value is better than NaN: with --patience, training stops early after a first validation that has none."""

    @functools.wraps(original)
    def stop(cfg: Any, valid_loss: float | None) -> bool:
        return original(cfg, None if valid_loss is not None and math.isnan(valid_loss) else valid_loss)

    return stop


overridden: set[str] = set()
"""Options that this `fairseq-validate` was given: what a checkpoint says otherwise is not the user's word."""

_asked: dict[str, Any] = {}
"""--tensorboard-logdir and --wandb-project of this `fairseq-validate`, and the updates that its checkpoint has seen."""


def _remember_loggers(original: Callable) -> Callable:
    """`fairseq-validate` gives its own options, and only those, to the loading of the checkpoint.

    It ends with a traceback where there is no such file.
    """

    @functools.wraps(original)
    def load(filenames: list[str], arg_overrides: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        for name in filenames:
            if "://" not in name and not os.path.isfile(name):
                raise MMFairseqError(f"--path {name}: no such checkpoint")
        overridden.clear()
        overridden.update(arg_overrides or {})
        loaded = original(filenames, arg_overrides, *args, **kwargs)
        loggers = {name: (arg_overrides or {}).get(name) for name in ("tensorboard_logdir", "wandb_project")}
        _asked.clear()
        _asked.update({name: value for name, value in loggers.items() if value})
        _asked["step"] = loaded[-1].state.state_dict.get("updates", 0)
        return loaded

    return load


def _final_loggers(original: Callable) -> Callable:
    """`fairseq-validate` reads --tensorboard-logdir and --wandb-project and does nothing with them."""

    @functools.wraps(original)
    def build(*args: Any, **kwargs: Any) -> Any:
        loggers = {name: value for name, value in _asked.items() if name != "step"}
        first = not (dist.is_initialized() and dist.get_rank())
        if not loggers or not first or loggers.keys() & kwargs.keys():
            return original(*args, **kwargs)
        return _FinalBar(original(*args, **kwargs), original([], **kwargs | {"log_format": "none"} | loggers))

    return build


class _FinalBar(progress_bar.BaseProgressBar):
    """Shows everything in one bar, and the figures of the whole split, not of its batches, in another."""

    def __init__(self, shown: Any, logged: Any) -> None:
        super().__init__(shown.iterable)
        self.shown, self.logged = shown, logged

    def __iter__(self) -> Any:
        return iter(self.shown)

    def log(self, stats: dict[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self.shown.log(stats, tag=tag, step=step)

    def print(self, stats: dict[str, Any], tag: str | None = None, step: int | None = None) -> None:
        self.logged.print(stats, tag=tag, step=_asked["step"])
        self.shown.print(stats, tag=tag, step=step)


def _plain_message(original: Callable) -> Callable:
    """`fairseq-train` and its kin end with a traceback whatever is wrong; what a user can mend needs its message alone.

    Errors that no command of fairseq has raised keep their traceback.
    """

    @functools.wraps(original)
    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(trace))
        if isinstance(error, MMFairseqError) and any(name.startswith("fairseq_cli.") for name in modules):
            sys.stderr.write(f"error: {error}\n")
        else:
            original(kind, error, trace)

    return excepthook

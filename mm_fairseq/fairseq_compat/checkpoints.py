"""Checkpoints that a kill, a full disk, a damaged file or a second training cannot spoil.

fairseq renames the first checkpoint of an update into its place and copies it onto the other names, so that a kill in
the meantime leaves a `checkpoint_last.pt` cut short, which stops the restart. Nothing tells a damaged file from a whole
one, and two trainings write into one --save-dir.
"""

import atexit
import contextlib
import copy
import errno
import functools
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager

from .. import checkpoints
from ..atomic import LOCK_WAIT, HeldError, held
from ..errors import MMFairseqError

logger = logging.getLogger(__name__)

STOPPING = "early_stopping"  # in `extra_state`
CLAIM = ".training.tmp"
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}

Signature = tuple[int, ...]
"""What tells that a file has not been replaced: its inode, size, time."""

_claims: dict[Path, contextlib.ExitStack] = {}
_chosen: dict[tuple[Path, Signature], Path] = {}
_whole: set[tuple[Path, Signature]] = set()


def apply() -> None:
    """Put this in the place of what fairseq does."""
    checkpoint_utils.torch_persistent_save = _save(checkpoint_utils.torch_persistent_save)
    checkpoint_utils.PathManager = _Copies
    checkpoint_utils.verify_checkpoint_directory = _can_be_written
    checkpoint_utils.save_checkpoint = _without_old_sums(checkpoint_utils.save_checkpoint)
    checkpoint_utils.load_checkpoint = _of_newest(checkpoint_utils.load_checkpoint)
    checkpoint_utils.load_checkpoint_to_cpu = _checked(checkpoint_utils.load_checkpoint_to_cpu)
    distributed_utils.broadcast_tensors = _contiguous(distributed_utils.broadcast_tensors)


def claim(path: Path, what: str) -> None:
    """Hold a lock file until this process ends; a second call does nothing.

    Args:
        path: of the lock file, `.NAME.tmp`.
        what: is held, for the message.

    Raises:
        MMFairseqError: another process holds it.
    """
    path = path.absolute()
    if path in _claims:
        return
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(held(path, LOCK_WAIT))
    except HeldError as error:
        raise MMFairseqError(f"{what}: another process is writing there; wait for it or name another") from error
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise MMFairseqError(f"{what}: cannot be written ({error.strerror})") from error
        logger.warning("%s: this file system has no locks: nothing keeps another process from writing there", what)
    _claims[path] = stack
    atexit.register(_release, stack, os.getpid())


def _release(stack: contextlib.ExitStack, owner: int) -> None:
    if os.getpid() == owner:  # not in a process forked from it
        stack.close()


def claim_training(save_dir: Path) -> None:
    """Hold the folder of a training, and remove what a killed one left there.

    Raises:
        MMFairseqError: another training writes there.
    """
    claim(save_dir / CLAIM, f"--save-dir {save_dir}")
    checkpoints.tidy(save_dir)


def resumed_from(last: Path) -> Path | None:
    """The checkpoint that a training goes on from, the same on all ranks; None where it begins anew.

    A damaged `last` is told of. Where nothing is whole it gets another name, so that the training begins anew.

    Raises:
        MMFairseqError: nothing is whole, and the folder is not held by this training, which may rename nothing there.
    """
    several = dist.is_initialized() and dist.get_world_size() > 1
    if not several:
        return _newest(last)
    found: list[Any] = [None, ""]
    if dist.get_rank() == 0:
        try:
            found[0] = _newest(last)
        except (MMFairseqError, OSError) as error:  # or the others would wait
            found[1] = str(error)
    dist.broadcast_object_list(found, src=0)
    if found[1]:
        raise MMFairseqError(found[1])
    return found[0]


def _newest(last: Path) -> Path | None:
    """As `checkpoints.newest`; asked again in the same training, it need not read everything once more."""
    known = _chosen.get((last, _signature(last)))
    if known is not None and (known, _signature(known)) in _whole:
        return known
    found = checkpoints.newest(last)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in found.skipped.items())
    if found.path is None:
        if reasons:
            if (last.parent / CLAIM).absolute() not in _claims:
                raise MMFairseqError(
                    f"{last.parent}: no checkpoint is whole, and none is renamed where this training does not write; "
                    f"name another --restore-file or --save-dir; {reasons}"
                )
            aside = checkpoints.set_aside(last)
            logger.warning("%s: no checkpoint is whole, training begins anew; see %s; %s", last.parent, aside, reasons)
        return None
    if reasons:
        logger.warning("%s: going on from %s, the newest that is whole; %s", last.parent, found.path.name, reasons)
    _chosen[last, _signature(last)] = found.path
    _whole.add((found.path, _signature(found.path)))
    return found.path


def _signature(path: Path) -> Signature:
    try:
        stat = path.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _save(original: Callable) -> Callable:
    """As above, and what torch says of a full disk does not name it; how long --patience has waited is not saved."""

    @functools.wraps(original)
    def save(obj: Any, filename: str, async_write: bool = False) -> None:
        if async_write:
            _tell_of_async()
        if async_write or PathManager.path_requires_pathmanager(filename):
            return original(obj, filename, async_write)
        stop = _should_stop_early()
        if isinstance(obj.get("extra_state"), dict) and hasattr(stop, "best"):
            obj["extra_state"][STOPPING] = {"best": float(stop.best), "epochs": int(getattr(stop, "num_runs", 0))}
        return checkpoints.save(obj, filename)

    return save


@functools.cache
def _tell_of_async() -> None:
    logger.warning(
        "--write-checkpoints-asynchronously: fairseq writes them by itself: a kill may leave one cut short, none has a "
        "checksum beside it, only the first name of each is written (often not %s), and --patience begins anew when "
        "the training is resumed",
        checkpoints.LAST,
    )


class _Copies(PathManager):
    """Copies of checkpoints that appear whole."""

    @staticmethod
    def copy(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        if PathManager.path_requires_pathmanager(dst_path):
            return PathManager.copy(src_path, dst_path, overwrite)
        checkpoints.copy(src_path, dst_path)
        return True


def _can_be_written(save_dir: str) -> None:
    """Theirs makes and removes a file of one name, so that one of two trainings that start at once may miss it."""
    try:
        os.makedirs(save_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=save_dir):
            pass
    except OSError as error:
        raise MMFairseqError(f"--save-dir {save_dir}: cannot be written ({error.strerror})") from error


def _without_old_sums(original: Callable) -> Callable:
    """--keep-last-epochs and its kin remove checkpoints; their checksums go with them."""

    @functools.wraps(original)
    def save(cfg: Any, trainer: Any, epoch_itr: Any, val_loss: float | None) -> Any:
        saved = original(cfg, trainer, epoch_itr, val_loss)
        if not cfg.no_save and trainer.is_data_parallel_master:
            checkpoints.remove_old_sums(Path(cfg.save_dir))
        return saved

    return save


def _of_newest(original: Callable) -> Callable:
    """A damaged `checkpoint_last.pt` stops fairseq, though there are others beside it; --patience begins anew."""

    @functools.wraps(original)
    def load(cfg: Any, trainer: Any, **passthrough: Any) -> Any:
        suffix, alone = trainer.checkpoint_suffix, cfg.checkpoint_suffix or ""  # they differ where each rank saves
        last = checkpoints.last_in(cfg.save_dir, suffix)
        if cfg.restore_file == checkpoints.LAST and suffix == alone:
            chosen = resumed_from(last)
            if chosen is not None and chosen != last:
                cfg = copy.copy(cfg)
                cfg.restore_file, cfg.finetune_from_model = _as_option(chosen, suffix), None
        resumed = not (cfg.reset_meters or cfg.reset_optimizer or (cfg.finetune_from_model and not last.exists()))
        state, epoch_itr = original(cfg, trainer, **passthrough)
        stop, waited = _should_stop_early(), _waited(state)
        if resumed and stop is not None and waited is not None:
            stop.best, stop.num_runs = waited
        return state, epoch_itr

    return load


def _as_option(path: Path, suffix: str) -> str:
    """The --restore-file for a file: fairseq puts the suffix in front of every `.pt` in it."""
    name = str(path.with_name(f"{path.name.removesuffix(f'{suffix}.pt')}.pt"))
    if name.replace(".pt", f"{suffix}.pt") != str(path):
        raise MMFairseqError(f"{path}: fairseq does not find it by --checkpoint-suffix; a folder's name holds `.pt`")
    return name


def _waited(state: Any) -> tuple[float, int] | None:
    """The best value and the epochs since, from a checkpoint that may be anybody's."""
    found = (state or {}).get(STOPPING)
    values = (found.get("best"), found.get("epochs")) if isinstance(found, dict) else ()
    return values if [type(value) for value in values] == [float, int] else None  # type: ignore[return-value]


def _should_stop_early() -> Any:
    """The function of `fairseq-train` that keeps the best value and the epochs since as its attributes."""
    return getattr(sys.modules.get("fairseq_cli.train"), "should_stop_early", None)


def _checked(original: Callable) -> Callable:
    """Most flipped bits go unnoticed when torch loads a file."""

    @functools.wraps(original)
    def load(path: str, *args: Any, **kwargs: Any) -> Any:
        file = Path(path)
        if file.is_file() and (file, _signature(file)) not in _whole and (fault := checkpoints.damage(file)):
            raise MMFairseqError(f"{path}: a damaged checkpoint: {fault}")
        return original(path, *args, **kwargs)

    return load


def _contiguous(original: Callable) -> Callable:
    """A transposed matrix in a checkpoint (the DCT of MFCC) comes to the other ranks in the wrong order."""

    @functools.wraps(original)
    def broadcast(tensors: Any, src_rank: int, group: Any, dist_device: Any = None) -> Any:
        whole = None if tensors is None else [tensor.contiguous() for tensor in tensors]
        return original(whole, src_rank, group, dist_device)

    return broadcast

"""Shards that several processes, runs and machines may be at, each made by the one that holds its lock file.

The same for a data-bin (`job.Job`) and for a cached stream (`encoding.Encoding`), which say how a shard is made.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from .. import atomic
from ..atomic import HeldError, held
from ..databin import remove_shard
from ..media.faces import single_threaded
from .engines import run_shards
from .share import Share


class Work(Protocol):
    """What is made shard by shard."""

    @property
    def folder(self) -> Path:
        """Where the lock files of shards lie."""

    @property
    def folders(self) -> Sequence[Path]:
        """Of the streams; a shard is made once all have it."""

    @property
    def sizes(self) -> Sequence[int]:
        """Number of utterances of each shard."""

    def is_done(self, shard: int) -> bool:
        """Whether a shard is there, whole."""

    def process_shard(self, shard: int, advance: Callable[[], Any]) -> None:
        """Write a shard; its bytes depend on what it is made from alone. `advance` is called once an utterance."""


def pending(work: Work) -> list[int]:
    """The shards that are not done."""
    return [shard for shard in range(len(work.sizes)) if not work.is_done(shard)]


def count(work: Work, shards: Iterable[int]) -> int:
    """Utterances in these shards."""
    return sum(work.sizes[shard] for shard in shards)


def make(
    work: Work,
    own: Sequence[int],
    workers: int,
    share: Share,
    what: str,
    finished: Callable[[int], object] = lambda shard: None,
) -> int:
    """Make those of some shards that are not done, whoever else is at them.

    Args:
        work: what they belong to.
        own: the shards.
        workers: number of processes.
        share: who makes them, for the bar.
        what: the name of the bar.
        finished: called with each of them that is there, before or after; what it raises ends the work.

    Returns:
        The number of utterances that were not there before.
    """
    todo = [shard for shard in own if not work.is_done(shard)]
    for shard in sorted({*own} - {*todo}):
        finished(shard)
    fresh = count(work, todo)
    single_threaded()  # before workers are forked: OpenCV's threads would not live on in them
    try:
        # First what no other process is at, then in its wake what it may leave undone.
        for wait in (0.0, float("inf")):
            left = [shard for shard in todo if not wait or not work.is_done(shard)]
            if left:
                process, total = partial(make_one, work, wait=wait), count(work, own)
                done = total - count(work, left)
                run_shards(process, left, workers, total, done, f"{share.told}{what}", share.local_rank, finished)
    finally:
        limit = time.monotonic() + atomic.LOCK_WAIT  # the decoder of a worker that was ended needs a moment to notice
        for shard in own:
            sweep(work, shard, wait=max(0.0, limit - time.monotonic()))
    return fresh


def make_one(work: Work, shard: int, advance: Callable[[], Any] = lambda: None, wait: float = 0) -> None:
    """Make a shard, unless another process has done so or, for longer than `wait` seconds, is at it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(_lock(work, shard), wait))
        except HeldError:
            return
        if not work.is_done(shard):
            work.process_shard(shard, advance)
        else:
            for _ in range(work.sizes[shard]):
                advance()


def sweep(work: Work, shard: int, damaged: bool = False, wait: float = 0) -> None:
    """Remove what a failed or killed process left of a shard, unless one is at it.

    Args:
        work: what it belongs to.
        shard: its number.
        damaged: remove the shard itself too where it is not whole.
        wait: seconds of patience with another process.
    """
    try:
        with held(_lock(work, shard), wait):
            whole = not damaged or work.is_done(shard)
            for folder in work.folders:
                remove_shard(folder, shard, leftovers_only=whole)
    except HeldError:
        return


def left_behind(work: Work) -> list[int]:
    """The shards that have a lock file: processes are at them, or were killed there."""
    names = (path.name.removeprefix(".shard-").removesuffix(".tmp") for path in work.folder.glob(".shard-*.tmp"))
    return [int(name) for name in names if name.isdecimal()]


def in_the_making(work: Work) -> list[int]:
    """The shards that processes are at."""
    busy = []
    for shard in left_behind(work):
        try:
            with held(_lock(work, shard), wait=0):
                pass
        except HeldError:
            busy.append(shard)
    return sorted(busy)


def _lock(work: Work, shard: int) -> Path:
    return work.folder / f".shard-{shard:05d}.tmp"

"""Shares of one work as jobs of a cluster, started and followed from one command.

What schedules and runs them is SLURM or Ray; an `Engine` only passes them on. Whoever started them watches the shards
appear on the disk, so that nothing has to be reached over the network.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from ..errors import MMFairseqError
from .engines import bar_of
from .share import Share
from .work import Work, count, left_behind, pending, sweep

POLL = 0.5  # seconds
PATIENCE = 60.0  # seconds until a network file system shows here what was written elsewhere

Task = Callable[[Share], Sequence[str]]
Todo = Sequence[tuple[int, int]]  # which of several works, and the number of its shard


class Outcome(NamedTuple):
    """How the job of a rank ended: what went wrong, "" for nothing, and where more is told."""

    rank: int
    error: str = ""
    log: str = ""


class Engine(Protocol):
    """Where jobs run.

    Args:
        ranks: number of jobs.
        cpus: cores of each.
    """

    ranks: int
    cpus: int

    def start(self, run: Callable[[Share], str], shares: Sequence[Share], folder: Path) -> None:
        """Start a job for each share; `run` gives what went wrong. Logs go to `folder`, if anywhere."""

    def ended(self) -> Iterable[Outcome]:
        """Jobs that have ended since this was asked last."""

    def stop(self) -> None:
        """End the jobs that still run, and wait for them where that is soon."""

    def close(self) -> None:
        """Let go of the cluster; may be called twice."""


class Receipts:
    """Counts utterances of shards that are there, by looking into their folders.

    Args:
        folders: of streams; a shard counts once all of them have it.
        sizes: of the shards that are being made, their numbers of utterances.
        finished: called with each of them when it is there.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        sizes: Mapping[int, int],
        finished: Callable[[int], object] = lambda shard: None,
    ) -> None:
        self.folders, self.waiting, self.count, self.finished = folders, dict(sizes), 0, finished

    def __call__(self) -> int:
        if self.waiting:
            names = [set(os.listdir(folder)) if folder.is_dir() else set() for folder in self.folders]
            there = set.intersection(*names)
            for shard in [shard for shard in self.waiting if f"shard-{shard:05d}.json" in there]:
                self.count += self.waiting.pop(shard)
                self.finished(shard)
        return self.count


def make_by_jobs(
    engine: Engine,
    task: Callable[[Todo, Share], Sequence[str]],
    works: Sequence[Work],
    data_bin: Path,
    what: str,
    finished: Callable[[int], object] = lambda shard: None,
) -> list[int]:
    """Have jobs make what is not done of some works, which is dealt out evenly to as many as there are shards.

    Args:
        engine: where the jobs run.
        task: makes its share of what is to be done; picklable.
        works: what the shards belong to.
        data_bin: beside this folder jobs get one for what they print.
        what: the name of the bar.
        finished: called with each shard that is there, before or after; what it raises ends the jobs.

    Returns:
        The number of utterances of each work that were not there before.

    Raises:
        MMFairseqError: jobs have failed, or shards are not there when all have ended well.
    """
    undone = [pending(work) for work in works]
    fresh = [count(work, shards) for work, shards in zip(works, undone, strict=True)]
    for work, shards in zip(works, undone, strict=True):
        for shard in sorted({*left_behind(work), *shards}):
            sweep(work, shard, damaged=True)  # it would be counted as done
        for shard in sorted({*range(len(work.sizes))} - {*shards}):
            finished(shard)
    todo = [(place, shard) for place, shards in enumerate(undone) for shard in shards]
    if todo:
        receipts = [
            Receipts(work.folders, {shard: work.sizes[shard] for shard in shards}, finished)
            for work, shards in zip(works, undone, strict=True)
        ]
        total, jobs = sum(sum(work.sizes) for work in works), min(engine.ranks, len(todo))
        logs = data_bin.with_name(f"{data_bin.name}.jobs")
        run_jobs(
            engine, partial(task, todo), jobs, logs, lambda: sum(map(_call, receipts)), total, total - sum(fresh), what
        )
        for work in works:
            await_shards(partial(pending, work), work.folder)
    return fresh


def _call(receipts: Receipts) -> int:
    return receipts()


def run_jobs(
    engine: Engine,
    task: Task,
    jobs: int,
    logs: Path,
    finished: Callable[[], int],
    total: int,
    done: int,
    what: str,
) -> None:
    """Run all shares of a task and follow them to their end; one that fails does not end the others.

    Args:
        engine: where.
        task: makes the shards of a share; picklable.
        jobs: how many.
        logs: folder for what they print.
        finished: number of utterances finished since the start.
        total: all utterances.
        done: those that were finished before.
        what: the name of the bar.

    Raises:
        MMFairseqError: jobs have failed.
    """
    failed: list[Outcome] = []
    running = jobs
    try:
        with bar_of(total, done, what) as bar:
            with _uninterrupted():
                engine.start(partial(_run, task, os.getcwd()), [Share(jobs, rank) for rank in range(jobs)], logs)
            while running:
                ended = list(engine.ended())
                running -= len(ended)
                failed += [outcome for outcome in ended if outcome.error]
                bar.update(done + finished() - bar.n)
                if running:
                    time.sleep(POLL)
    except BaseException:
        engine.stop()
        raise
    if failed:
        first = min(failed)
        log = f" (log: {first.log})" if first.log else ""
        raise MMFairseqError(
            f"{len(failed)} of {jobs} jobs failed; the first is that of rank {first.rank}: {first.error}{log}; "
            "what is finished is kept: run again with --resume"
        )


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let an interrupt wait until it is known which jobs there are to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt


def await_shards(pending: Callable[[], Sequence[int]], folder: Path) -> None:
    """Wait until what the jobs have made is seen from here.

    Raises:
        MMFairseqError: something is missing for longer than a network file system can be late.
    """
    limit = time.monotonic() + PATIENCE
    while left := pending():
        if time.monotonic() >= limit:
            raise MMFairseqError(
                f"{folder}: all jobs have ended well, but {len(left)} shards are not here, the first is {left[0]}; is "
                "it the same folder on all machines? Run again with --resume"
            )
        time.sleep(POLL)


def _run(task: Task, folder: str, share: Share) -> str:
    """What a job does, in the folder that paths are relative to; errors of users come back as words."""
    try:
        with suppress(FileNotFoundError):  # paths that are not relative may be all there is
            os.chdir(folder)
        sys.stdout.write("\n".join(task(share)) + "\n")
    except MMFairseqError as error:
        return str(error)
    except OSError as error:
        if error.filename is None:
            raise
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return ""


def last_line(text: str) -> str:
    """Of a traceback or log: what it ends with."""
    lines: Iterator[str] = (line.strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line.strip("-")), "no reason was told")

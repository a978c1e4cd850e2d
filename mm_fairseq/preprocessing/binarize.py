"""A prepared corpus to a data-bin.

Each shard is made by one pure function and appears whole or not at all, so that a killed run is taken up with `resume`
and ends with the same bytes, on any number of workers, ranks and machines.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..atomic import held, locked, remove_leftovers
from ..errors import MMFairseqError
from .anew import take_place, where
from .cluster import Engine, Todo, make_by_jobs
from .disk import disk_errors
from .items import Settings
from .job import LOCK, Job
from .share import Share
from .work import make, pending


def binarize(
    prepared: str | os.PathLike,
    data_bin: str | os.PathLike,
    settings: Settings | None = None,
    workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    share: Share | None = None,
    engine: Engine | None = None,
    budget: bool = True,
) -> list[str]:
    """Make a data-bin, or this process's share of it; who finds all shards done completes it.

    Args:
        prepared: the folder that `prepare` wrote.
        data_bin: the folder to write.
        settings: how; the default where None.
        workers: number of processes, in each job where there is an `engine`.
        resume: take up a run that was interrupted.
        overwrite: make it anew beside the one that is there already, whose place it takes when it is complete.
        share: of the shards; all where None.
        engine: runs jobs that share the work, followed from here.
        budget: stop, while it runs or at its end, where too many utterances cannot be used, see `budget`.

    Returns:
        The summary, in lines.

    Raises:
        MMFairseqError: the corpus, an option or `data_bin` is not usable, or no utterance of the corpus is.
    """
    began, share = time.monotonic(), share or Share()
    if workers < 1:
        raise MMFairseqError(f"--workers {workers}: at least 1")
    if overwrite and share.ranks > 1:
        raise MMFairseqError(
            "--overwrite, with several runs at once: none of them knows whether what is there was there before; "
            f"remove {data_bin} first, then start them without it"
        )
    wanted = Path(os.path.abspath(data_bin)) if engine else Path(data_bin)
    job = Job(prepared, wanted, settings or Settings(), budget)
    with disk_errors(data_bin):
        check_folder(wanted)
        job.data_bin = where(wanted, _is_filled(wanted), resume and share.ranks == 1, overwrite)
        if job.data_bin == wanted:
            check_free(wanted, resume or share.ranks > 1)
        if share.ranks > 1:
            return _with_others(job, workers, resume, share, began)
        Path(os.path.realpath(job.data_bin)).mkdir(parents=True, exist_ok=True)
        if engine:
            lines = _by_jobs(job, os.path.abspath(prepared), wanted, workers, engine, began)
        else:
            lines = _alone(job, workers, began)
        if job.data_bin != wanted:
            take_place(wanted)
        return [line.replace(str(job.data_bin), str(wanted)) for line in lines]


def _alone(job: Job, workers: int, began: float) -> list[str]:
    with locked(job.data_bin):
        remove_leftovers(job.data_bin)
        job.clear()
        job.begin()
        line = _make(job, range(len(job.sizes)), workers, Share(), began)
        return [*job.finish(), line]


def _with_others(job: Job, workers: int, resume: bool, share: Share, began: float) -> list[str]:
    before = join(job)
    with locked(job.data_bin, shared=True):
        own = share.own(range(len(job.sizes)))
        there = [shard for shard in own if job.is_done(shard)]
        if there and not resume:
            raise MMFairseqError(
                f"{job.data_bin}: {len(there)} of the {len(own)} shards of rank {share.rank} are there already; take "
                "them up with --resume, or remove the folder and start all ranks anew"
            )
        line = _make(job, own, workers, share, began)
        return [line, *complete(job, share, before)]


def _by_jobs(job: Job, prepared: str, wanted: Path, workers: int, engine: Engine, began: float) -> list[str]:
    data_bin = job.data_bin
    with locked(data_bin):
        remove_leftovers(data_bin)
        job.clear()
        job.begin()
    with locked(data_bin, shared=True):
        task = partial(_job, prepared, data_bin, job.settings, workers, job.budget is not None)
        (fresh,) = make_by_jobs(engine, task, [job], wanted, "binarize", job.check_budget)
        summary = complete(job, Share(), before=True)
        return [*summary, told(job, len(job.sizes), fresh, time.monotonic() - began)]


def _job(
    prepared: str, data_bin: Path, settings: Settings, workers: int, budget: bool, todo: Todo, share: Share
) -> list[str]:
    """What one of the jobs does; who started them has begun the data-bin, and completes it."""
    began, job = time.monotonic(), Job(prepared, data_bin, settings, budget)
    with disk_errors(data_bin), locked(data_bin, shared=True):
        job.take_up()
        return [_make(job, [shard for _, shard in share.own(todo)], workers, share, began)]


def _make(job: Job, own: Sequence[int], workers: int, share: Share, began: float) -> str:
    """Make the shards of a share that are not done; returns the line of the summary."""
    fresh = make(job, own, workers, share, "binarize", job.check_budget)
    return share.told + told(job, len(own), fresh, time.monotonic() - began)


def join(job: Job) -> bool:
    """Begin a data-bin that others may begin too; returns whether it was complete before."""
    job.data_bin.mkdir(parents=True, exist_ok=True)
    with held(job.data_bin / LOCK):
        before = _is_complete(job.data_bin)
        check_folder(job.data_bin)
        job.begin()
        return before


def complete(job: Job, share: Share, before: bool) -> list[str]:
    """Complete the data-bin where all shards are done, and nobody else has since it was not; the summary, in lines.

    Args:
        job: what is made; its `begin` has been called.
        share: who asks.
        before: whether the data-bin was complete already when this run began.
    """
    with held(job.data_bin / LOCK):
        if left := pending(job):
            others = Counter(shard % share.ranks for shard in left)
            ranks = ", ".join(f"{rank} ({count})" for rank, count in sorted(others.items()))
            return [
                f"{len(left)} of {len(job.sizes)} shards are still with others, by rank: {ranks}; the last to finish "
                "completes the data-bin. Where one has ended before, start it again with --resume"
            ]
        if not before and _is_complete(job.data_bin):
            return ["all shards are done, another rank has completed the data-bin"]
        job.clear()
        return job.finish()


def told(job: Job, shards: int, fresh: int, seconds: float) -> str:
    """The line of a summary that says how fast it was.

    Args:
        job: what was made.
        shards: how many of them.
        fresh: utterances that were not there before.
        seconds: that they took.
    """
    rate = f", {fresh / seconds:.1f} utterances/s" if fresh else ", nothing was left to do"
    of = f" of {len(job.sizes)}" if shards != len(job.sizes) else ""
    return f"{job.data_bin}: {shards}{of} shards in {seconds:.1f} s{rate}"


def _is_complete(data_bin: Path) -> bool:
    try:
        return json.loads((data_bin / "meta.json").read_bytes())["complete"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _holds_something(path: Path) -> bool:
    """Not so what a killed run left, and folders or links to folders that wait for the shards of a stream."""
    return path.suffix != ".tmp" and not (path.is_dir() and not any(path.iterdir()))


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(map(_holds_something, folder.iterdir()))


def check_folder(data_bin: Path) -> None:
    """See that what is there, if anything, is a data-bin."""
    if data_bin.exists() and not data_bin.is_dir():
        raise MMFairseqError(f"{data_bin}: not a folder")
    if _is_filled(data_bin) and not (data_bin / "meta.json").is_file():
        raise MMFairseqError(
            f"{data_bin}: the folder holds something else than a data-bin (no meta.json); name another one"
        )


def check_free(data_bin: Path, resume: bool) -> None:
    """See that what is there, if anything, may be taken up."""
    if _is_filled(data_bin) and not resume:
        with locked(data_bin, wait=0):  # where another process is writing, that is what is wrong
            raise MMFairseqError(
                f"{data_bin}: there is a data-bin already; take it up with --resume or replace it with --overwrite"
            )

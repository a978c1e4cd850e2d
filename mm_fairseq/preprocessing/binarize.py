"""A prepared corpus to a data-bin.

Each shard is made by one pure function and appears whole or not at all, so that a killed run is taken up with `resume`
and ends with the same bytes, on any number of workers, ranks and machines.
"""

import json
import os
import shutil
import time
from collections import Counter
from functools import partial
from pathlib import Path

from ..atomic import held, locked, remove_leftovers
from ..databin import remove_shard
from ..errors import MMFairseqError
from ..media.faces import single_threaded
from .cluster import Engine, Receipts, await_shards, run_jobs
from .disk import disk_errors
from .engines import run_shards
from .items import Settings
from .job import LOCK, Job
from .share import Share


def binarize(
    prepared: str | os.PathLike,
    data_bin: str | os.PathLike,
    settings: Settings | None = None,
    workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    share: Share | None = None,
    engine: Engine | None = None,
) -> list[str]:
    """Make a data-bin, or this process's share of it; who finds all shards done completes it.

    Args:
        prepared: the folder that `prepare` wrote.
        data_bin: the folder to write.
        settings: how; the default where None.
        workers: number of processes, in each job where there is an `engine`.
        resume: take up a run that was interrupted.
        overwrite: remove a data-bin that is there already.
        share: of the shards; all where None.
        engine: runs jobs that share the work, followed from here.

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
    job = Job(prepared, Path(data_bin), settings or Settings())
    with disk_errors(data_bin):
        if engine:
            return _by_jobs(job, os.path.abspath(prepared), workers, resume, overwrite, engine, began)
        if share.ranks > 1:
            return _with_others(job, workers, resume, share, began)
        return _alone(job, workers, resume, overwrite, began)


def _alone(job: Job, workers: int, resume: bool, overwrite: bool, began: float) -> list[str]:
    make_folder(job.data_bin, resume, overwrite)
    with locked(job.data_bin):
        remove_leftovers(job.data_bin)
        job.clear()
        job.begin()
        todo = job.pending()
        fresh = job.count(todo)
        single_threaded()  # before workers are forked: OpenCV's threads would not live on in them
        try:
            run_shards(job.process_shard, todo, workers, len(job.rows), len(job.rows) - fresh)
        finally:
            job.clear()
        return [*job.finish(), told(job, job.shards, fresh, time.monotonic() - began)]


def _with_others(job: Job, workers: int, resume: bool, share: Share, began: float) -> list[str]:
    before = join(job)
    with locked(job.data_bin, shared=True):
        own = share.own(job.shards)
        there = [shard for shard in own if job.is_done(shard)]
        if there and not resume:
            raise MMFairseqError(
                f"{job.data_bin}: {len(there)} of the {len(own)} shards of rank {share.rank} are there already; take "
                "them up with --resume, or remove the folder and start all ranks anew"
            )
        line = _make_share(job, share, workers, began)
        return [line, *complete(job, share, before)]


def _by_jobs(
    job: Job, prepared: str, workers: int, resume: bool, overwrite: bool, engine: Engine, began: float
) -> list[str]:
    data_bin = job.data_bin = Path(os.path.abspath(job.data_bin))
    make_folder(data_bin, resume, overwrite)
    with locked(data_bin):
        remove_leftovers(data_bin)
        job.clear()
        job.begin()
        todo = job.pending()
        for shard in todo:  # what is damaged is not to be counted
            for stream in job.streams:
                remove_shard(data_bin / stream, shard)
    with locked(data_bin, shared=True):
        fresh = job.count(todo)
        if todo:
            sizes = {shard: len(job.part(shard)) for shard in todo}
            count = Receipts({data_bin / stream: sizes for stream in job.streams}, len(job.streams))
            task = partial(_job, prepared, data_bin, job.settings, workers)
            logs = data_bin.with_name(f"{data_bin.name}.jobs")
            run_jobs(engine, task, logs, count, len(job.rows), len(job.rows) - fresh, "binarize")
            await_shards(job.pending, data_bin)
        summary = complete(job, Share(), before=True)
        return [*summary, told(job, job.shards, fresh, time.monotonic() - began)]


def _job(prepared: str, data_bin: Path, settings: Settings, workers: int, share: Share) -> list[str]:
    """What one of the jobs does; who started them has begun the data-bin, and completes it."""
    began, job = time.monotonic(), Job(prepared, data_bin, settings)
    with disk_errors(data_bin), locked(data_bin, shared=True):
        job.take_up()
        return [_make_share(job, share, workers, began)]


def _make_share(job: Job, share: Share, workers: int, began: float) -> str:
    """Make the shards of a share that are not done; returns the line of the summary."""
    own = share.own(job.shards)
    todo = [shard for shard in own if not job.is_done(shard)]
    rows, fresh = job.count(own), job.count(todo)
    single_threaded()  # before workers are forked: OpenCV's threads would not live on in them
    try:
        # First what no other process is at, then in its wake what it may leave undone.
        for wait in (0, float("inf")):
            left = [shard for shard in todo if not wait or not job.is_done(shard)]
            process = partial(job.process_alone, wait=wait)
            if left:
                name = f"{share.told}binarize"
                run_shards(process, left, workers, rows, rows - job.count(left), name, share.local_rank)
    finally:
        for shard in todo:
            job.sweep(shard)
    return share.told + told(job, len(own), fresh, time.monotonic() - began)


def join(job: Job) -> bool:
    """Begin a data-bin that others may begin too; returns whether it was complete before."""
    job.data_bin.mkdir(parents=True, exist_ok=True)
    with held(job.data_bin / LOCK):
        before = _is_complete(job.data_bin)
        make_folder(job.data_bin, resume=True, overwrite=False)
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
        if pending := job.pending():
            others = Counter(shard % share.ranks for shard in pending)
            ranks = ", ".join(f"{rank} ({count})" for rank, count in sorted(others.items()))
            return [
                f"{len(pending)} of {job.shards} shards are still with others, by rank: {ranks}; the last to finish "
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
    of = f" of {job.shards}" if shards != job.shards else ""
    return f"{job.data_bin}: {shards}{of} shards in {seconds:.1f} s{rate}"


def _is_complete(data_bin: Path) -> bool:
    try:
        return json.loads((data_bin / "meta.json").read_bytes())["complete"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _holds_something(path: Path) -> bool:
    """Not so what a killed run left, and folders or links to folders that wait for the shards of a stream."""
    return path.suffix != ".tmp" and not (path.is_dir() and not any(path.iterdir()))


def make_folder(data_bin: Path, resume: bool, overwrite: bool) -> None:
    """Make the folder, or see that what is there may be taken up or removed; a link to it stays one."""
    place = Path(os.path.realpath(data_bin))
    if data_bin.exists() and not data_bin.is_dir():
        raise MMFairseqError(f"{data_bin}: not a folder")
    filled = data_bin.is_dir() and any(map(_holds_something, data_bin.iterdir()))
    if filled and not (data_bin / "meta.json").is_file():
        raise MMFairseqError(
            f"{data_bin}: the folder holds something else than a data-bin (no meta.json); name another one"
        )
    if filled and overwrite:
        with locked(data_bin):
            old = place.with_name(f".{place.name}.{os.getpid()}.old")
            place.rename(old)
        shutil.rmtree(old)
    elif filled and not resume:
        raise MMFairseqError(
            f"{data_bin}: there is a data-bin already; take it up with --resume or replace it with --overwrite"
        )
    place.mkdir(parents=True, exist_ok=True)

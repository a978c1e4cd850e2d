"""Engines: run a function over the shards, here or in a pool of processes, with a bar that counts utterances."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any

from tqdm import tqdm

from ..errors import MMFairseqError

ShardFunction = Callable[[int, Callable[[], None]], None]

_task: ShardFunction
_counter: Any


def cores() -> int:
    """Of this machine, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bar_of(total: int, done: int, what: str, line: int = 0) -> tqdm:
    """A bar of utterances with rate and time left, on a terminal only."""
    return tqdm(total=total, initial=done, desc=what, unit="utt", disable=None, smoothing=0.05, position=line)


def run_shards(
    process: ShardFunction,
    shards: Iterable[int],
    workers: int,
    total: int,
    done: int = 0,
    what: str = "binarize",
    line: int = 0,
    finished: Callable[[int], object] = lambda shard: None,
) -> None:
    """Call `process(shard, advance)` for every shard; `advance()` is for the bar, once an utterance.

    Args:
        process: a function whose result lies on the disk; picklable where processes cannot be forked.
        shards: the numbers still to be done.
        workers: number of processes; 1 is this process.
        total: all utterances.
        done: utterances that were finished by an earlier run.
        what: the name of the bar.
        line: how far below it stands, where several processes share a terminal.
        finished: called here with the number of each shard that was processed; what it raises ends the others.

    Raises:
        MMFairseqError: as `process` and `finished` raise it, or a worker died.
    """
    shards = list(shards)
    with bar_of(total, done, what, line) as bar:
        if workers <= 1 or len(shards) <= 1:
            for shard in shards:
                process(shard, bar.update)
                finished(shard)
            return
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        counter, others = context.Value("q", 0), set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(min(workers, len(shards)), context, _begin, (process, counter))
        failed, waiting = True, {pool.submit(_call, shard): shard for shard in shards}
        try:
            while waiting:
                ended, _ = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                bar.update(done + counter.value - bar.n)
                for future in ended:
                    future.result()
                    finished(waiting.pop(future))
            failed = False
        except BrokenProcessPool as error:
            raise MMFairseqError(
                "a worker process died (out of memory, or a decoder crashed); what is finished is kept: "
                "run again with --resume, with --workers 1 to see which file it is"
            ) from error
        finally:
            if failed:
                for child in set(multiprocessing.active_children()) - others:
                    child.terminate()
            pool.shutdown(cancel_futures=True)


def _begin(process: ShardFunction, counter: Any) -> None:
    global _task, _counter
    _task, _counter = process, counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for notice in (signal.SIGUSR1, signal.SIGUSR2):  # of SLURM to all processes of a job; its parent answers
        signal.signal(notice, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    """End this worker when its parent has ended, however that happened: it must not write beside a later run."""
    connection.wait([sentinel])
    os._exit(1)


def _call(shard: int) -> None:
    _task(shard, _advance)


def _advance() -> None:
    with _counter.get_lock():
        _counter.value += 1

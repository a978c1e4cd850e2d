"""Processes that are killed at a step of their work: before they open, rename or remove a file below a folder."""

import multiprocessing
import os
import random
import signal
import sys
from fnmatch import fnmatch

from mm_fairseq import checkpoints
from mm_fairseq.atomic import locked
from mm_fairseq.preprocessing.encoding import Encoding
from mm_fairseq.preprocessing.job import Job

STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
INTERRUPTED = 130
FORK = multiprocessing.get_context("fork")


class Killed:
    """A function in a process of its own, with its workers, that stands where a command would.

    Args:
        folder: what it writes.
        log: a file for the shards that it starts.
        function: what it does, with `args` and `options`.
        at: the step at which it is sent `how`, by the first of its processes that comes so far; never where 0.
        how: a signal.
    """

    def __init__(self, folder, log, function, *args, at=0, how=signal.SIGKILL, **options):
        self.folder, self.log, self.at, self.how = str(folder), log, at, how
        self.count, self.steps = 0, FORK.RawValue("q", 0)
        self.process = FORK.Process(target=self._run, args=(function, args, options))
        self.process.start()

    def end(self):
        """Wait for its end; returns whether the signal was what ended it."""
        self.process.join()
        assert self.process.exitcode in (0, -self.how, INTERRUPTED), self.process.exitcode
        return self.process.exitcode != 0

    def _run(self, function, args, options):
        # What pytest, or a test before this one, has made of signals is no command's.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in (signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for work in (Job, Encoding):
            work.process_shard = self._noted(work.process_shard)
        self.main = os.getpid()
        sys.addaudithook(self._step)
        try:
            function(*args, **options)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        self.steps.value = self.count

    def _noted(self, process_shard):
        def noted(work, shard, *args):
            file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(file, "\t".join([str(shard), *map(str, work.folders)]).encode() + b"\n")
            os.close(file)
            return process_shard(work, shard, *args)

        return noted

    def _step(self, event, args):
        if event not in STEPS or not isinstance(args[0], str | os.PathLike):
            return
        if os.path.abspath(os.fspath(args[0])).startswith(self.folder):
            self.count += 1
            if self.count == self.at:
                os.kill(self.main, self.how)


class KilledWhileSaving:
    """Has a training send itself a signal in the middle of one of its first files, or before that takes its name."""

    def __init__(self, seed, number):
        self.seed, self.number = seed, number

    def __call__(self, rank):
        draw = random.Random(self.seed)
        self.left, after = draw.randrange(1, 12), draw.randrange(300)
        write = checkpoints._Summed.write

        def halfway(file, data):
            nonlocal after
            after -= not self.left
            if after < 0:
                write(file, bytes(data)[: len(data) // 2])
                file.flush()
                os.kill(os.getpid(), self.number)
            return write(file, data)

        checkpoints._Summed.write = halfway
        sys.addaudithook(self._step)

    def _step(self, event, args):
        if event == "open" and self.left:
            self.left -= not isinstance(args[0], int) and fnmatch(os.fsdecode(args[0]), "*/.checkpoint*.tmp")
        elif event == "os.rename" and not self.left:
            os.kill(os.getpid(), self.number)


def settle(folder):
    """Wait until no process writes a folder: workers notice the end of their command a moment later."""
    if os.path.isdir(folder):
        with locked(folder, wait=600):
            pass


def started(log):
    """The shards that were started, as folders and number."""
    if not log.exists():
        return set()
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    return {(*folders, int(shard)) for shard, *folders in lines}


def is_done(folders_and_shard):
    """Whether the receipts of a shard are there."""
    *folders, shard = folders_and_shard
    return all(os.path.exists(f"{folder}/shard-{shard:05d}.json") for folder in folders)

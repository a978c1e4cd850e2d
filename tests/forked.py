"""Commands of fairseq as processes of their own, forked from one that has imported everything: fast to start."""

import atexit
import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from multiprocessing import forkserver
from pathlib import Path

import mm_fairseq

MAINS = {"fairseq-train": "fairseq_cli.train", "fairseq-validate": "fairseq_cli.validate"}
USER_DIR = str(Path(mm_fairseq.__file__).parent)
TASK = ["--task", "emotion_prediction", "--user-dir", USER_DIR]
TRAIN = [*TASK, "--criterion", "emotion_prediction_cri", "--optimizer", "adam", "--lr", "0.001"]
TRAIN += ["--log-format", "json", "--num-workers", "0"]


class Command:
    """A command that runs; `log` is what it has said.

    Args:
        name: one of `MAINS`.
        args: words behind it.
        processes: that work together, as torchrun starts them.
        before: called with the number of the process in each of them, in the place of its start.
    """

    def __init__(self, name, *args, processes=1, before=None):
        self.file = Path(tempfile.mkstemp(suffix=".log")[1])
        words, context = [name, *map(str, args)], _context()
        self.processes = []
        port = _free_port() if processes > 1 else 0
        for rank in range(processes):
            around = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_PORT": port}
            around = {key: str(value) for key, value in around.items()} if processes > 1 else {}
            process = context.Process(target=_become, args=(words, str(self.file), around, before, rank))
            process.start()
            self.processes.append(process)

    @property
    def log(self):
        return self.file.read_text(errors="replace")

    @property
    def lives(self):
        return any(process.is_alive() for process in self.processes)

    def kill(self, number=signal.SIGKILL):
        """End it, as a machine that fails does, and wait."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)
        for process in self.processes:
            process.join(200)
        assert not self.lives

    def finish(self, fails=False):
        """Wait for its end; returns its log. Of several processes, the others are ended with the first that fails."""
        limit = time.monotonic() + 1000
        while self.lives and not any(process.exitcode for process in self.processes):
            assert time.monotonic() < limit, self.log[-4000:]
            time.sleep(0.01)
        if self.lives:
            self.kill()
        assert any(process.exitcode for process in self.processes) == fails, self.log[-4000:]
        return self.log


def run(name, *args, processes=1, fails=False, before=None):
    """Start a command and wait for it; returns its log."""
    return Command(name, *args, processes=processes, before=before).finish(fails)


def _context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*MAINS.values(), "mm_fairseq", "torch._dynamo", __name__])
    kept = dict(os.environ)
    os.environ.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="", PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(kept)
    return context


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _become(words, log, around, before, rank):
    os.environ.update(around | {"MASTER_ADDR": "127.0.0.1"})
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = words
    status = 0
    try:
        if before:
            before(rank)
        sys.modules[MAINS[words[0]]].cli_main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)

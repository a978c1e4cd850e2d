"""Commands of fairseq as processes of their own: several at once, each with its log, none left behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

from tqdm import tqdm

from ..errors import MMFairseqError

USER_DIR = Path(__file__).resolve().parents[1]
TASK = ("--user-dir", str(USER_DIR), "--task", "emotion_prediction")
CHILD = Path(__file__).with_name("_child.py")
POLL = 0.05  # seconds
GRACE = 10.0  # seconds between asking a process to end and ending it
TAIL = 8  # lines of a failed command's log to show


class Step(NamedTuple):
    """One command; its output goes to `log`, behind what is there where `append`."""

    argv: Sequence[str]
    log: Path
    append: bool = False


Job = Generator[Step, None, str]
"""Yields steps, one after the success of the other; returns a line on its result. Raises MMFairseqError if it fails."""


class _Running(NamedTuple):
    job: Job
    step: Step
    process: subprocess.Popen


def find(name: str) -> str:
    """The path of a command: beside this Python, else on the PATH.

    Raises:
        MMFairseqError: it is in neither place.
    """
    beside = Path(sys.executable).parent / name
    path = str(beside) if beside.is_file() else shutil.which(name)
    if path is None:
        raise MMFairseqError(f"no command {name} beside {sys.executable} or on the PATH: fairseq is not installed")
    return path


def refuse(arguments: Sequence[str], owned: Sequence[str], what: str) -> None:
    """Raises MMFairseqError that names those `arguments` which are options that `what` gives to fairseq by itself."""
    given = [word.partition("=")[0] for word in arguments]
    if taken := [name for name in dict.fromkeys(given) if name in owned]:
        raise MMFairseqError(f"{what} sets {', '.join(taken)} by itself; leave out of the arguments behind --")


def with_defaults(arguments: Sequence[str], defaults: Mapping[str, str | None]) -> list[str]:
    """The defaults (option to value, None for a flag) that `arguments` do not give themselves, then `arguments`."""
    given = {word.partition("=")[0] for word in arguments}
    added = [word for name, value in defaults.items() if name not in given for word in (name, value)]
    return [*(word for word in added if word is not None), *arguments]


def option(arguments: Sequence[str], name: str) -> str | None:
    """The value of `--name VALUE` or `--name=VALUE`, the last one if there are several; None where it is not given."""
    value = None
    for word, following in zip(arguments, [*arguments, ""][1:], strict=True):
        if word == name:
            value = following
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def run(jobs: Mapping[str, Job], at_once: int, hold: int) -> tuple[dict[str, str], dict[str, str]]:
    """Run jobs side by side, showing a bar on a terminal and a line for each that ends.

    A job that fails does not stop the others; but when the very first one to end has failed, none is started anew:
    what is wrong with it is most likely wrong with all.

    Args:
        jobs: name to job; ended in any order.
        at_once: how many at a time.
        hold: a file descriptor that the commands keep open (that of a lock).

    Returns:
        Name to result of the jobs that succeeded, name to fault of those that failed.
    """
    if at_once < 1:
        raise MMFairseqError(f"--jobs {at_once}: at least 1")
    waiting = dict(jobs)
    running: dict[str, _Running] = {}
    results: dict[str, str] = {}
    faults: dict[str, str] = {}
    environment = dict(os.environ)
    if at_once > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // at_once)))

    def ended(name: str, line: str, kept: dict[str, str]) -> None:
        kept[name] = line
        bar.update()
        with bar.external_write_mode(file=sys.stdout):
            sys.stdout.write(f"{name}: {'failed: ' if kept is faults else ''}{line}\n")
            sys.stdout.flush()

    def advance(name: str, job: Job) -> None:
        try:
            step = next(job)
        except StopIteration as end:
            ended(name, end.value, results)
        except MMFairseqError as error:
            ended(name, str(error), faults)
        else:
            running[name] = _Running(job, step, _start(step, environment, hold))

    with tqdm(total=len(jobs), disable=None, unit="job") as bar, _none_left(running):
        while running or (waiting and (results or not faults)):
            while waiting and len(running) < at_once and (results or not faults):
                name = next(iter(waiting))
                advance(name, waiting.pop(name))
            for name, (job, step, process) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[name]
                if process.returncode:
                    job.close()
                    ended(name, _fault(step, process.returncode), faults)
                else:
                    advance(name, job)
            bar.set_postfix_str(", ".join(running))
            time.sleep(POLL)
    return results, faults


def _fault(step: Step, status: int) -> str:
    lines = step.log.read_text(encoding="utf-8", errors="replace").splitlines()
    tail = "\n".join(f"    {line[:300]}" for line in lines[-TAIL:])
    ended = f"status {status}" if status > 0 else f"signal {signal.Signals(-status).name}"
    return f"{Path(step.argv[0]).name} ended with {ended}; the whole log is {step.log}\n{tail}"


def _start(step: Step, environment: Mapping[str, str], hold: int) -> subprocess.Popen:
    step.log.parent.mkdir(parents=True, exist_ok=True)
    with step.log.open("ab" if step.append else "wb") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(CHILD), str(os.getpid()), *step.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(hold,),
            start_new_session=True,
        )


@contextmanager
def _none_left(running: Mapping[str, _Running]) -> Iterator[None]:
    """End what runs, with the processes that it has started, when the block is left by an error or a signal."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            limit = time.monotonic() + GRACE
            for _, _, process in running.values():
                if process.poll() is None:
                    os.killpg(process.pid, number)
            while any(process.poll() is None for *_, process in running.values()) and time.monotonic() < limit:
                time.sleep(POLL)
        signal.signal(signal.SIGTERM, before)

"""The bounds of a process that decodes, and what it does in them: the forked side of `child.Child`."""

import ctypes
import faulthandler
import gc
import json
import mmap
import os
import resource
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..errors import MMFairseqError
from . import MediaError

MESSAGE = 1 << 17  # bytes of the longest; a socket takes some 200,000
_PART = MESSAGE // 4  # of what is told of one call
HEADER = struct.Struct("<qd")  # which call is being worked at, -1 for none, and its seconds of processor time
FIRST = 64  # byte of the shared memory where results begin
BUG = 113  # exit status after an error that is none of a file's
_SOON = 0.02  # seconds after which finished results are told
_LONGEST = 4 * 3600.0  # seconds of a file that are believed
_FOLLOW, _NO_CORES = (1, signal.SIGKILL), (4, 0)  # PR_SET_PDEATHSIG and PR_SET_DUMPABLE of prctl(2)
_SCORE = "/proc/self/oom_score_adj"

# What decoders were seen to raise, or may, on bytes made to break them; one bad file never ends a run.
UNFORESEEN = (ArithmeticError, EOFError, LookupError, MemoryError, RuntimeError, TypeError, ValueError, cv2.error)


class Limits(NamedTuple):
    """Of one process.

    Args:
        memory: bytes beside what it has when it begins.
        seconds: of processor time for a call, beside twice the seconds of media that it decodes, or more where
            pictures are large.
    """

    memory: int = 2 << 30
    seconds: float = 10.0


def sure(function: Callable[..., Any], *args: Any) -> Any:
    """Call a reader, whose first argument is a path.

    Raises:
        MediaError: also for what no reader should raise: out_of_memory or unreadable.
        MMFairseqError: no file is to blame.
        OSError: the machine, its disk or its network is.
    """
    try:
        return function(*args)
    except MMFairseqError:
        raise
    except UNFORESEEN as error:
        memory = isinstance(error, MemoryError) or getattr(error, "code", None) == cv2.Error.STS_NO_MEM
        reason = f"{args[0]}: the decoder failed: {type(error).__name__}: {error}"
        raise MediaError("out_of_memory" if memory else "unreadable", reason) from error


class _Work:
    """The bounds of this process, where it is one that decodes."""

    area: mmap.mmap | None = None
    limits = Limits()
    number = -1


def allow_for(start: float, end: float | None, declared: float | None, max_seconds: float, work: float = 1.0) -> None:
    """Say what a reader is about to decode, in seconds of a file: time is given by that, where it is bounded at all.

    Args:
        start: where the span begins.
        end: where it ends; None for the end of the file.
        declared: where the file ends, as far as it says so.
        max_seconds: the longest span that is decoded.
        work: of a second of it, beside that of the usual film.
    """
    if _Work.area is not None:
        ends = [each for each in (end, declared, start + max_seconds, _LONGEST) if each is not None]
        _allow(_Work.limits.seconds + 2 * max(1.0, work) * max(0.0, min(ends)))


def _allow(seconds: float) -> None:
    assert _Work.area is not None
    signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends this process, whatever it is at
    HEADER.pack_into(_Work.area, 0, _Work.number, seconds)


def live(
    channel: socket.socket, area: mmap.mmap, functions: Mapping[str, Callable[..., Any]], limits: Limits, parent: int
) -> None:
    """What a process does that was forked to decode; does not return."""
    try:
        _bind(channel.fileno(), limits, parent)
        _Work.area, _Work.limits = area, limits
        with suppress(ConnectionError):  # the parent has ended; the signal that tells so may come later
            _serve(channel, area, functions)
        os._exit(0)
    finally:
        try:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(BUG)


def _bind(kept: int, limits: Limits, parent: int) -> None:
    """End with the parent, hold none of its files and locks, and take no more than is allowed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the parent hears them too, and ends this process
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.set_wakeup_fd(-1)
    prctl = ctypes.CDLL(None).prctl
    prctl(*_FOLLOW, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
    faulthandler.disable()
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor != kept:
            with suppress(OSError):  # the one by which they are listed
                os.close(descriptor)
    with open("/proc/self/statm", encoding="ascii") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    _lower(resource.RLIMIT_AS, held + limits.memory)
    _give_way(_SCORE)
    prctl(*_NO_CORES, 0, 0, 0)
    gc.freeze()


def _give_way(path: str) -> None:
    """Where the machine's memory is short, this process goes before its parent, if the system allows to say so."""
    with suppress(OSError), open(path, "r+", encoding="ascii") as file:
        score = max(500, int(file.read()))
        file.seek(0)
        file.write(str(score))


def _lower(what: int, size: int) -> None:
    hard = resource.getrlimit(what)[1]
    size = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(what, (size, size))


def _serve(channel: socket.socket, area: mmap.mmap, functions: Mapping[str, Callable[..., Any]]) -> None:
    while message := channel.recv(MESSAGE):
        first, calls = json.loads(message)
        answers: list[list[Any]] = []
        place, length, told = FIRST, 0, time.monotonic()
        for _Work.number, (name, args) in enumerate(calls, first):
            _allow(_Work.limits.seconds)
            answer, parts = _answer(functions[name], args)
            size = sum(len(part) for part in parts)
            words = len(json.dumps(answer)) + 50  # and numbers
            if size > len(area) - FIRST or words > _PART:
                told_of = f"{args[0][:999]}: {size} bytes of it, at most {len(area) - FIRST} are taken; cut it, or ask"
                answer = ["media", ["too_large", f"{told_of} for less with --fps and --frame-size"], None]
                size, parts, words = 0, [], 3000
            if place + size > len(area):
                channel.send(json.dumps([True, answers]).encode())
                channel.recv(MESSAGE)  # go on: they were taken
                place, answers, length = FIRST, [], 0
            answers.append([_Work.number, *answer, place])
            length += words
            for part in parts:
                area[place : place + len(part)] = part
                place += len(part)
            place = -(-place // 16) * 16
            HEADER.pack_into(area, 0, -1, _Work.limits.seconds)
            if time.monotonic() > told + _SOON or length > _PART:
                channel.send(json.dumps([False, answers]).encode())
                answers, length, told = [], 0, time.monotonic()
        if answers:
            channel.send(json.dumps([False, answers]).encode())


def _answer(function: Callable[..., Any], args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """How a call ended, in plain words and numbers, and the bytes of its result."""
    try:
        told, parts = _plain(sure(function, *(tuple(arg) if isinstance(arg, list) else arg for arg in args)))
        return ["done", *told], parts
    except MediaError as error:
        told, parts = _plain(error.kept[0]) if error.kept else ([None, None], [])
        return ["media", [error.code, error.message, *([error.kept[1]] if error.kept else [])], told[1]], parts
    except MMFairseqError as error:
        return ["user", str(error), None], []
    except OSError as error:
        return ["system", [error.errno, error.strerror, error.filename and os.fsdecode(error.filename)], None], []


def _plain(result: Any) -> tuple[list[Any], list[Any]]:
    """A result as [value, form] and bytes: [None, [dtype, shape]], [None, sizes] of byte strings, or [value, None]."""
    if isinstance(result, np.ndarray):
        return [None, [result.dtype.str, result.shape]], [np.ascontiguousarray(result).reshape(-1).view(np.uint8).data]
    if isinstance(result, list):
        return [None, [len(part) for part in result]], result
    return [result, None], []

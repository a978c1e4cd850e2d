"""Media decoded in a process of its own, within bounds: what a decoder does to itself ends there.

A `Child` is a function of media: the name of a reader and its arguments go in, an array, or a list of byte strings,
comes back. One process serves many calls. It is forked, so that nothing is imported anew, and replaced when it dies,
hangs or wants too much; it ends with the process that asks, and with the thread of it that started it (that is what
PR_SET_PDEATHSIG follows). Calls go over a socket, results lie in memory that both share. Calls that are announced
(`expect`) are worked off without waiting, many at a time where files are short: there, to wake another process for each
would take as long as to read it.

Only Linux holds a process to such bounds; elsewhere `Direct` reads in the process that asks.
"""

import errno
import json
import math
import mmap
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import accumulate, pairwise
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import numpy as np

from ..errors import MMFairseqError
from . import MediaError
from .bounds import BUG, HEADER, MESSAGE, Limits, live, sure
from .faces import single_threaded

SHARED = 1 << 29  # bytes of results that may wait, more where `Limits` has more memory; it is taken as they come
_MOST = 1 << 35
_RELEASE = 1 << 25  # bytes from which on it is given back
_NORESERVE = 0x4000  # of mmap(2)
_PATIENCE = 10  # times the processor time that is allowed, on the clock
_TICK = 1.0  # seconds
_RESTARTS = 3  # in a row that bring nothing and for which no file is to blame

Functions = Mapping[str, Callable[..., Any]]
Call = tuple[Any, ...]  # the name of a function, then its arguments: a path first, all of them plain


class ChildError(Exception):
    """The process ended by a mistake of this program, whose traceback it has printed."""


class Direct:
    """Reads where it is called, without bounds; otherwise as `Child`."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def __call__(self, name: str, *args: Any) -> Any:
        return sure(self._functions[name], *args)

    def expect(self, calls: Iterable[Call]) -> None:
        """Nothing to prepare."""

    def close(self) -> None:
        """Nothing to end."""


class _Answer(NamedTuple):
    kind: str
    told: Any
    form: Any = None
    place: int = 0
    data: Any = None


class Child:
    """Reads in a process of its own, which is there from the first call to `close`, or as long as this object.

    Several threads may call; each call waits for the one before it.

    Args:
        functions: readers by name. Each takes a path and further plain arguments, and returns an array, a list of byte
            strings or a plain value, or raises a `MediaError`, whose `kept` may hold one of these.
        limits: of the process.
        own: whether arrays are the caller's; else they lie in shared memory and hold until the next call that was not
            announced, or the next `expect`.
    """

    def __init__(self, functions: Functions, limits: Limits = Limits(), own: bool = True) -> None:  # noqa: B008
        self._functions, self._limits, self._own = functions, limits, own
        self._forget()

    def __call__(self, name: str, *args: Any) -> Any:
        """What a reader returns.

        Raises:
            MediaError: as the reader raises it, or: crashed; timeout, for more processor time than `Limits` has, or ten
                times that on the clock; out_of_memory; too_large.
            MMFairseqError: as the reader raises it.
            OSError: the machine is to blame: as the reader raises it, or there is no memory for another process.
        """
        call = (name, *args)
        with self._mine():
            if call not in self._ready and call not in self._asked.values():
                while self._asked:
                    self._receive()
                self._take()
                self._ask([call])
            while call not in self._ready:
                self._receive()
            return self._result(self._ready.pop(call))

    def expect(self, calls: Iterable[Call]) -> None:
        """Begin with calls that will be made soon; answers that nobody has asked for until then are dropped."""
        with self._mine():
            while self._asked:
                self._receive()
            self._ready.clear()
            self._ask(dict.fromkeys(calls))

    def close(self) -> None:
        """End the process; a later call starts another."""
        with self._mine():
            self._stop()
            self._asked.clear()
            self._ready.clear()

    def _forget(self) -> None:
        self._owner, self._lock = os.getpid(), threading.RLock()
        self._asked: dict[int, Call] = {}
        self._ready: dict[Call, _Answer] = {}
        self._killed: set[Call] = set()
        self._pid = self._number = self._restarts = self._filled = 0
        self._channel: socket.socket | None = None
        self._finish: Finalize | None = None  # unlike that of weakref, workers of multiprocessing call it at their end
        self._area: mmap.mmap | None = None

    def _mine(self) -> threading.RLock:
        """The lock; where this object was forked along, the process is another's, and a new one is started."""
        if self._owner != os.getpid():
            self._forget()
        return self._lock

    def _start(self) -> None:
        single_threaded()  # before it is forked: OpenCV's threads would not live on in it
        if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or nobody would learn how a process ended
        if self._area is None:
            size = min(_MOST, max(SHARED, SHARED * self._limits.memory // Limits().memory))
            self._area = mmap.mmap(-1, size, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | _NORESERVE)
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # no handler is to run in the new one
            pid = os.fork()
            if not pid:
                live(theirs, self._area, self._functions, self._limits, self._owner)
            self._finish = Finalize(self, _end, (pid, channel), exitpriority=0)
            self._pid, self._channel = pid, channel
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _stop(self) -> int:
        """End the process, if there is one; its exit status, or the signal that ended it, negative."""
        if self._finish is None:
            return 0
        status = self._finish()
        self._channel = self._finish = None
        return status or 0

    def _ask(self, calls: Iterable[Call]) -> None:
        """Send calls. Nothing may be under way, and no answer lie in shared memory."""
        if not (calls := [call for call in calls if call not in self._ready]):
            return
        if self._channel is None:
            self._start()
        assert self._channel is not None
        assert self._area is not None
        if self._filled > _RELEASE:
            self._area.madvise(mmap.MADV_REMOVE)
        first = self._number
        while len(message := json.dumps([first, [[name, args] for name, *args in calls]]).encode()) > MESSAGE:
            if len(calls) == 1:
                told = f"{calls[0][1][:99]}...: a path of {len(calls[0][1])} characters"
                self._ready[calls[0]] = _Answer("media", ["unreadable", told])
                return
            calls = calls[: len(calls) // 2]  # the others when they are called
        self._number, self._filled = first + len(calls), 0
        self._asked = dict(enumerate(calls, first))
        self._at, self._since = -1, time.monotonic()
        HEADER.pack_into(self._area, 0, -1, self._limits.seconds)
        with suppress(BrokenPipeError, ConnectionResetError):  # it died meanwhile; who waits for answers will find out
            self._channel.send(message)

    def _receive(self) -> None:
        """Wait for one message, or for the end of the process."""
        assert self._channel is not None
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        message, hung = b"", False
        try:
            while not hung and not poll.poll(1000 * min(_TICK, self._limits.seconds)):
                hung = self._hangs()
            if not hung:
                with suppress(ConnectionResetError):
                    message = self._channel.recv(MESSAGE)
        except BaseException:
            self.close()  # interrupted: its answer would be taken for that of a later call
            raise
        if not message:
            self._replace(hung)
            return
        self._restarts = 0
        waits, answers = json.loads(message)
        for number, *answer in answers:
            self._ready[self._asked.pop(number)] = _Answer(*answer)
        if waits:
            self._take()
            self._channel.send(b"go on")

    def _hangs(self) -> bool:
        assert self._area is not None
        number, seconds = HEADER.unpack_from(self._area)
        if number != self._at:
            self._at, self._since = number, time.monotonic()
        return time.monotonic() - self._since > _PATIENCE * seconds

    def _replace(self, hung: bool) -> None:
        """See how the process ended, and have another one do what it has not done."""
        assert self._area is not None
        status = self._stop()
        number, seconds = HEADER.unpack_from(self._area)
        left, self._asked = self._asked, {}
        self._take()
        if status == BUG:
            raise ChildError("the process that decodes ended by a mistake; its traceback is above")
        call = left.get(number)
        if call is not None and (hung or status != -signal.SIGKILL):
            self._ready[call] = _fault(call[1], "timeout" if hung or status == -signal.SIGPROF else status, seconds)
        elif call in self._killed:  # by the system, which is short of memory
            self._ready[call] = _Answer("system", [errno.ENOMEM, os.strerror(errno.ENOMEM), call[1]])
        elif call is not None:
            self._killed.add(call)
        elif (restarts := self._restarts + 1) <= _RESTARTS:
            self._restarts = restarts
        elif status == -signal.SIGKILL:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        else:
            raise ChildError(f"the process that decodes ended {restarts} times at no file ({_how(status)})")
        self._ask(left.values())

    def _take(self) -> None:
        """Take what lies in shared memory out of it."""
        self._ready = {
            call: answer if answer.data is not None else answer._replace(data=self._data(answer, own=True))
            for call, answer in self._ready.items()
        }

    def _data(self, answer: _Answer, own: bool) -> Any:
        """An array, byte strings, or None where there are none."""
        form, place = answer.form, answer.place
        if form is None:
            return None
        assert self._area is not None
        if form and isinstance(form[0], str):
            dtype, shape = form
            size = math.prod(shape)
            self._filled = max(self._filled, place + size * np.dtype(dtype).itemsize)
            found = np.frombuffer(self._area, dtype, size, place).reshape(shape)
            return found.copy() if own else found
        ends = list(accumulate(form, initial=place))
        self._filled = max(self._filled, ends[-1])
        return [self._area[first:last] for first, last in pairwise(ends)]

    def _result(self, answer: _Answer) -> Any:
        data = answer.data if answer.data is not None else self._data(answer, self._own)
        if answer.kind == "done":
            return answer.told if answer.form is None else data
        if answer.kind == "media":
            code, message, *length = answer.told
            raise MediaError(code, message, (data, *length) if length else None)
        if answer.kind == "user":
            raise MMFairseqError(answer.told)
        raise OSError(*answer.told)


def reader(functions: Functions, limits: Limits = Limits(), own: bool = True) -> Child | Direct:  # noqa: B008
    """A `Child` where the system has what it needs."""
    return Child(functions, limits, own) if sys.platform == "linux" else Direct(functions)


def _fault(path: str, how: int | str, seconds: float) -> _Answer:
    if how == "timeout":
        told = f"{path}: not decoded in {seconds:g} s of processor time, twice its length or more"
        return _Answer("media", ["timeout", told])
    told = f"{path}: the decoder crashed ({_how(int(how))}): a damaged file, or one made to do so"
    return _Answer("media", ["crashed", told])


def _how(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _end(pid: int, channel: socket.socket) -> int:
    """End a process that decodes; gives how it ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    channel.close()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # others waited for it: who knows how it ended; no file is to be blamed for that
        return -signal.SIGKILL

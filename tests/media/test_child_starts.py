"""The process that decodes starts, and is told of, whatever the one that asks has inherited or does about signals."""

import errno
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from mm_fairseq.media import MediaError, bounds, child
from mm_fairseq.media.child import Child, ChildError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to bounds")
READERS = {
    "value": lambda path, value: value,
    "segfault": lambda path: os.kill(os.getpid(), signal.SIGSEGV),
    "once": lambda path: Path(path).exists() or (Path(path).touch(), os.kill(os.getpid(), signal.SIGKILL)),
}


@pytest.fixture
def read():
    made = Child(READERS)
    yield made
    made.close()


@pytest.mark.parametrize(("score", "expected"), [(0, 500), (900, 900)])
def test_the_score_by_which_the_system_kills_is_never_lowered(read, monkeypatch, tmp_path, score, expected):
    path = tmp_path / "score"
    path.write_text(str(score))
    monkeypatch.setattr(bounds, "_SCORE", str(path))
    assert read("value", "x", 1) == 1
    assert int(path.read_text()) == expected


def test_a_score_that_cannot_be_written(read, monkeypatch, tmp_path):
    monkeypatch.setattr(bounds, "_SCORE", str(tmp_path))
    assert read("value", "x", 1) == 1


def test_where_children_are_not_waited_for(read, tmp_path):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(MediaError) as caught:
            read("segfault", "x.wav")
        assert caught.value.code == "crashed"
        assert read("once", str(tmp_path / "flag")) is True
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_where_others_wait_for_children(read, tmp_path):
    """Or in a thread, which may not decide on that: a kill is no fault of the file."""
    before, found = signal.getsignal(signal.SIGCHLD), []
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        thread = threading.Thread(target=lambda: found.append(read("once", str(tmp_path / "flag"))))
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert found == [True]


def test_no_process_for_now(read, monkeypatch):
    def fails():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", fails)
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                read("value", "x", 1)
    assert read("value", "x", 1) == 1


def test_signals_of_the_parent_at_the_start(read, monkeypatch):
    """They come to the new process, too, which must not do what the parent does about them."""
    fork = os.fork

    def signalled():
        pid = fork()
        if not pid:
            os.kill(os.getpid(), signal.SIGUSR1)
        return pid

    monkeypatch.setattr(os, "fork", signalled)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: os._exit(9))
    try:
        assert read("value", "x", 1) == 1
        assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_one_that_cannot_begin(read, monkeypatch):
    monkeypatch.setattr(child, "live", lambda *args: os._exit(7))
    with pytest.raises(ChildError, match=r"at no file \(exit status 7\)"):
        read("value", "x", 1)

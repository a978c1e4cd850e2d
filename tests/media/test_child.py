"""What is read in a process of its own is what the reader gives; what ends that process is told of the right file."""

import errno
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.media import MediaError, child
from mm_fairseq.media.bounds import Limits, allow_for
from mm_fairseq.media.child import Child, ChildError, Direct

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to bounds")
FORK = multiprocessing.get_context("fork")


def spin(path, duration=None):
    if duration is not None:
        allow_for(0.0, None, duration, 600.0)
    while True:
        pass


def spin_for(path, seconds, duration, work=1.0):
    allow_for(0.0, None, duration, 600.0, work)
    limit = time.process_time() + seconds
    while time.process_time() < limit:
        pass
    return "done"


def interrupt(path):
    """Of the process that asks, when it waits."""
    state = Path(f"/proc/{os.getppid()}/stat")
    while state.read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.01)
    os.kill(os.getppid(), signal.SIGUSR1)
    time.sleep(1000)


def array(path, size):
    return np.arange(size, dtype=np.int32).reshape(-1, 2)


def bad(path, kept=None):
    raise MediaError("no_face", f"{path}: none", kept and (list(kept), len(kept)))


def system(path, number):
    raise OSError(number, os.strerror(number), path)


def user(path):
    raise MMFairseqError(f"{path}: no option")


def mistake(path):
    raise AssertionError(path)


READERS = {
    "array": array,
    "bytes": lambda path, *sizes: [bytes([size % 256]) * size for size in sizes],
    "many": lambda path, count: [b"ab"] * count,
    "value": lambda path, value: value,
    "args": lambda path, *args: repr(args),
    "pid": lambda path: os.getpid(),
    "bad": lambda path, *kept: bad(path, [part.encode() for part in kept]),
    "system": system,
    "user": user,
    "mistake": mistake,
    "type": lambda path: None + 1,
    "memory": lambda path, size: len(np.ones(size, np.uint8)),
    "abort": lambda path: os.abort(),
    "exit": lambda path: os._exit(3),
    "segfault": lambda path: os.kill(os.getpid(), signal.SIGSEGV),
    "killed": lambda path: os.kill(os.getpid(), signal.SIGKILL),
    "spin": spin,
    "spin_for": spin_for,
    "sleep": lambda path: time.sleep(1000),
    "interrupt": interrupt,
    "once": lambda path: Path(path).exists() or (Path(path).touch(), os.kill(os.getpid(), signal.SIGKILL)),
    "files": lambda path: len(os.listdir("/proc/self/fd")),
}


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(child, "_PATIENCE", 1000)  # on the clock, by which a busy machine may be slow
    children = []

    def make(seconds=0.2, memory=2 << 30, own=True):
        children.append(Child(READERS, Limits(memory, seconds), own))
        return children[-1]

    yield make
    for each in children:
        each.close()


@pytest.fixture
def read(made):
    return made()


def code(read, *call):
    with pytest.raises(MediaError) as caught:
        read(*call)
    assert "x.wav" in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("kind", [Direct, Child])
def test_what_comes_back(kind):
    read = kind(READERS)
    assert np.array_equal(read("array", "x", 6), [[0, 1], [2, 3], [4, 5]])
    assert read("array", "x", 0).shape == (0, 2)
    assert read("bytes", "x", 3, 0, 1) == [b"\x03" * 3, b"", b"\x01"]
    assert read("bytes", "x") == []
    assert [read("value", "x", value) for value in (None, 1.25, "a", True)] == [None, 1.25, "a", True]
    assert read("args", "x", None, 0.1, (1, 2, 3, 4), "ü") == "(None, 0.1, (1, 2, 3, 4), 'ü')"
    with pytest.raises(MediaError, match="x: none") as caught:
        read("bad", "x", "a", "bc")
    assert (caught.value.code, caught.value.kept) == ("no_face", ([b"a", b"bc"], 2))
    with pytest.raises(OSError, match="Stale file handle: 'x'") as failed:
        read("system", "x", errno.ESTALE)
    assert failed.value.errno == errno.ESTALE
    with pytest.raises(MMFairseqError, match=r"^x: no option"):
        read("user", "x")
    with pytest.raises(MediaError, match="x: the decoder failed: TypeError"):
        read("type", "x")
    read.close()


def test_one_process_serves_until_it_dies(read):
    first = read("pid", "x")
    assert first not in (os.getpid(), 0)
    assert [read("pid", "x") for _ in range(3)] == [first] * 3
    assert code(read, "segfault", "x.wav") == "crashed"
    assert read("pid", "x") != first


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (("abort", "x.wav"), "crashed"),
        (("exit", "x.wav"), "crashed"),
        (("segfault", "x.wav"), "crashed"),
        (("spin", "x.wav"), "timeout"),
        (("memory", "x.wav", 3 << 30), "out_of_memory"),
        (("bytes", "x.wav", 1 << 20), "too_large"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_a_decoder_may_do_to_itself(made, monkeypatch, call, expected):
    """The others of the same batch are done, before and after it."""
    monkeypatch.setattr(child, "SHARED", 1 << 16)
    read = made()
    before, after = [[("array", f"{side}{size}", 2 * size) for size in range(9)] for side in "ab"]
    read.expect([*before, call, *after])
    for each in before:
        assert len(read(*each)) == each[2] / 2
    assert code(read, *call) == expected
    for each in after:
        assert len(read(*each)) == each[2] / 2


def test_time_is_given_by_the_media(made):
    read = made(seconds=0.3)
    assert read("spin_for", "x.wav", 0.6, 1.0) == "done"
    assert read("spin_for", "x.wav", 0.6, 0.1, 10.0) == "done"
    assert read("spin_for", "x.wav", 0.6, 1.0, 0.1) == "done"
    began = time.monotonic()
    assert code(read, "spin_for", "x.wav", 100.0, 0.1) == "timeout"
    assert time.monotonic() - began < 90
    allow_for(0.0, None, 5.0, 600.0)  # nothing outside such a process


def test_one_that_hangs_without_working(made, monkeypatch):
    read = made(seconds=0.2)
    read("value", "x", 1)
    monkeypatch.setattr(child, "_PATIENCE", 10)
    assert code(read, "sleep", "x.wav") == "timeout"


def test_a_kill_by_the_system_is_not_the_files(read, tmp_path):
    """Once is chance; twice the machine has no memory."""
    assert read("once", str(tmp_path / "flag")) is True
    with pytest.raises(OSError, match="Cannot allocate memory"):
        read("killed", "x.wav")
    assert read("value", "x", 5) == 5


def test_kills_from_outside(read):
    for number in range(20):
        calls = [("array", f"{number} {size}", 2 * size) for size in range(30)]
        read.expect(calls)
        os.kill(read._pid, signal.SIGKILL)
        assert [len(read(*call)) for call in calls] == list(range(30))


def test_a_mistake_of_ours_is_no_bad_file(read, capfd):
    with pytest.raises(ChildError, match="traceback is above"):
        read("mistake", "x.wav")
    assert "AssertionError: x.wav" in capfd.readouterr().err


def test_results_that_do_not_fit_at_once(made, monkeypatch):
    monkeypatch.setattr(child, "SHARED", 1 << 16)
    read = made()
    calls = [("bytes", f"{number}", 20_000 + number) for number in range(12)]
    read.expect(calls)
    assert [len(read(*call)[0]) for call in calls] == [call[2] for call in calls]
    monkeypatch.setattr(child, "_RELEASE", 1)
    read.expect(calls)
    assert [len(read(*call)[0]) for call in calls] == [call[2] for call in calls]


def test_calls_out_of_turn(made):
    """Those that were not announced, twice announced, asked in another order, or never asked for."""
    read = made(own=False)
    calls = [("array", f"{size}", 2 * size) for size in range(10)]
    read.expect([*calls, *calls])
    assert len(read(*calls[3])) == 3
    assert len(read("array", "new", 100)) == 50
    assert [len(read(*call)) for call in calls] == list(range(10))
    assert len(read(*calls[3])) == 3
    read.expect(calls[:2])
    assert len(read(*calls[1])) == 1


def test_files_locks_and_signals_of_the_parent(read):
    with open(__file__, "rb") as file:
        assert read("files", "x") == 5  # three, the socket and the list itself
        assert file.read(1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(read._pid, number)
    assert read("pid", "x") == read._pid


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def gone(pid):
    limit = time.monotonic() + 200
    while is_there(pid) and time.monotonic() < limit:
        time.sleep(0.01)
    return not is_there(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("call", ["value", "spin"])
def test_it_ends_with_its_parent(made, how, call):
    receiver, sender = FORK.Pipe(False)

    def use():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        read = made(seconds=100)
        sender.send(read("pid", "x"))
        read(call, "x", *([5.0] if call == "value" else []))
        time.sleep(1000)

    process = FORK.Process(target=use)
    process.start()
    pid = receiver.recv()
    assert is_there(pid)
    os.kill(process.pid, how)
    process.join()
    assert gone(pid)


def test_it_ends_with_its_owner(made):
    read = Child(READERS)
    pid = read("pid", "x")
    del read
    assert not Path(f"/proc/{pid}").exists()  # not even as a zombie
    read = made()
    pid = read("pid", "x")
    read.close()
    assert not Path(f"/proc/{pid}").exists()
    assert read("pid", "x") != pid


def test_a_forked_process_starts_its_own(read):
    receiver, sender = FORK.Pipe(False)
    mine = read("pid", "x")

    def use():
        sender.send(read("pid", "x"))
        read.close()

    process = FORK.Process(target=use)
    process.start()
    assert receiver.recv() != mine
    process.join()
    assert process.exitcode == 0
    assert read("pid", "x") == mine


def test_threads_take_turns(read):
    found = {}

    def use(name):
        found[name] = [len(read("array", f"{name} {size}", 2 * size)) for size in range(50)]

    threads = [threading.Thread(target=use, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: list(range(50)) for name in range(8)}


def test_an_interrupt(read):
    """What is under way is dropped; its answer is not taken for another's."""

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            read("interrupt", "x.wav")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert read("value", "x", 7) == 7


def test_answers_of_many_words(read):
    """No socket takes messages of any length."""
    calls = [("many", f"x{number}.wav", 3000 + number) for number in range(60)]
    read.expect([*calls[:30], ("many", "x.wav", 200_000), *calls[30:]])
    assert code(read, "many", "x.wav", 200_000) == "too_large"
    assert [len(read(*call)) for call in calls] == [call[2] for call in calls]
    calls = [("value", f"{number}" + "ü" * 2000, number) for number in range(60)]
    read.expect(calls)
    assert [read(*call) for call in calls] == list(range(60))


def test_a_path_that_no_message_holds(read):
    """It ends itself, not those that were announced with it."""
    calls = [("value", "x" * size, size) for size in (9, 200_000, 99)]
    read.expect(calls)
    assert read(*calls[0]) == 9
    with pytest.raises(MediaError, match=r"x\.\.\.: a path of 200000 characters") as error:
        read(*calls[1])
    assert error.value.code == "unreadable"
    assert read(*calls[2]) == 99


def test_larger_results_where_more_memory_is_allowed(made, monkeypatch):
    monkeypatch.setattr(child, "SHARED", 1 << 16)
    assert len(made(memory=4 << 30)("bytes", "x", 100_000)[0]) == 100_000
    with pytest.raises(MediaError, match=r"x: 100000 bytes of it, at most 65472 .* --fps and --frame-size"):
        made()("bytes", "x", 100_000)

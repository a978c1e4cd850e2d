"""Files appear whole or not at all; a lock keeps processes apart and leaves nothing."""

import errno
import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path

import numpy as np
import pytest

from mm_fairseq import atomic
from mm_fairseq.atomic import HeldError, held, locked, open_atomic, remove_leftovers, save_array, write_atomic
from mm_fairseq.errors import MMFairseqError


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    write_atomic(tmp_path / "f", b"old")
    with pytest.raises(TypeError), open_atomic(tmp_path / "f") as file:
        file.writelines([b"new", "no bytes"])
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"old")]


def test_what_another_writer_has_begun_meanwhile_stays(tmp_path, monkeypatch):
    """The hidden name is free again after the rename."""
    replace = Path.replace

    def replaced(place, target):
        replace(place, target)
        place.write_bytes(b"of another")

    monkeypatch.setattr(Path, "replace", replaced)
    write_atomic(tmp_path / "f", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"f": b"new", ".f.tmp": b"of another"}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_folders_that_cannot_be_flushed(tmp_path, monkeypatch, number):
    """On some network file systems that is no error; a broken disk is."""
    flush = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            write_atomic(tmp_path / "f", b"new")
    else:
        write_atomic(tmp_path / "f", b"new")
    assert (tmp_path / "f").read_bytes() == b"new"


def test_arrays_are_what_numpy_reads(tmp_path):
    save_array(tmp_path / "a.npy", np.arange(5))
    assert np.load(tmp_path / "a.npy", allow_pickle=False).tolist() == [0, 1, 2, 3, 4]


def test_write_atomic_replaces_and_leaves_no_other_file(tmp_path):
    for content in (b"old", b"new"):
        write_atomic(tmp_path / "f", content)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("f", b"new")]


def test_remove_leftovers_takes_hidden_files_only(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/.shard-00000.bin.tmp", ".meta.json.tmp", "a/shard-00000.bin", "keep.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "keep.tmp", "shard-00000.bin"]


def _try(folder, answer):
    atomic.LOCK_WAIT = 0.1
    try:
        with locked(folder):
            answer.put("held")
    except MMFairseqError as error:
        answer.put(str(error))


def test_a_folder_is_held_by_one(tmp_path):
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    with locked(tmp_path):
        other = context.Process(target=_try, args=(tmp_path, answer))
        other.start()
        assert "another process is writing there" in answer.get()
        other.join()
    _try(tmp_path, answer)
    assert answer.get() == "held"
    assert list(tmp_path.iterdir()) == []


def test_shared_holders_keep_a_writer_out(tmp_path):
    receipt = tmp_path / "shard-00000.json"
    receipt.touch()
    for path in (tmp_path, receipt):
        with locked(path, shared=True), locked(path, shared=True), pytest.raises(HeldError), locked(path, wait=0):
            pass
        with locked(path, wait=0), pytest.raises(HeldError), locked(path, shared=True, wait=0.1):
            pass


def test_a_folder_that_was_replaced_while_waiting_is_not_held(tmp_path):
    folder, context = tmp_path / "folder", multiprocessing.get_context("spawn")
    folder.mkdir()
    answer = context.SimpleQueue()
    other = context.Process(target=_wait, args=(folder, answer))
    with locked(folder):
        other.start()
        assert answer.get() == "waits"
        folder.rename(tmp_path / "old")
        folder.mkdir()
    assert "another process has replaced it just now" in answer.get()
    other.join()


def _wait(folder, answer):
    flock = atomic.fcntl.flock

    def tell(*args):
        try:
            flock(*args)
        except BlockingIOError:
            answer.put("waits")
            atomic.fcntl.flock = flock
            raise

    atomic.fcntl.flock = tell
    try:
        with locked(folder, wait=1000):
            answer.put("held")
    except MMFairseqError as error:
        answer.put(str(error))


def hold(path, log, seconds):
    with held(path), open(log, "a") as file:
        file.write("[")
        file.flush()
        time.sleep(seconds)
        file.write("]")


def fork(*args):
    process = multiprocessing.get_context("fork").Process(target=hold, args=args)
    process.start()
    return process


def test_one_at_a_time_and_nothing_stays(tmp_path):
    runs = [fork(tmp_path / ".a.tmp", tmp_path / "log", 0.01) for _ in range(8)]
    for run in runs:
        run.join()
    assert (tmp_path / "log").read_text() == "[]" * 8
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_killed_holder_holds_nobody_up(tmp_path):
    run = fork(tmp_path / ".a.tmp", tmp_path / "log", 1000)
    while not (tmp_path / "log").exists() or not (tmp_path / "log").read_text():
        time.sleep(0.01)
    with pytest.raises(HeldError, match="another process"), held(tmp_path / ".a.tmp", wait=0):
        raise AssertionError
    os.kill(run.pid, signal.SIGKILL)
    run.join()
    with held(tmp_path / ".a.tmp", wait=0):
        assert (tmp_path / ".a.tmp").exists()
    assert not (tmp_path / ".a.tmp").exists()

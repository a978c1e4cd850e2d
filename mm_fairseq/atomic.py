"""Files and locks: everything appears whole under its name or not at all.

Files are written beside their place under a hidden name, flushed to the disk, then renamed.

Locks of folders are held by the processes of one machine. On a network file system those of files hold for all of its
machines, so that what several machines may come upon is kept apart by files.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from .errors import MMFairseqError

NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}  # told of folders by some network file systems
LOCK_WAIT = 10.0  # seconds: the workers of a killed run need a moment to notice


def hidden(path: Path) -> Path:
    """The name that a file has while it is written."""
    return path.with_name(f".{path.name}.tmp")


def sync_folder(folder: Path) -> None:
    """See that the names in a folder are on the disk, where its file system can be asked for that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(descriptor)


@contextmanager
def open_atomic(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file to write, which takes its name at the end of the block: a reader, or a crash, sees the old or the new one.

    An error within the block leaves the old one as it was; the system's own errors name the file, of a full disk too.
    """
    path = Path(path)
    place = hidden(path)
    try:
        with open(place, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        place.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            place.unlink()
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)
        raise
    sync_folder(path.parent)


def write_atomic(path: str | os.PathLike, content: bytes) -> None:
    """Write a whole file as `open_atomic` does."""
    with open_atomic(path) as file:
        file.write(content)


def save_array(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write an `.npy` file as `open_atomic` does, without a copy of it in memory."""
    with open_atomic(path) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove the hidden files that a killed writer left in a folder tree. Only the holder of its lock may."""
    for path in Path(folder).rglob(".*.tmp"):
        path.unlink(missing_ok=True)


class HeldError(MMFairseqError):
    """Another process holds the lock."""


@contextmanager
def locked(path: str | os.PathLike, shared: bool = False, wait: float | None = None) -> Iterator[int]:
    """Hold a folder or file, together with the processes forked meanwhile. The lock is the kernel's; no file is made.

    Gives the descriptor, which another command can be made to hold as well (`subprocess`, `pass_fds`).

    Args:
        path: what is held.
        shared: not alone, but with others that hold it so too.
        wait: seconds of patience with another holder; None for `LOCK_WAIT`.

    Raises:
        HeldError: another process holds it for longer than that, or has put another one in its place meanwhile.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        limit = time.monotonic() + (LOCK_WAIT if wait is None else wait)
        while True:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= limit:
                    raise HeldError(f"{path}: another process is writing there; wait for it or end it") from None
                time.sleep(0.05)
        if not _is_there(Path(path), descriptor):
            raise HeldError(f"{path}: another process has replaced it just now; start again")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def held(path: str | os.PathLike, wait: float = float("inf")) -> Iterator[None]:
    """Hold a lock file, which is made for it and goes with it; that of a killed process holds nobody up.

    Args:
        path: of the file; by its name it must be a temporary one, `.NAME.tmp`.
        wait: seconds of patience with another process.

    Raises:
        HeldError: another process holds it for longer than that.
    """
    path, limit = Path(path), time.monotonic() + wait
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(path, descriptor):
                break
        except BlockingIOError:
            if time.monotonic() >= limit:
                os.close(descriptor)
                raise HeldError(f"{path}: another process is writing there; wait for it or end it") from None
            time.sleep(0.05)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether the open file is still the one of that name: who held it before has removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

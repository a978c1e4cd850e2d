"""Which part of the work is this process's, where several runs share it, and what keeps them apart.

Locks of folders are held by the processes of one machine. On a network file system those of files hold for all of its
machines, so that what several machines may come upon is kept apart by files.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..databin import HeldError
from ..errors import MMFairseqError

ENVIRONMENT = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK")  # as torchrun sets it


class Share(NamedTuple):
    """Which shards are this process's: `rank`, `rank + ranks` and so on; `local_ranks` of them are on this machine."""

    ranks: int = 1
    rank: int = 0
    local_ranks: int = 1
    local_rank: int = 0

    @classmethod
    def of(cls, count: int | None, rank: int | None, environment: Mapping[str, str]) -> "Share":
        """As given, else as torchrun tells its processes, else all.

        Raises:
            MMFairseqError: only one is given, or there is no such rank.
        """
        if (count is None) != (rank is None):
            raise MMFairseqError("--nshard and --rank: give both or neither")
        told = {key: int(value) for key in ENVIRONMENT if (value := environment.get(key, "")).isdecimal()}
        ranks, rank = (
            (told.get("WORLD_SIZE", 1), told.get("RANK", 0)) if count is None or rank is None else (count, rank)
        )
        if not 0 <= rank < ranks:
            raise MMFairseqError(f"--nshard {ranks} --rank {rank}: of N runs the ranks are 0 to N - 1")
        return cls(ranks, rank, max(1, told.get("LOCAL_WORLD_SIZE", 1)), told.get("LOCAL_RANK", 0))

    def own(self, shards: int) -> range:
        """The numbers of this process's shards."""
        return range(self.rank, shards, self.ranks)

    @property
    def told(self) -> str:
        """Who speaks, in front of a summary; "" where there is one only."""
        return f"rank {self.rank} of {self.ranks}: " if self.ranks > 1 else ""


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

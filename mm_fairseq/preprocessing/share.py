"""Which part of the work is this process's, where several runs share it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

from ..errors import MMFairseqError

T = TypeVar("T")

ENVIRONMENT = ("WORLD_SIZE", "RANK", "LOCAL_WORLD_SIZE", "LOCAL_RANK")  # as torchrun sets it


class Share(NamedTuple):
    """Which shards are this process's: every one of `ranks` takes turns; `local_ranks` of them are on this machine."""

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

    def own(self, shards: Sequence[T]) -> Sequence[T]:
        """Those of this process."""
        return shards[self.rank :: self.ranks]

    @property
    def told(self) -> str:
        """Who speaks, in front of a summary; "" where there is one only."""
        return f"rank {self.rank} of {self.ranks}: " if self.ranks > 1 else ""

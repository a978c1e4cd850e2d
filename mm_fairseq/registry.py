"""Named things: corpora, backbones, target kinds."""

from collections.abc import Callable
from typing import Generic, TypeVar

from .errors import MMFairseqError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of named classes or functions whose look-up error lists what is allowed.

    Args:
        what: what the entries are, as the error message should call them ("backbone").
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that enters a class or function under `name`."""

        def enter(entry: T) -> T:
            if name in self._entries:
                raise MMFairseqError(f"{self.what} {name!r} is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str) -> T:
        """The entry called `name`.

        Raises:
            MMFairseqError: there is none; the message lists the names.
        """
        if name not in self._entries:
            raise MMFairseqError(f"unknown {self.what} {name!r}; known: {', '.join(self.names())}")
        return self._entries[name]

    def names(self) -> list[str]:
        return sorted(self._entries)

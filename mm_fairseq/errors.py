"""The one exception class for everything a user can cause and mend, and lists of names in its messages."""

from collections.abc import Sequence


class MMFairseqError(ValueError):
    """A bad file, value or option. The message names the value, the place and what is allowed."""


def named(names: Sequence[str], shown: int = 3) -> str:
    """The first few of `names` for a message: "a, b, c and 7 more"."""
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest

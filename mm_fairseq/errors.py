"""The one exception class for everything a user can cause and mend."""


class MMFairseqError(ValueError):
    """A bad file, value or option. The message names the value, the place and what is allowed."""

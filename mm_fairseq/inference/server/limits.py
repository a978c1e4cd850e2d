"""What a server takes on, and how it says no."""

from dataclasses import dataclass

MEGABYTE = 1 << 20
FRAMES = 100  # of features a second, the most that is believed


@dataclass(frozen=True)
class Limits:
    """Bounds of a server.

    Args:
        upload_bytes: of the files of one request.
        held_bytes: of the files of all requests under way; further ones are told to come later.
        seconds: of a clip that is answered at once.
        shortest_hop: seconds at least from one window of a recording to the next.
        recording_seconds: of a recording that is answered window by window.
        text_characters: of the words; those of a window of a recording are cut there.
        subtitle_bytes: of subtitles.
        timeout_seconds: from the first byte of a request to its answer.
        queue: requests under way at once, waiting ones included.
        recordings: under way at once, waiting ones included.
        jobs: clips that are decoded at once, each in a process of its own.
        kept_seconds: for which a recording, or its result, is kept after it was last asked for.
    """

    upload_bytes: int = 100 * MEGABYTE
    held_bytes: int = 16 * 100 * MEGABYTE
    seconds: float = 60.0
    shortest_hop: float = 0.25
    recording_seconds: float = 3600.0
    text_characters: int = 2000
    subtitle_bytes: int = 2 * MEGABYTE
    timeout_seconds: float = 120.0
    queue: int = 256
    recordings: int = 4
    jobs: int = 2
    kept_seconds: float = 900.0


class Refused(Exception):
    """A request that gets no answer.

    Args:
        status: of HTTP.
        code: one word for programs.
        message: for people.
        again: seconds after which to try again, where that helps.
    """

    def __init__(self, status: int, code: str, message: str, again: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.again = status, code, message, again


def too_long(seconds: float) -> Refused:
    """For a clip that is longer than is answered at once."""
    told = f"longer than {seconds:g} s: ask for a span of it by start and end, or for its segments (/api/segments)"
    return Refused(422, "too_long", told)

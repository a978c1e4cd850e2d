"""A file to an array: decode, resample, tokenise, find the face. Bounded and checked; a failure is a `MediaError`."""

import errno
import math
import os
import stat
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError

SPAN_TOLERANCE = 0.1  # seconds that a span may reach beyond the end of its file
MAX_SECONDS = 600.0  # longest utterance decoded unless the caller allows more

# Faults of a machine, its disks or its network, which may be gone tomorrow: no file is to be set aside for them.
_PASSING = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN", "EINTR", "ETIMEDOUT", "ENOTCONN", "ECONNRESET"),
        *("ECONNABORTED", "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOBUFS"),
        *("ENOLINK", "EREMOTEIO", "ESHUTDOWN", "ENODEV"),
    )
    if hasattr(errno, name)
)
# Decoders say these of damaged files too.
_OF_DECODERS = {errno.EIO, errno.ENOMEM, errno.EAGAIN}
_CHUNK = 1 << 22

_LFS_POINTER = b"version https://git-lfs"


class MediaError(MMFairseqError):
    """A file, or the asked part of it, that cannot be used.

    Args:
        code: one word for counting: missing_file, not_regular, git_lfs_pointer, empty, unreadable, truncated, corrupt,
            too_short, too_long, too_large, non_finite, span_outside, outside_root, no_audio_track, no_video_track,
            no_face, several_faces, bad_region; crashed, timeout and out_of_memory, see `child`.
        message: what is wrong, with the path and the numbers.
        kept: the item and its length, where one was made in spite of it (no_face, several_faces).
    """

    def __init__(self, code: str, message: str, kept: tuple[Any, int] | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.kept = kept

    def __str__(self) -> str:
        return self.message


def check_file(path: str | os.PathLike) -> Path:
    """Whether there is a regular file with something in it.

    Raises:
        MediaError: missing_file, not_regular, empty or git_lfs_pointer.
        OSError: the machine, its disk or its network is at fault.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MediaError("not_regular", f"{path}: not a regular file")
        with open(path, "rb") as file:
            head = file.read(len(_LFS_POINTER))
    except (FileNotFoundError, NotADirectoryError):
        raise MediaError("missing_file", f"{path}: no such file") from None
    except OSError as error:
        raise_passing(error)
        raise MediaError("unreadable", f"{path}: {error.strerror}") from error
    if not head:
        raise MediaError("empty", f"{path}: an empty file")
    if head == _LFS_POINTER:
        raise MediaError(
            "git_lfs_pointer", f"{path}: a git-lfs pointer, not the file itself; fetch it with `git lfs pull`"
        )
    return path


def raise_passing(error: BaseException, by_decoder: bool = False) -> None:
    """Raise an error of the system that says nothing of the file that was read; do nothing of others.

    Args:
        error: that was caught.
        by_decoder: it comes from a library that may take the numbers of the system for faults of its own.
    """
    if isinstance(error, OSError) and error.errno in _PASSING and not (by_decoder and error.errno in _OF_DECODERS):
        raise error


def read_through(path: str | os.PathLike) -> None:
    """Read a file to its end, to see whether the system can: decoders take what fails there for the end of the file.

    Raises:
        OSError: it cannot, for a reason that is not the file's.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            while file.read(_CHUNK):
                pass
    except OSError as error:
        raise_passing(error)


def check_span(path: Path, start: float, end: float | None, declared: float | None) -> None:
    """Whether a span lies inside a file of `declared` seconds, as far as that is known.

    Raises:
        MediaError: span_outside.
    """
    if declared is not None and ((start and start >= declared) or (end or 0) > declared + SPAN_TOLERANCE):
        last = f"{end:.3f} s" if end is not None else "the end"
        raise MediaError(
            "span_outside", f"{path}: {start:.3f} s to {last} was asked for, the file ends at {declared:.3f} s"
        )


def check_length(path: Path, got: float, start: float, end: float | None, declared: float | None, slack: float) -> None:
    """Whether decoding gave as much as the file declares, or as was asked for, in seconds.

    Raises:
        MediaError: empty, truncated, or, where the file declares nothing, span_outside.
    """
    if got <= 0:
        raise MediaError("empty", f"{path}: nothing in it could be decoded")
    ends = [second for second in (end, declared) if second is not None]
    expected = min(ends) - start if ends else got
    if got < min(expected - slack, 0.995 * expected):
        if declared is None:
            raise MediaError("span_outside", f"{path}: the file ends {expected - got:.3f} s before {end:.3f} s")
        wanted = f"of {expected:.3f} s" if math.isfinite(expected) else "before its end was missing"
        raise MediaError("truncated", f"{path}: {got:.3f} s could be decoded {wanted}: damaged or cut short")

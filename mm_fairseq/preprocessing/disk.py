"""Errors of the disk that a user can mend, told with the file, the folder and what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MMFairseqError

_FULL = {
    errno.ENOSPC: "no space is left on its disk",
    errno.EDQUOT: "the quota of its disk is used up",
    errno.EFBIG: "the largest size allowed to a file is reached",
}
_SHORT = {
    errno.EMFILE: "this process may open no more files; use fewer --workers or allow more (ulimit -n)",
    errno.ENFILE: "this machine has no more files to open; use fewer --workers or end other programs",
    errno.ENOMEM: "this machine has no more memory; use fewer --workers or end other programs",
    errno.EAGAIN: "this machine has no more processes or memory; use fewer --workers or end other programs",
}
_UNSAFE = {
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN", "ECONNRESET", "ECONNABORTED", "ECONNREFUSED", "EHOSTDOWN"),
        *("EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENOBUFS", "ENOLINK", "EREMOTEIO", "ESHUTDOWN", "ENODEV"),
    )
    if hasattr(errno, name)
}
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)


@contextmanager
def disk_errors(folder: str | os.PathLike, path: str | os.PathLike | None = None) -> Iterator[None]:
    """Turn what a full or unreachable disk, or a machine at its limits, raises into one line.

    Args:
        folder: what is being written.
        path: the file that is, where the system may not tell.

    Raises:
        MMFairseqError: in place of such an error; others pass.
    """
    try:
        yield
    except OSError as error:
        told, where = os.strerror(error.errno or 0), path or (os.fsdecode(error.filename) if error.filename else folder)
        again = f"what is finished in {folder} is kept: run again with --resume"
        if error.errno in _FULL:
            raise MMFairseqError(f"{where}: {_FULL[error.errno]}; make room there, {again}") from error
        if error.errno in _SHORT:
            raise MMFairseqError(f"{where}: {_SHORT[error.errno]}; {again}") from error
        if error.errno in _UNSAFE:
            raise MMFairseqError(f"{where}: {told}; look at its disk, {again}") from error
        if error.errno in _NO_LOCKS:
            raise MMFairseqError(
                f"{where}: its file system keeps no locks ({told}), so that two runs could write "
                "the same file; have it mounted with them (Lustre: flock), or write to another one"
            ) from error
        raise

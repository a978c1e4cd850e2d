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
_UNSAFE = (errno.EIO, errno.ESTALE)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)


@contextmanager
def disk_errors(folder: str | os.PathLike, path: str | os.PathLike | None = None) -> Iterator[None]:
    """Turn what a full or unreachable disk raises into one line.

    Args:
        folder: what is being written.
        path: the file that is, where the system may not tell.

    Raises:
        MMFairseqError: in place of such an error; others pass.
    """
    try:
        yield
    except OSError as error:
        where = path or (os.fsdecode(error.filename) if error.filename else folder)
        again = f"what is finished in {folder} is kept: run again with --resume"
        if error.errno in _FULL:
            raise MMFairseqError(f"{where}: {_FULL[error.errno]}; make room there, {again}") from error
        if error.errno in _UNSAFE:
            raise MMFairseqError(f"{where}: {os.strerror(error.errno)}; look at its disk, {again}") from error
        if error.errno in _NO_LOCKS:
            raise MMFairseqError(
                f"{where}: its file system keeps no locks ({os.strerror(error.errno)}), so that two runs could write "
                "the same file; have it mounted with them (Lustre: flock), or write to another one"
            ) from error
        raise

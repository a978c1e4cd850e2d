"""A data-bin that is made anew is made beside the one that is there, and takes its place once it is complete.

Until then the old one is read as before. An interrupted run is taken up with `resume`; where a kill comes between the
two renames, `resume` does the second.
"""

import os
import shutil
from pathlib import Path

from ..atomic import locked, sync_folder
from ..errors import MMFairseqError


def beside(data_bin: Path) -> Path:
    """Where it is made; on the same disk, also behind a link."""
    place = Path(os.path.realpath(data_bin))
    return place.with_name(f".{place.name}.new")


def where(data_bin: Path, filled: bool, resume: bool, overwrite: bool) -> Path:
    """The folder to write: `data_bin`, or the one beside it.

    Args:
        data_bin: what is wanted in the end.
        filled: whether there is one already.
        resume: take up what was interrupted.
        overwrite: begin anew, whatever is there.

    Raises:
        HeldError: another process writes to either.
        MMFairseqError: one beside it is not finished, and nothing says what to do.
    """
    fresh, old = beside(data_bin), _old(data_bin)
    if old.is_dir() and data_bin.is_dir():
        shutil.rmtree(old)  # its run was killed while it did so
    if overwrite:
        if fresh.is_dir():
            _put_away(fresh, old)
        if not filled:
            return data_bin
        with locked(data_bin):  # or it would only be told at the end
            return fresh
    if not fresh.is_dir():
        return data_bin
    if not resume:
        with locked(fresh, wait=0):
            raise MMFairseqError(
                f"{fresh}: what was to take the place of {data_bin} is not finished; take it up with --resume, in one "
                "run, or begin anew with --overwrite"
            )
    return fresh


def take_place(data_bin: Path) -> None:
    """Put the finished one in the place of the other, which goes.

    Raises:
        HeldError: another process writes to that.
    """
    place, fresh, old = Path(os.path.realpath(data_bin)), beside(data_bin), _old(data_bin)
    if place.is_dir():
        with locked(place):
            place.rename(old)
            fresh.rename(place)
    else:
        fresh.rename(place)
    sync_folder(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def _old(data_bin: Path) -> Path:
    place = Path(os.path.realpath(data_bin))
    return place.with_name(f".{place.name}.old")


def _put_away(folder: Path, old: Path) -> None:
    with locked(folder):
        folder.rename(old)
    shutil.rmtree(old)

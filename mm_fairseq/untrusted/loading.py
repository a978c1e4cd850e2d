"""Loading of checkpoints: data only, unless whoever runs the command trusts the file's authors."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from ..errors import MMFairseqError
from .allowed import ForeignError, check
from .saved import NO_CHECKPOINT

logger = logging.getLogger(__name__)

FLAG = "--allow-unsafe-checkpoints"
_unsafe: ContextVar[bool] = ContextVar("unsafe", default=False)


@contextmanager
def unsafe_checkpoints(allowed: bool) -> Iterator[None]:
    """Within, and if `allowed`, checkpoints may hold any type, and so run any code, when they are loaded."""
    if allowed:
        logger.warning("%s: pretrained files may run code of their authors on this machine", FLAG)
    token = _unsafe.set(allowed)
    try:
        yield
    finally:
        _unsafe.reset(token)


def unsafe_allowed() -> bool:
    """Whether `unsafe_checkpoints` is in force."""
    return _unsafe.get()


def check_checkpoint(path: str | os.PathLike, advice: str = f"if you trust its source, {FLAG}") -> None:
    """See that loading a file makes nothing but data of it, unless `unsafe_checkpoints` is in force.

    Args:
        path: of the file.
        advice: for a file that holds more.

    Raises:
        MMFairseqError: it holds more than plain types, is damaged, or promises more than it has.
    """
    if _unsafe.get():
        return
    try:
        check(Path(path))
    except ForeignError as error:
        reason = f"it holds more than plain types ({error}); {advice}"
        raise MMFairseqError(f"{path}: not a readable checkpoint: {reason}") from error
    except MMFairseqError as error:
        raise MMFairseqError(f"{path}: not a readable checkpoint: {error}") from error
    except OSError as error:
        raise MMFairseqError(f"{path}: not a readable checkpoint: {error.strerror}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a `torch.save`d file with plain types only, unless `unsafe_checkpoints` is in force.

    Raises:
        MMFairseqError: no such file, truncated, or it holds types that are not on the list of safe ones.
    """
    if not path.is_file():
        raise MMFairseqError(f"{path}: no such checkpoint file")
    check_checkpoint(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=not _unsafe.get())
    except Exception as error:  # torch raises a dozen kinds for broken files
        reason = str(error) if isinstance(error, OSError) else NO_CHECKPOINT
        raise MMFairseqError(f"{path}: not a readable checkpoint: {reason}") from error
    if not isinstance(state, dict):
        raise MMFairseqError(f"{path}: expected a dictionary, found {type(state).__name__}")
    return state

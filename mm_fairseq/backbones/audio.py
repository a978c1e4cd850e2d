"""What fairseq's audio checkpoints have in common."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import MMFairseqError
from .base import SAMPLE_RATE
from .files import plain


def task_args(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """Options of the task that a checkpoint was trained for, from either form: `args` or `cfg`."""
    if state.get("args") is not None:
        return plain(state["args"])
    return (state.get("cfg") or {}).get("task") or {}


def check_sample_rate(options: Mapping[str, Any], path: Path) -> None:
    """Refuse a model of speech at another rate than a data-bin has.

    Args:
        options: of the task that the checkpoint was trained for.
        path: the checkpoint.

    Raises:
        MMFairseqError: the rate is another one.
    """
    rate = options.get("sample_rate")
    if rate not in (None, SAMPLE_RATE):
        raise MMFairseqError(f"{path}: sample_rate is {rate!r}; a data-bin has audio at {SAMPLE_RATE} Hz")


def frames_of(samples: Tensor, layers: Sequence[Sequence[int]]) -> Tensor:
    """Frames that convolutions of (width, kernel, stride), without padding, make of so many samples; at least 0."""
    for _, kernel, stride in layers:
        samples = ((samples - kernel).div(stride, rounding_mode="floor") + 1).clamp(min=0)
    return samples

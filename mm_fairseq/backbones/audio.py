"""What fairseq's audio checkpoints have in common."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ..errors import MMFairseqError
from ..untrusted import read_checkpoint
from .base import SAMPLE_RATE
from .files import model_args, names, plain, state_dict

_FINE_TUNED = ("w2v_encoder.w2v_model.", "encoder.w2v_model.")  # in a CTC model, in a sequence-to-sequence model


class Saved(NamedTuple):
    """A checkpoint: options of the model, of the task it was trained for, and weights."""

    model: Mapping[str, Any]
    task: Mapping[str, Any]
    weights: dict[str, Any]


def read_audio(path: Path) -> Saved:
    """Read either form, `args` or `cfg`; of a model fine-tuned for speech recognition the encoder inside.

    Raises:
        MMFairseqError: not such a file, or of a model of audio at another rate than a data-bin has.
    """
    state = read_checkpoint(path)
    model, task = _options(state, path)
    if "model" not in state:
        raise MMFairseqError(f"{path}: no `model` in the file; its keys are {names(state, 8)}")
    bare = state_dict(state["model"], path)
    prefix = next((each for each in _FINE_TUNED if any(key.startswith(each) for key in bare)), "")
    if prefix:
        inner = model.get("w2v_args")
        if inner is None:
            raise MMFairseqError(f"{path}: a fine-tuned model without w2v_args, the options of its encoder")
        model, task = _options({"args" if isinstance(inner, Namespace) else "cfg": inner}, path)
        bare = {key.removeprefix(prefix): value for key, value in bare.items() if key.startswith(prefix)}
    return Saved(model, task, bare)


def _options(state: dict[str, Any], path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    model = model_args(state, path)
    task = model if state.get("args") is not None else plain((plain(state["cfg"]) or {}).get("task")) or {}
    rate = task.get("sample_rate")
    if rate not in (None, SAMPLE_RATE):
        raise MMFairseqError(f"{path}: sample_rate is {rate!r}; a data-bin has audio at {SAMPLE_RATE} Hz")
    return model, task


def frames_of(samples: Tensor, layers: Sequence[Sequence[int]]) -> Tensor:
    """Frames that convolutions of (width, kernel, stride), without padding, make of so many samples; at least 0."""
    for _, kernel, stride in layers:
        samples = ((samples - kernel).div(stride, rounding_mode="floor") + 1).clamp(min=0)
    return samples

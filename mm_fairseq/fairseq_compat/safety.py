"""Checkpoints from strangers: fairseq evaluates strings of their options, and torch's loader calls what is named.

`torch.load(weights_only=True)` alone keeps neither from harm: builders `eval()` options such as `conv_feature_layers`,
and NumPy's types, which old checkpoints need, take flags from the file by which bytes become addresses.
"""

import argparse
import collections
import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import omegaconf
import torch
from fairseq import checkpoint_utils, meters, models
from fairseq.data.dictionary import Dictionary
from fairseq.distributed import utils as distributed_utils
from omegaconf import DictConfig
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from .. import untrusted
from ..errors import MMFairseqError

SLACK = 2**21  # numbers that a model may need while it is built, beside twice those of its checkpoint
OWN_TASK = "emotion_prediction"
_loaded: dict[str, int] = {}
"""`weights`: how many numbers the checkpoint holds that was loaded last."""
_is_bounded: ContextVar[bool] = ContextVar("is_bounded", default=False)
_FULL_LOAD = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"  # torch's own switch


def apply() -> None:
    """Put this in the place of what fairseq does."""
    torch.serialization.add_safe_globals(_safe_globals())
    checkpoint_utils.load_checkpoint = _trusting_as_told(checkpoint_utils.load_checkpoint)
    checkpoint_utils.load_checkpoint_to_cpu = _checked(checkpoint_utils.load_checkpoint_to_cpu)
    checkpoint_utils._upgrade_state_dict = _options_checked(checkpoint_utils._upgrade_state_dict)
    models.build_model = _of_known_size(models.build_model)


def _safe_globals() -> list[Any]:
    """Types that checkpoints of fairseq hold and `torch.load(weights_only=True)` refuses.

    torch >= 2.6 loads with `weights_only=True`; public checkpoints hold their options as a Namespace or as OmegaConf's
    nodes, their meters, NumPy scalars under the old and the new module name, and distributed resuming sends
    `_TensorPlaceholder`s. `untrusted.check` looks at what is done with them.
    """
    kinds = [np.dtype(code) for code in "?bBhHiIlLqQefdFD"]
    multiarray = np._core.multiarray  # type: ignore[attr-defined]
    named: list[Any] = [
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    ]
    for meter in (meters.AverageMeter, meters.TimeMeter, meters.StopwatchMeter):
        named += [meter, (meter, f"fairseq.meters.{meter.__name__}")]
    nodes = [getattr(omegaconf.nodes, f"{name}Node") for name in ("Any", "String", "Integer", "Float", "Boolean")]
    return [
        argparse.Namespace,
        *(
            omegaconf.DictConfig,
            omegaconf.ListConfig,
            omegaconf.base.ContainerMetadata,
            omegaconf.base.Metadata,
            *nodes,
        ),
        *(Any, dict, list, tuple, int, float, str, bool),
        collections.defaultdict,
        np.dtype,
        np.ndarray,
        *{type(kind) for kind in kinds},
        multiarray.scalar,
        multiarray._reconstruct,
        *named,
        distributed_utils._TensorPlaceholder,
        Dictionary,
    ]


def of_plain_types(original: Callable) -> Callable:
    """Options of optimizers that fairseq still parses by argparse would be saved as a Namespace, scores as NumPy's."""

    @functools.wraps(original)
    def save(obj: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(obj, dict):
            obj = {name: value if name in _AS_IT_IS else _plain(value) for name, value in obj.items()}
        return original(obj, *args, **kwargs)

    return save


_AS_IT_IS = {"model", "last_optimizer_state", "criterion", "args"}  # tensors; a form of old


def _plain(value: Any) -> Any:
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    elif isinstance(value, omegaconf.DictConfig | omegaconf.ListConfig):
        value = omegaconf.OmegaConf.to_container(value, resolve=True, enum_to_str=True)
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (dict, collections.OrderedDict):
        return type(value)((key, _plain(each)) for key, each in value.items())
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _trusting_as_told(original: Callable) -> Callable:
    """A training that is resumed or begun from a checkpoint: its own options say whether the file is trusted."""

    @functools.wraps(original)
    def load(cfg: Any, trainer: Any, **passthrough: Any) -> Any:
        task = getattr(trainer.cfg, "task", None)
        with untrusted.unsafe_checkpoints(bool(getattr(task, "allow_unsafe_checkpoints", False))):
            return original(cfg, trainer, **passthrough)

    return load


def _checked(original: Callable) -> Callable:
    """What a file holds is looked at before torch loads it."""

    @functools.wraps(original)
    def load(path: str, arg_overrides: dict[str, Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        asked = bool((arg_overrides or {}).get("allow_unsafe_checkpoints"))
        with untrusted.unsafe_checkpoints(True) if asked else contextlib.nullcontext():
            if untrusted.unsafe_allowed():
                with _full_load():
                    return original(path, arg_overrides, *args, **kwargs)
            if os.path.isfile(path):
                untrusted.check_checkpoint(path)
            try:
                state = original(path, arg_overrides, *args, **kwargs)
            except _RefusedError as error:
                raise MMFairseqError(f"{path}: {error}") from error
            except MMFairseqError:
                raise
            except Exception as error:  # torch raises a dozen kinds, fairseq what comes of missing parts
                told = f"{type(error).__name__}: {str(error).partition('.')[0]}"[:200]
                raise MMFairseqError(f"{path}: not a readable checkpoint of a training ({told})") from error
            _check_task(path, state, (arg_overrides or {}).get("task"))
            return state

    return load


def _check_task(path: str, state: dict[str, Any], asked: Any) -> None:
    """A checkpoint says which task is built for it; the one of this package takes no other's, and none takes its."""
    task = (state.get("cfg") or {}).get("task")
    name = getattr(task, "_name", None)
    if isinstance(asked, str) and name != asked and OWN_TASK in (name, asked):
        raise MMFairseqError(f"{path}: a checkpoint of the task {name!r}, the command says --task {asked}")


@contextlib.contextmanager
def _full_load() -> Iterator[None]:
    before = os.environ.get(_FULL_LOAD)
    os.environ[_FULL_LOAD] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FULL_LOAD]
        else:
            os.environ[_FULL_LOAD] = before


class _RefusedError(MMFairseqError):
    """Of options; without the path of their file."""


def _options_checked(original: Callable) -> Callable:
    """Nothing is built of a checkpoint's options, nor are they brought into today's form, before they are checked."""

    @functools.wraps(original)
    def upgrade(state: Any) -> Any:
        if untrusted.unsafe_allowed():
            return original(state)
        if not isinstance(state, dict) or not any(state.get(name) is not None for name in ("args", "cfg")):
            keys = sorted(map(str, state))[:8] if isinstance(state, dict) else type(state).__name__
            raise _RefusedError(f"not a checkpoint of a training: neither `cfg` nor `args` in it, but {keys}")
        for name in ("args", "cfg"):
            options = state.get(name)
            if options is not None and not isinstance(options, argparse.Namespace | DictConfig | dict):
                raise _RefusedError(f"its options are a {type(options).__name__}, expected a Namespace or a dictionary")
            try:
                untrusted.check_options(options, outside=True)
            except MMFairseqError as error:
                raise _RefusedError(str(error)) from error
        weights = state["model"].values() if isinstance(state.get("model"), dict) else ()
        _loaded["weights"] = sum(each.numel() for each in weights if isinstance(each, Tensor))
        return original(state)

    return upgrade


class _Bounded(TorchDispatchMode):
    """Refuses tensors before memory is taken for them: new ones once they are more than `left` numbers together.

    What is computed of others, and soon gone, may be as large each.
    """

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = self.most = left

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if any(each.is_meta for each in given) or str(kwargs.get("device")) == "meta":
            return func(*args, **kwargs)  # takes no memory
        if func.__name__.startswith("resize_") or not any(each.alias_info for each in func._schema.returns):
            numel = _size_of_result(func, args, kwargs)
            new = "new_" in func.__name__ or not given
            self.left -= numel if new else 0
            if self.left < 0 or numel > self.most:
                raise MMFairseqError(
                    f"the checkpoint's options ask for a model of more than {self.most:,} numbers, it holds far fewer"
                )
        return func(*args, **kwargs)


@contextlib.contextmanager
def bounded(numbers: int) -> Iterator[None]:
    """Within, a model may take so many numbers; see `is_bounded`."""
    token = _is_bounded.set(True)
    try:
        with _Bounded(numbers):
            yield
    finally:
        _is_bounded.reset(token)


def is_bounded() -> bool:
    """Whether a model is being built by the options of a checkpoint, which may be anybody's."""
    return _is_bounded.get()


def _size_of_result(func: Any, args: Any, kwargs: dict[str, Any]) -> int:
    """How many numbers a call would give, found out on shapes alone; 0 where these do not tell."""
    takes_device = any(each.name == "device" for each in func._schema.arguments)
    shapes = tree_map_only(Tensor, lambda each: each.detach().to("meta"), (args, kwargs))
    try:
        given = func(*shapes[0], **shapes[1] | ({"device": "meta"} if takes_device else {}))
    except (RuntimeError, TypeError, ValueError, LookupError):  # NotImplementedError too
        return 0
    return sum(each.numel() for each in tree_leaves(given) if isinstance(each, Tensor))


def _of_known_size(original: Callable) -> Callable:
    """A few bytes of a checkpoint's options can ask for a model of terabytes."""

    @functools.wraps(original)
    def build(cfg: Any, task: Any, from_checkpoint: bool = False) -> Any:
        held = _loaded.pop("weights", None) if from_checkpoint else None
        if held is None:
            return original(cfg, task, from_checkpoint)
        with bounded(2 * held + SLACK):
            return original(cfg, task, from_checkpoint)

    return build

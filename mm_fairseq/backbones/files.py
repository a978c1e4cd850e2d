"""Pretrained files of others: their options and weights are checked before any builder sees them."""

import ast
import hashlib
import math
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ..errors import MMFairseqError

MAX_LAYERS = 64
MAX_SIZE = 8192
MAX_OPTION = 2**14


def sha256(paths: Iterable[Path]) -> str:
    """Of the content of files, in the given order; their names do not count."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def plain(options: Any) -> dict[str, Any] | None:
    """A Namespace, a dictionary or an OmegaConf node as a dictionary; None for anything else."""
    if isinstance(options, DictConfig):
        options = OmegaConf.to_container(options)
    options = vars(options) if isinstance(options, Namespace) else options
    return dict(options) if isinstance(options, dict) else None


def model_args(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """The model's options of a fairseq checkpoint, from either form: `args` (a Namespace) or `cfg` (nested).

    Raises:
        MMFairseqError: it has neither.
    """
    given = plain(state.get("args"))
    if given is None:
        given = plain((plain(state.get("cfg")) or {}).get("model"))
    if given is None:
        raise MMFairseqError(f"{path}: neither `args` nor `cfg.model` in the file; its keys are {names(state, 8)}")
    return given


def names(state: Mapping[Any, Any], most: int) -> list[str]:
    """Of what a file holds, the first few, for messages."""
    return sorted(map(str, state))[:most]


def state_dict(weights: Any, path: Path) -> dict[str, Any]:
    """The weights of a file by name; `module.` in front is taken off.

    Raises:
        MMFairseqError: it is no dictionary with names.
    """
    if not isinstance(weights, dict):
        raise MMFairseqError(f"{path}: the weights are a {type(weights).__name__}, expected a dictionary of tensors")
    if odd := [key for key in weights if not isinstance(key, str)]:
        raise MMFairseqError(f"{path}: a weight is named {odd[0]!r}, expected a string")
    return {key.removeprefix("module."): value for key, value in weights.items()}


def options_of(saved: Mapping[str, Any], defaults: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The options named in `defaults`, each checked to be of the type of its default (a number will do for a float).

    Whole numbers must lie between 0 and `most_of`, others must be finite.

    A default that is a tuple of strings lists what is allowed; its first is the default. One that is a type stands for
    none: the option is left out where the file has none.

    Raises:
        MMFairseqError: a value of another type, too large, or not allowed.
    """
    out = {}
    for name, default in defaults.items():
        first = default[0] if isinstance(default, tuple) else default
        value = saved.get(name)
        if value is None:
            if not isinstance(default, type):
                out[name] = first
            continue
        kind: type = default if isinstance(default, type) else type(first)
        fits = isinstance(value, int | float if kind is float else kind) and isinstance(value, bool) == (kind is bool)
        if not fits:
            raise MMFairseqError(f"{path}: {name} is {value!r}, expected a value of type {kind.__name__}")
        if isinstance(default, tuple) and value not in default:
            raise MMFairseqError(f"{path}: {name} is {value!r}; allowed: {', '.join(default)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise MMFairseqError(f"{path}: {name} is {value}; it must be finite")
        if kind is int and not 0 <= value <= most_of(name):
            raise MMFairseqError(f"{path}: {name} is {value}; allowed: 0 to {most_of(name)}")
        out[name] = kind(value)
    return out


def most_of(option: str) -> int:
    """The largest value of a whole number among the options of a file."""
    return MAX_LAYERS if option.endswith(("_layers", "_depth")) else MAX_OPTION


def pick(weights: Any, prefixes: tuple[str, ...], path: Path) -> dict[str, Tensor]:
    """The entries of a state dict that begin with one of `prefixes`; `module.` in front is taken off.

    Raises:
        MMFairseqError: no state dict, a prefix has no entry, or an entry is no tensor.
    """
    bare = state_dict(weights, path)
    for prefix in prefixes:
        if not any(key.startswith(prefix) for key in bare):
            raise MMFairseqError(f"{path}: no weights named {prefix}*; the file has {names(bare, 4)} ...")
    chosen = {key: value for key, value in bare.items() if key.startswith(prefixes)}
    for key, value in chosen.items():
        if not isinstance(value, Tensor):
            raise MMFairseqError(f"{path}: {key} is a {type(value).__name__}, not a tensor")
    return chosen


def conv_layers(value: Any, default: Sequence[Sequence[int]], where: str) -> list[list[int]]:
    """Layer shapes: a list, or a string such as "[(512, 10, 5)] + [(512, 3, 1)] * 9", never evaluated as code.

    Args:
        value: as it stands in a checkpoint; None for the default.
        default: (width, kernel, stride) a layer.
        where: file and option, for messages.

    Raises:
        MMFairseqError: it is no list of at most 64 triples of numbers from 1 to 8192.
    """
    if value is None:
        return [list(layer) for layer in default]
    try:
        layers = _fold(ast.parse(value.strip(), mode="eval").body) if isinstance(value, str) else value
        out = [[int(number) for number in layer] for layer in layers]
    except (ValueError, TypeError, ArithmeticError, SyntaxError, RecursionError, MemoryError):
        out = []
    if not 0 < len(out) <= MAX_LAYERS or any(
        len(layer) != 3 or not all(0 < n <= MAX_SIZE for n in layer) for layer in out
    ):
        raise MMFairseqError(f"{where}: expected a list of (width, kernel, stride), found {str(value)[:80]!r}")
    return out


def receptive_field(layers: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Receptive field and stride, in samples, of convolutions of (width, kernel, stride) without padding."""
    field, stride = 1, 1
    for _, kernel, step in layers:
        field += (kernel - 1) * stride
        stride *= step
    return field, stride


def _fold(node: ast.AST) -> list:
    """Literal lists joined by `+` and repeated by `*`, of at most `MAX_LAYERS` elements."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _few(_fold(node.left), 1) + _few(_fold(node.right), 1)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        times = ast.literal_eval(node.right)
        if not isinstance(times, int) or times < 1:
            raise ValueError(times)
        return _few(_fold(node.left), times)
    return list(ast.literal_eval(node))


def _few(layers: list, times: int) -> list:
    if len(layers) * times > MAX_LAYERS:
        raise ValueError(f"more than {MAX_LAYERS} layers")
    return layers * times

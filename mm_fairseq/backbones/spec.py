"""What a user writes of a backbone, and what a model is built from."""

import inspect
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..errors import MMFairseqError
from .base import BACKBONES, Backbone
from .files import MAX_LAYERS, most_of, sha256
from .hf_text import same_words

_KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
MAX_NUMBER = 2**24
SLACK = 2**20  # weights; a file that lacks fewer is told which when they are loaded


class Spec(NamedTuple):
    """`NAME`, `NAME:FILE`, `NAME:key=value,...` or `NAME:FILE,key=value,...`."""

    name: str
    path: str
    options: dict[str, Any]

    @classmethod
    def parse(cls, modality: str, text: str) -> "Spec":
        """Split a specification and check its name, its modality, its options and their types."""
        name, _, rest = text.partition(":")
        backbone = BACKBONES.get(name)
        if not backbone.reads(modality):
            fitting = [other for other in BACKBONES.names() if BACKBONES.get(other).reads(modality)]
            raise MMFairseqError(
                f"backbone {name!r} reads {backbone.modality}, not {modality}; for {modality}: {', '.join(fitting)}"
            )
        path, given = rest, dict[str, str]()
        while path and not os.path.exists(path):
            head, _, last = path.rpartition(",")
            key, equals, value = last.partition("=")
            if not equals or not key.isidentifier():
                break
            if key in given:
                raise MMFairseqError(f"backbone option {key!r} is given twice in {text!r}")
            path, given = head, {key: value, **given}
        allowed = [*parameters(backbone), *backbone.file_options]
        if unknown := [key for key in given if key not in allowed]:
            raise MMFairseqError(
                f"backbone option {unknown[0]!r} in {text!r}: {name} takes {', '.join(allowed) or 'none'}"
            )
        options = {key: _value(value) for key, value in given.items()}
        arguments = inspect.signature(backbone).parameters
        for key, parsed in options.items():
            wanted = "" if key in backbone.file_options else _misses(parsed, arguments[key])
            if wanted:
                raise MMFairseqError(f"backbone option {key}={given[key]} in {text!r}: expected {wanted}")
        return cls(name, path, options)

    @property
    def files(self) -> dict[str, Path]:
        """The pretrained files by option, the main one as `file`; empty where there are none."""
        others = {
            key: Path(str(self.options[key])) for key in BACKBONES.get(self.name).file_options if key in self.options
        }
        return ({"file": Path(self.path)} if self.path else {}) | others

    def absolute(self) -> str:
        """The same with paths that hold in any folder."""
        options = {key: json.dumps(value).strip('"') for key, value in self.options.items()}
        options |= {key: os.path.abspath(path) for key, path in self.files.items() if key != "file"}
        path = [os.path.abspath(self.path)] if self.path else []
        return ":".join([self.name, *filter(None, [",".join([*path, *(f"{k}={v}" for k, v in options.items())])])])


def _value(text: str) -> int | float | bool | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def _misses(value: int | float | bool | str, argument: inspect.Parameter) -> str:
    """What is expected of a constructor's argument, if the value is something else."""
    kinds = get_args(argument.annotation) or (argument.annotation,)
    if type(value) not in kinds and not (type(value) is int and float in kinds):
        return " or ".join(_KINDS.get(kind, "it to come with a file only") for kind in kinds)
    if isinstance(value, float) and not math.isfinite(value):
        return "a finite number"
    if kinds == (int,) and isinstance(value, int):
        least = int(argument.default is not argument.empty and argument.default > 0)
        most = _most(argument.name)
        return "" if least <= value <= most else f"{least} to {most}"
    return ""


def _most(option: str) -> int:
    return MAX_LAYERS if most_of(option) == MAX_LAYERS else MAX_NUMBER


def parameters(backbone: type[Backbone]) -> list[str]:
    """Names of the constructor's arguments."""
    found = inspect.signature(backbone).parameters.values()
    return [each.name for each in found if each.kind is not each.VAR_KEYWORD]


def complete(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with the defaults of all arguments that it leaves out, so that equal ones look equal."""
    known = inspect.signature(BACKBONES.get(entry["name"])).parameters.values()
    args = {each.name: each.default for each in known if each.default is not each.empty}
    return {**entry, "args": json.loads(json.dumps(args | entry["args"]))}


class Resolved(NamedTuple):
    """What a model is built from, and the weights it starts with.

    Args:
        entries: modality to `{name, args, frozen, sha256}` in plain types; sha256 has that of each pretrained file, the
            main one as `file`.
        weights: modality to weights, of those that are pretrained.
        files: modality to the file that they come from.
    """

    entries: dict[str, dict[str, Any]]
    weights: dict[str, dict[str, Tensor]]
    files: dict[str, str]


def resolve(specs: Mapping[str, str], finetune: set[str], defaults: Mapping[str, dict[str, Any]]) -> Resolved:
    """Read every pretrained file, once.

    Args:
        specs: modality to specification.
        finetune: modalities whose pretrained backbone is trained; one without a file always is, if it can be.
        defaults: modality to arguments known from data or model (a vocabulary's size, a window's length), for those
            that neither the file nor the specification gives.
    """
    entries: dict[str, dict[str, Any]] = {}
    weights: dict[str, dict[str, Tensor]] = {}
    files: dict[str, str] = {}
    for modality, text in sorted(specs.items()):
        spec = Spec.parse(modality, text)
        files[modality] = spec.path
        backbone = BACKBONES.get(spec.name)
        options = {key: value for key, value in spec.options.items() if key not in backbone.file_options}
        known = parameters(backbone)
        args = {key: value for key, value in defaults.get(modality, {}).items() if key in known}
        if spec.files:
            others = {key: path for key, path in spec.files.items() if key != "file"}
            own, weights[modality] = backbone.read(Path(spec.path), **others)
            args |= own
        entry = {
            "name": spec.name,
            "args": args | options,
            "frozen": bool(spec.files) and modality not in finetune,
            "sha256": {key: sha256(backbone.parts(path)) for key, path in spec.files.items()},
        }
        entries[modality] = complete(entry)
        if spec.files:
            weights[modality] = backbone.weights_for(entries[modality]["args"], weights[modality])
            _check_size(entries[modality], weights[modality], spec.path)
    return Resolved(entries, weights, files)


class _Shapes(TorchFunctionMode):
    """Lets what fairseq initialises by way of the CPU be built of shapes alone."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return args[0] if func is Tensor.cpu else func(*args, **(kwargs or {}))


def _check_size(entry: Mapping[str, Any], weights: Mapping[str, Tensor], path: str) -> None:
    """See that a few bytes of options do not ask for gigabytes of memory.

    Raises:
        MMFairseqError: the arguments do not fit, or ask for more weights than the file holds.
    """
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), _Shapes():
            asked = sum(weight.numel() for weight in build(entry).state_dict().values())
    except MMFairseqError as error:
        raise MMFairseqError(f"{path}: {error}") from error
    held = sum(weight.numel() for weight in weights.values())
    if asked > held + SLACK:
        told = f"weights do not fit backbone {entry['name']!r}: its options ask for {asked:,}, the file has {held:,}"
        raise MMFairseqError(f"{path}: {told}")


def check_vocabulary(found: Resolved, text: str, symbols: Sequence[str], data_bin: Path) -> None:
    """See that a text backbone numbers its symbols as the data does.

    Args:
        found: of `resolve`.
        text: the text backbone's specification.
        symbols: of the data-bin's dictionary, in the order of their numbers.
        data_bin: its folder.

    Raises:
        MMFairseqError: it knows more or fewer, or its dict.txt or tokenizer has others.
    """
    if "text" not in found.entries:
        return
    entry, advice = found.entries["text"], "binarize with the tokenizer of that model"
    known = entry["args"].get("vocabulary", len(symbols))
    # RoBERTa's <mask> stands behind the dictionary.
    if not 0 <= known - len(symbols) <= int(entry["name"] == "roberta"):
        raise MMFairseqError(
            f"text backbone {text!r} knows {known} symbols, the data-bin's dict.txt {len(symbols)}: {advice}"
        )
    path = Path(found.files["text"])
    own = (path if path.is_dir() else path.parent) / "dict.txt"
    if found.files["text"] and entry["name"] == "roberta" and own.is_file():
        lines = own.read_text(encoding="utf-8").splitlines()
        theirs = [line.rpartition(" ")[0] for line in lines]
        ours = list(symbols[len(symbols) - len(theirs) :])
        if theirs != ours:
            place = next((n for n, pair in enumerate(zip(theirs, ours)) if pair[0] != pair[1]), 0)
            raise MMFairseqError(f"{own}:{place + 1}: {lines[place]!r}, the data-bin's dict.txt differs: {advice}")
    if entry["name"] == "hf_text" and not same_words(path, data_bin / "tokenizer.json"):
        raise MMFairseqError(
            f"{path}: the data-bin was made with another tokenizer: binarize with --tokenizer hf:{path}"
        )


def build(entry: Mapping[str, Any]) -> Backbone:
    """Build one backbone from an entry of `resolve`.

    Raises:
        MMFairseqError: the arguments do not fit.
    """
    backbone = BACKBONES.get(entry["name"])
    for key, value in entry["args"].items():  # they may come from a checkpoint
        if isinstance(value, int) and value > _most(key):
            raise MMFairseqError(f"backbone option {key}={value} of {entry['name']!r}: at most {_most(key)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise MMFairseqError(f"backbone option {key}={value} of {entry['name']!r}: expected a finite number")
    try:
        return backbone(**entry["args"])
    except (TypeError, ValueError, RuntimeError, ArithmeticError, AssertionError, LookupError) as error:
        bare = isinstance(error, LookupError) or not str(error)
        reason = f"{type(error).__name__}: {error}" if bare else str(error)
        usual = {each.name: each.default for each in inspect.signature(backbone).parameters.values()}
        special = [f"{key}={value}" for key, value in entry["args"].items() if value != usual.get(key)]
        told = ", ".join(sorted(special, key=len))
        raise MMFairseqError(
            f"{reason}; backbone {entry['name']!r} of {backbone.modality} does not take {told[:150]}"
        ) from error

"""Options whose strings fairseq runs as Python: each must be a literal, of the form that the option has.

A string that fairseq hands to `eval` is a program; one in a checkpoint is a program of whoever made the checkpoint.
"""

import ast
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ..errors import MMFairseqError

MAX_TEXT = 4096
MAX_PARTS = 256  # of a list
MAX_DEPTH = 64  # options in options
LARGEST = 2**31
MAX_LAYERS = 1024
_MANY = re.compile(r"layers|depth|blocks")
_ELSEWHERE = re.compile(r"\$\{\s*[\w.]+\s*:")  # OmegaConf: ask a resolver
_OTHER = re.compile(r"\$\{([\w.]+)\}")  # OmegaConf: as that option


def literal(text: str) -> Any:
    """What a string of literals says; lists and tuples may be joined by `+` and repeated by `*`, as fairseq's are.

    Raises:
        ValueError: anything else, or more than 256 parts.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"{len(text)} characters")
    try:
        return _fold(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, TypeError, RecursionError, MemoryError, ArithmeticError) as error:
        raise ValueError(str(error)) from error


def _fold(node: ast.AST) -> Any:
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Add | ast.Mult):
        return ast.literal_eval(node)
    left, right = _fold(node.left), _fold(node.right)
    if isinstance(node.op, ast.Mult):
        if not isinstance(left, list | tuple) or type(right) is not int or not 1 <= right * len(left) <= MAX_PARTS:
            raise ValueError("a product")
        return left * right
    if type(left) is not type(right) or not isinstance(left, list | tuple) or len(left) + len(right) > MAX_PARTS:
        raise ValueError("a sum")
    return left + right


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _truth(value: Any) -> bool:
    """Yes or no, or one for each layer; in a string a plain word is a name that does nothing."""
    return value is None or isinstance(value, bool | int) or (_list(value) and all(isinstance(v, bool) for v in value))


def _list(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) <= MAX_PARTS


def _numbers(value: Any) -> bool:
    return value is None or _number(value) or (_list(value) and all(map(_number, value)))


def _pair(value: Any) -> bool:
    return _list(value) and len(value) == 2 and all(map(_number, value))


def _layers(value: Any) -> bool:
    """Layers of convolutions, each of a few numbers; or how many layers of another kind there are."""
    rows = _list(value) and all(_list(row) and 1 <= len(row) <= 4 and all(map(_number, row)) for row in value)
    return value is None or _number(value) or rows


def _words(value: Any) -> bool:
    return value is None or (_list(value) and all(isinstance(each, str | int | float | None) for each in value))


def _options(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and all(isinstance(key, str) and isinstance(each, str | int | float | None) for key, each in value.items())
    )


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "pair": (_pair, "two numbers"),
    "layers": (_layers, "a list of layers, each of 1 to 4 numbers"),
    "numbers": (_numbers, "a list of numbers"),
    "truth": (_truth, "True, False or a list of them"),
    "words": (_words, "a list of texts and numbers"),
    "options": (_options, "a dictionary of numbers and texts"),
    "dictionary": (lambda value: value is None or isinstance(value, dict), "a dictionary"),
}
# Every option that fairseq 0.12 evaluates, and what it must be.
EVALUATED: dict[str, str] = {
    **dict.fromkeys(("adam_betas", "adamax_betas", "lamb_betas", "adafactor_eps"), "pair"),
    **dict.fromkeys(("conv_feature_layers", "conv_aggregator_layers", "feature_encoder_spec"), "layers"),
    **dict.fromkeys(("character_filters", "encoder_layers", "decoder_layers"), "layers"),
    **dict.fromkeys(("adaptive_softmax_cutoff", "adaptive_input_cutoff"), "numbers"),
    **dict.fromkeys(("pipeline_balance", "pipeline_devices"), "numbers"),
    **dict.fromkeys(("pipeline_encoder_balance", "pipeline_encoder_devices"), "numbers"),
    **dict.fromkeys(("pipeline_decoder_balance", "pipeline_decoder_devices"), "numbers"),
    **dict.fromkeys(("encoder_attention", "decoder_attention", "self_attention", "gated_attention"), "truth"),
    **dict.fromkeys(("project_input", "downsample", "pretrained", "left_pad_source", "left_pad_target"), "truth"),
    "wer_args": "words",
    "model_overrides": "options",
    **dict.fromkeys(("xformers_att_config", "encoder_xformers_att_config", "decoder_xformers_att_config"), "options"),
}
_OF_THE_COMMAND = {"model_overrides": "dictionary"}  # whoever runs a command may set options that are lists


def check_options(options: Any, outside: bool = False) -> None:
    """See that every option that fairseq evaluates, at any depth, is what it should be.

    Args:
        options: of fairseq, in any of its forms: a dictionary, a Namespace, nodes of OmegaConf, or of all of them.
        outside: they come from somewhere else: what OmegaConf would look up elsewhere (`${...:...}`) is refused too,
            and more than `MAX_LAYERS` layers.

    Raises:
        MMFairseqError: names the option and its value.
    """
    for name, value in _walk(options, "", 0):
        last = name.rpartition(".")[2]
        if outside and isinstance(value, str) and _ELSEWHERE.search(value):
            raise MMFairseqError(f"option {name} is {value[:80]!r}, which looks up something of this machine")
        if outside and isinstance(value, int) and value > MAX_LAYERS and _MANY.search(last):
            raise MMFairseqError(f"option {name} is {value}; at most {MAX_LAYERS}")
        if last in EVALUATED:
            _check(name, value, EVALUATED[last] if outside else _OF_THE_COMMAND.get(last, EVALUATED[last]))


def _check(name: str, value: Any, kind: str) -> None:
    fits, told = _FORMS[kind]
    found = value
    if isinstance(value, str):
        other = _OTHER.fullmatch(value)
        if other and EVALUATED.get(other[1].rpartition(".")[2]) == kind:  # looked at in its own place
            return
        if kind == "truth" and value.isidentifier():  # the name of something: looked at, not called
            return
        try:
            found = literal(value)
        except ValueError:
            raise MMFairseqError(
                f"option {name} is {value[:80]!r}, which fairseq would run as a program; allowed is {told}"
            ) from None
    elif isinstance(value, bytes | bytearray | memoryview):
        raise MMFairseqError(f"option {name} is bytes, which fairseq would run as a program; allowed is {told}")
    if not fits(found):
        raise MMFairseqError(f"option {name} is {str(value)[:80]!r}; allowed is {told}")


def _walk(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Every option with its full name; lists and dictionaries both as a whole and part by part."""
    if depth > MAX_DEPTH:
        raise MMFairseqError(f"option {name[:80]}: more than {MAX_DEPTH} options in each other")
    if isinstance(value, DictConfig | ListConfig):
        value = value._value() if value._is_interpolation() else OmegaConf.to_container(value, resolve=False)
    if isinstance(value, Namespace):
        value = vars(value)
    yield name, value
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _walk(each, f"{name}.{key}".lstrip("."), depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        for place, each in enumerate(value):
            if not isinstance(each, int | float):
                yield from _walk(each, f"{name}[{place}]", depth + 1)

"""What a file says of a trained model, and a caller of a clip, looked at before anything is made of it."""

import math
import re
from collections.abc import Iterable, Mapping
from numbers import Real
from reprlib import repr as short
from typing import Any

from ..errors import MMFairseqError
from ..manifest import MODALITIES
from ..media.faces import FACES
from ..preprocessing.items import RANGES

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MOST_SECONDS = RANGES["max_seconds"][1]
_FILE = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_LARGEST = 1 << 31


def check_number(name: str, value: object, most: float = math.inf) -> None:
    """Whether it is one above 0, no infinity.

    Raises:
        MMFairseqError: it is not, or above `most`.
    """
    if not is_number(value) or not 0 < value <= most or value == math.inf:  # type: ignore[operator]
        told = "" if most == math.inf else f", at most {most:,.0f},"
        raise MMFairseqError(f"{name} {short(value)}: a number above 0{told} is needed")


def is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def check_files(names: Iterable[Any]) -> None:
    """Whether files of a tokeniser may be written into a folder under these names.

    Raises:
        MMFairseqError: one would lie elsewhere, or in the place of others.
    """
    for name in names:
        if not isinstance(name, str) or not _FILE.fullmatch(name) or name in (CONFIG, WEIGHTS):
            told = f"expected a name in the folder, such as 'vocab.bpe', other than {CONFIG} and {WEIGHTS}"
            raise MMFairseqError(f"tokenizer file {short(name)}: {told}")


def check_task(task: Mapping[str, Any]) -> None:
    """Of the options of a task, those that inputs depend on.

    Raises:
        MMFairseqError: names the option.
    """
    for name, value in task.items():
        least = -1 if name.endswith("token") else 0
        if type(value) is not int or not least <= value < _LARGEST:
            raise MMFairseqError(f"{name} {short(value)}: a whole number from {least} on is needed")


def check_state(state: Mapping[str, Any], backbones: object) -> None:
    """Of the state of a task, what inputs are made by.

    Args:
        state: see `EmotionPredictionTask`.
        backbones: of the model, by modality.

    Raises:
        MMFairseqError: names what is wrong.
        KeyError, TypeError, AttributeError, ValueError: it has another form.
    """
    meta, modalities, contents = state["meta"], state["modalities"], state["tokenizer"]
    check_files(contents)
    if not all(isinstance(content, bytes) for content in contents.values()):
        raise MMFairseqError("a file of the tokeniser does not consist of bytes")
    if not isinstance(backbones, dict) or not isinstance(modalities, list) or not _same(modalities, backbones):
        told = f"each of {', '.join(MODALITIES)} once that has a backbone"
        raise MMFairseqError(f"modalities {short(modalities)}: expected {told}")
    if not all(isinstance(symbol, str) for symbol in state["dictionary"]):
        raise MMFairseqError("the dictionary does not consist of words")
    for name, value in (
        ("fps", meta["fps"]),
        ("frame_size", meta["frame_size"]),
        ("max_seconds", meta["settings"]["max_seconds"]),
    ):
        (least, most), whole = RANGES[name], name == "frame_size"
        if not is_number(value) or not least <= value <= most or (whole and type(value) is not int):
            told = f"a {'whole ' if whole else ''}number from {least:g} to {most:,.0f} is needed"
            raise MMFairseqError(f"{name} {short(value)}: {told}")
    if meta["faces"] not in FACES:
        raise MMFairseqError(f"faces {short(meta['faces'])}: known are {', '.join(FACES)}")
    for name in modalities:
        dim = meta["streams"][name]["dim"]
        if type(dim) is not int or not 0 <= dim < _LARGEST:
            raise MMFairseqError(f"features of {name}: {short(dim)} a frame; a whole number from 0 on is needed")
    spec = meta["tokenizer"]
    if spec and not (isinstance(spec["name"], str) and isinstance(spec["files"], list | tuple)):
        raise MMFairseqError(f"tokenizer {short(spec)}: expected its name and files")


def _same(modalities: list[Any], backbones: dict[Any, Any]) -> bool:
    known = [name for name in MODALITIES if name in backbones]
    return len(known) == len(backbones) and sorted(modalities) == known

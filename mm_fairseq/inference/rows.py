"""A clip as a row of a manifest, after a look at what was given of it."""

import math
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Any

import numpy as np

from ..errors import MMFairseqError
from ..manifest import MODALITIES, Medium, Utterance
from .checks import check_number, is_number
from .clips import Clip, medium_of

_MOST_RATE = 768_000  # Hz
_SURROGATE = re.compile("[\ud800-\udfff]")
_RECORDINGS = {"audio": "sampling_rate", "video": "fps"}


@dataclass(frozen=True)
class Row(Utterance):
    """A row whose files are known: what is behind the name of one was read already."""

    media: Mapping[str, Medium] = field(default_factory=dict)

    def medium(self, modality: str) -> Medium | None:
        return self.media.get(modality)


def called(clip: Clip) -> str:
    """The beginning of a message."""
    return f"{clip.id}: " if clip.id else ""


def told_of(clip: Clip, row: Row, message: str) -> str:
    """A message on a file of a clip, which is called as it was named; not at all where the clip itself is called so."""
    places = {name: medium.path for name, medium in row.media.items()} | {"features": row.features}
    for name, place in places.items():
        if place and (known := named(clip, name)) == clip.id:
            message = message.replace(f"{place}: ", "")
        message = message.replace(place, known) if place else message
    return message


def named(clip: Clip, name: str) -> str:
    """What was given as `video`, `audio` or `features`: a file as it was named, else just that."""
    source = getattr(clip, name)
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else name


def givers(clip: Clip, modalities: Collection[str], dims: Collection[str]) -> dict[str, set[str]]:
    """What was given beside the words, each with those modalities of a model that were to come from it.

    Args:
        clip: what there is.
        modalities: of the model.
        dims: those of them that are features.
    """
    sound = {"audio"} if clip.audio is None else set()
    found = {
        name: (its - {*dims}) & {*modalities}
        for name, its in {"video": {"video"} | sound, "audio": {"audio"}}.items()
        if getattr(clip, name) is not None
    }
    if clip.features is not None:
        found["features"] = {*dims} & {*(clip.features if isinstance(clip.features, Mapping) else dims)}
    return found


def row_of(clip: Clip, stack: ExitStack) -> Row:
    """As a manifest has it; bytes lie in a file as long as `stack` is open.

    Raises:
        MMFairseqError: something of it is no clip, by its type or its value.
    """
    try:
        _check(clip)
        media = {name: found for name in _RECORDINGS if (found := _medium(name, clip, stack))}
        features = clip.features
        return Row(
            clip.id,
            text=clip.text or "",
            features="" if features is None or isinstance(features, Mapping) else absolute("features", features),
            audio=media["audio"].path if "audio" in media else "",
            video=media["video"].path if "video" in media else "",
            media=media,
        )
    except MMFairseqError as error:
        raise MMFairseqError(f"{called(clip)}{error}") from error


def check_times(start: object, end: object) -> None:
    """Whether a span lies between two numbers of seconds, or None.

    Raises:
        MMFairseqError: it does not.
    """
    given: list[Any] = [each for each in (start, end) if each is not None]
    if not all(is_number(each) and math.isfinite(each) for each in given) or not (
        0 <= (start or 0.0) < (math.inf if end is None else end)  # type: ignore[operator]
    ):
        raise MMFairseqError(f"start {short(start)}, end {short(end)}: expected 0 <= start < end, in seconds")


def _check(clip: Clip) -> None:
    check_times(clip.start, clip.end)
    if not isinstance(clip.text, str | None):
        raise MMFairseqError(f"text: {_kind(clip.text)}; expected a str")
    if odd := _SURROGATE.search(clip.text or ""):
        raise MMFairseqError(f"text: {odd[0]!r} at place {odd.start()} is no character: words are to be given as UTF-8")
    for name, rate in _RECORDINGS.items():
        source, value = getattr(clip, name), getattr(clip, rate)
        if not isinstance(source, str | os.PathLike | bytes | np.ndarray | None):
            raise MMFairseqError(f"{name}: {_kind(source)}; expected a path, bytes, or an array of NumPy")
        if value is None:
            continue
        if not isinstance(source, np.ndarray):
            told = f"is of {name} in an array; a file says it itself"
            raise MMFairseqError(f"{rate} {short(value)} {told}")
        check_number(f"{name}: {rate}", value, _MOST_RATE)
    features = clip.features
    if isinstance(features, Mapping):
        for name, x in features.items():
            if name not in MODALITIES:
                raise MMFairseqError(f"features of {short(name)}: known are {', '.join(MODALITIES)}")
            if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiu":
                raise MMFairseqError(f"features of {short(name)}: {_kind(x)}; expected an array of NumPy, of numbers")
    elif not isinstance(features, str | os.PathLike | None):
        raise MMFairseqError(f"features: {_kind(features)}; expected arrays by modality, or the path of an .npz")


def _kind(value: object) -> str:
    told = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
    return f"{type(value).__module__}.{type(value).__qualname__}{told}".removeprefix("builtins.")


def _medium(name: str, clip: Clip, stack: ExitStack) -> Medium | None:
    source = getattr(clip, name)
    start, end = (None if each is None else float(each) for each in (clip.start, clip.end))
    if source is None or isinstance(source, np.ndarray):
        return None
    if isinstance(source, bytes):
        file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="clip-"))  # noqa: SIM115
        file.write(source)
        file.flush()
        return Medium(file.name, start, end)
    return medium_of(absolute(name, source), start, end)


def absolute(name: str, path: object) -> str:
    """The place of a file that was given as `name`.

    Raises:
        MMFairseqError: it is no path, or none that a system takes.
    """
    if not isinstance(path, str | os.PathLike):
        raise MMFairseqError(f"{name}: {_kind(path)}; expected a path")
    try:
        if b"\0" in os.fsencode(path):
            raise MMFairseqError(f"{name}: the name of a file {short(os.fsdecode(path))} has a NUL in it")
    except UnicodeEncodeError as error:
        raise MMFairseqError(f"{name}: the name of a file {short(path)} cannot be encoded") from error
    if not os.fspath(path):
        raise MMFairseqError(f"{name}: the name of a file is empty")
    return os.path.abspath(os.fsdecode(path))

"""What a form asks for."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ...errors import MMFairseqError
from ...manifest import MODALITIES
from ...media import MediaError
from ..clips import Clip, NoModalityError
from .limits import Limits, Refused, too_long
from .uploads import Form

FILES = {
    "clip": "video with its sound, or a sound; what mm-fairseq reads: mp4, webm, mov, mkv, avi, wav, flac, mp3, ogg",
    "audio": "a sound that is heard instead of the clip's",
    "features": ".npz with an array (T, D) a modality, for models of features",
}
SPAN = {
    "without": "string: modalities that are withheld from the model, `audio,video`",
    "start": "number: beginning of the span in seconds",
    "end": "number: end of the span in seconds",
}
_MOST = 1_000_000  # of seconds, and whatever else is counted
FIELDS = {"text": "string: what is said", "top_k": "integer: so many labels of each target; all by default", **SPAN}


@dataclass(frozen=True)
class Asked:
    """What is wanted of a clip."""

    clip: Clip
    without: tuple[str, ...]
    top_k: int | None


def asked(form: Form, limits: Limits, modalities: Sequence[str]) -> Asked:
    """Read a form.

    Raises:
        Refused: bad_field or too_large.
    """
    text = one(form, "text")
    if text and len(text) > limits.text_characters:
        raise Refused(413, "too_large", f"text: {len(text)} characters, at most {limits.text_characters} are taken")
    start, end = span(form)
    clip = Clip(
        form.name,
        video=form.files.get("clip"),
        audio=form.files.get("audio"),
        text=text,
        start=start,
        end=end,
        features=form.files.get("features"),
    )
    top_k = number(form, "top_k")
    if top_k is not None and (top_k < 1 or top_k != int(top_k)):
        raise Refused(422, "bad_field", f"top_k: {top_k:g} is not a whole number of at least 1")
    return Asked(clip, withheld(form, modalities), None if top_k is None else int(top_k))


def span(form: Form) -> tuple[float | None, float | None]:
    """The fields `start` and `end`."""
    start, end = number(form, "start"), number(form, "end")
    if end is not None and end <= (start or 0.0):
        raise Refused(422, "bad_field", f"end: {end:g} s is not behind start, {start or 0.0:g} s")
    return start, end


def withheld(form: Form, modalities: Sequence[str]) -> tuple[str, ...]:
    """The field `without`, whose modalities may stand in one field or in several."""
    names = [name.strip() for text in form.fields.get("without", ()) for name in text.split(",")]
    names = [name for name in names if name]
    if unknown := [name for name in names if name not in MODALITIES]:
        raise Refused(422, "bad_field", f"without: {unknown[0][:50]!r} is none of {', '.join(MODALITIES)}")
    if not set(modalities) - set(names):
        raise Refused(422, "no_modality", f"without: nothing is left; the model reads {', '.join(modalities)}")
    return tuple(dict.fromkeys(names))


def one(form: Form, name: str) -> str | None:
    """A field that may be there once; None where it is not, or empty."""
    found = form.fields.get(name, [])
    if len(found) > 1:
        raise Refused(422, "bad_field", f"{name}: given {len(found)} times")
    return found[0] if found and found[0].strip() else None


def choice(form: Form, name: str, known: Collection[str]) -> str | None:
    """A field that is one of some words."""
    if (text := one(form, name)) is not None and text not in known:
        raise Refused(422, "bad_field", f"{name}: {text[:50]!r} is none of {', '.join(known)}")
    return text


def number(form: Form, name: str) -> float | None:
    """A field that is a number of 0 or more, in bounds that messages can tell."""
    if (text := one(form, name)) is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MOST:
        raise Refused(422, "bad_field", f"{name}: {text[:50]!r} is not a number from 0 to {_MOST:,}")
    return value


def refusal(error: MMFairseqError, form: Form, seconds: float) -> Refused:
    """How a clip, or a recording, that cannot be answered is told.

    Args:
        error: of who read it, or of the model.
        form: that it came with.
        seconds: of the longest clip.
    """
    codes = _codes(error)
    if "too_long" in codes:
        return too_long(seconds)
    faults = [code for code in codes if not code.startswith("no_")] or codes
    told = form.told(str(error).removeprefix(f"{form.name}: "))  # its file is called so once more
    return Refused(415 if set(codes) == {"unreadable"} else 422, faults[0], told)


def _codes(error: MMFairseqError) -> list[str]:
    if isinstance(error, NoModalityError):
        return list(error.codes.values()) or ["no_modality"]
    found = error if isinstance(error, MediaError) else error.__cause__
    return [found.code] if isinstance(found, MediaError) else ["unusable"]

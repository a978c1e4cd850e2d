"""IEMOCAP's files `EmoEvaluation/Ses01F_impro01.txt`: what each utterance was rated as, and by whom."""

import math
import re
from pathlib import Path
from typing import NamedTuple

from ..errors import MMFairseqError
from .base import read_text
from .recordings import fault
from .votes import shared, summed

LABELS = ("neu", "sad", "ang", "hap", "exc", "fru", "sur", "fea", "dis", "oth", "xxx")
DIMENSIONS = ("valence", "activation", "dominance")
NAMES = {
    "neutral": "neu",
    "neutral state": "neu",
    "happiness": "hap",
    "sadness": "sad",
    "anger": "ang",
    "surprise": "sur",
    "fear": "fea",
    "disgust": "dis",
    "frustration": "fru",
    "excited": "exc",
    "other": "oth",
}

_RATED = re.compile(r"\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\s+(\S+)\s+(\S+)\s+\[(.*)\]\s*$")
_ID = re.compile(r"(Ses0([1-5])([FM])_\w+)_([FM])\d{3}$")
_RATER = re.compile(r"C-E\d*:\s*([^(]*)")


class Turn(NamedTuple):
    """One utterance of an EmoEvaluation file. Times in seconds; evaluators as (line, what they named)."""

    start: float
    end: float
    id: str
    label: str
    line: int
    dimensions: str = ""
    evaluators: tuple[tuple[int, str], ...] = ()


def read_evaluation(file: Path, session: int) -> list[Turn]:
    """The rated utterances of one dialogue in the order of time, with the evaluators' lines below each.

    Raises:
        MMFairseqError: a bracketed line that is no rated utterance of this dialogue, an unknown label, an id twice, or
            no rated utterance at all.
    """
    turns: dict[str, Turn] = {}
    name = ""
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if (rater := _RATER.match(line)) and name:
            turns[name] = turns[name]._replace(evaluators=(*turns[name].evaluators, (number, rater[1].strip())))
        if not line.startswith("["):
            continue
        match = _RATED.match(line)
        if not match:
            raise MMFairseqError(
                f"{file}:{number}: expected '[START - END] ID LABEL [VALENCE, ACTIVATION, DOMINANCE]', "
                f"not {line[:60]!r}"
            )
        start, end, name, label, dimensions = match.groups()
        where = f"{file}:{number}: utterance {name!r}"
        parts = _ID.match(name)
        if not parts or parts[1] != file.stem or int(parts[2]) != session:
            raise MMFairseqError(
                f"{where}: an id of this file is {file.stem}_F000 or {file.stem}_M000, in Session{session}"
            )
        if label not in LABELS:
            raise MMFairseqError(f"{where}: label {label!r} is none of {', '.join(LABELS)}")
        if name in turns:
            raise MMFairseqError(f"{where}: the id stands already in line {turns[name].line}")
        try:
            turns[name] = Turn(float(start), float(end), name, label, number, dimensions)
        except ValueError:
            raise MMFairseqError(f"{where}: [{start} - {end}] are not two times in seconds") from None
    if not turns:
        raise MMFairseqError(f"{file}: {fault(file) or 'holds no rated utterance: copy or extract it again'}")
    return sorted(turns.values())


def evaluators_votes(turn: Turn, labels: dict[str, str]) -> tuple[dict[str, float], list[tuple[int, str]]]:
    """The evaluators' votes, {class: number}, and the lines with a name that is none of `NAMES`, or with none at all.

    Args:
        turn: the utterance.
        labels: {label: class}; other labels get no votes.
    """
    ballots, unknown = [], []
    for line, text in turn.evaluators:
        said = [name.strip().lower() for name in text.split(";") if name.strip()]
        if not said or not set(said) <= NAMES.keys():
            unknown.append((line, text))
        ballots.append(shared([labels.get(NAMES.get(name, ""), "") for name in said]))
    return summed(ballots, dict.fromkeys(labels.values())), unknown


def dimensions(turn: Turn, where: str) -> dict[str, str]:
    """Valence, activation and dominance, the means over the evaluators, {name: number}.

    Raises:
        MMFairseqError: the bracket holds anything but three numbers; `where` begins the message.
    """
    numbers = [text.strip() for text in turn.dimensions.split(",")]
    try:
        values = [float(text) for text in numbers]
    except ValueError:
        values = []
    if len(values) != len(DIMENSIONS) or not all(map(math.isfinite, values)):
        raise MMFairseqError(f"{where}: [{turn.dimensions}] are not three numbers, {', '.join(DIMENSIONS)}")
    return {name: f"{value:g}" for name, value in zip(DIMENSIONS, values, strict=True)}

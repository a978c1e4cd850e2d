"""Targets: what is predicted, as data; `kinds` says what can be done with it."""

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import MMFairseqError
from .kinds import KINDS, MISSING, SEPARATOR, Kind

__all__ = ["KINDS", "MISSING", "SEPARATOR", "Kind", "Target", "kind_of", "read_targets", "write_targets"]


@dataclass(frozen=True)
class Target:
    """One thing to predict.

    Args:
        name: as users see it in options, logs and tables ("emotion"); letters, digits, _ and -.
        kind: a name of `KINDS`.
        classes: the labels in the order of their numbers; empty for regression.
        weight: factor of this target's loss.
        votes: the manifest's column with the votes of the annotators, `neu=2|fru=1`; "" where there is none.
    """

    name: str
    kind: str
    classes: tuple[str, ...] = ()
    weight: float = 1.0
    votes: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+", self.name):
            raise MMFairseqError(f"target name {self.name!r}: only letters, digits, _ and - are allowed")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise MMFairseqError(f"target {self.name!r}: weight {self.weight} is not a finite number of 0 or more")
        KINDS.get(self.kind)(self)


def kind_of(target: Target, soft: bool = False) -> Kind:
    """The kind of a target, ready to use."""
    return KINDS.get(target.kind)(target, soft)


def read_targets(path: str | os.PathLike) -> list[Target]:
    """Read `targets.json`.

    Raises:
        MMFairseqError: the file is missing or is not a list of targets.
    """
    path = Path(path)
    if not path.is_file():
        raise MMFairseqError(f"{path}: no such file; `mm-fairseq prepare` and `binarize` write it")
    try:
        targets = [_target(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
        if len({target.name for target in targets}) != len(targets) or not targets:
            raise ValueError("no target, or two of one name")
        return targets
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        kinds = ", ".join(KINDS.names())
        raise MMFairseqError(
            f"{path}: expected a list of {{name, kind, classes, weight, votes}} with kinds {kinds}: {error!s:.500}"
        ) from error


def _target(name: str, kind: str, classes: Sequence[str], weight: float = 1.0, votes: str = "") -> Target:
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in [name, kind, votes, *classes]):
        raise TypeError(f"name, kind and votes must be strings and classes a list of strings, not {classes!r}")
    return Target(name, kind, tuple(classes), float(weight), votes)


def write_targets(path: str | os.PathLike, targets: Sequence[Target]) -> None:
    """Write `targets.json` atomically."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    content = json.dumps([asdict(target) for target in targets], ensure_ascii=False, indent=1) + "\n"
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)

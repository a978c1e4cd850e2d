"""What a cross-validation runs: checked against the data-bin, and against what its folder holds already."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic import write_atomic
from ..databin import DataBin, fingerprint
from ..errors import MMFairseqError
from ..tables import to_json
from ..versions import installed
from . import commands, receipts

OWNED = (
    *("--save-dir", "--seed", "--protocol", "--fold", "--user-dir", "--restore-file", "--results-path", "--path"),
    *("--train-subset", "--valid-subset", "--combine-valid-subsets", "--ignore-unused-valid-subsets"),
    *("--reset-optimizer", "--reset-lr-scheduler", "--reset-meters", "--reset-dataloader"),
    *("--disable-validation", "--no-save", "--data"),
)
DEFAULTS = {
    "--task": "emotion_prediction",
    "--criterion": "emotion_prediction_cri",
    "--log-format": "simple",
    "--no-epoch-checkpoints": None,
}


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Args:
        data: the data-bin.
        protocol: one of its protocols.
        folds: of the protocol.
        seeds: of the trainings.
        out: the folder to write.
        arguments: of fairseq-train.
    """

    data: Path
    protocol: str
    folds: tuple[str, ...]
    seeds: tuple[int, ...]
    out: Path
    arguments: tuple[str, ...]

    def folder(self, fold: str, seed: int) -> Path:
        """Of one training and its test."""
        return self.out / self.protocol / f"fold_{fold}" / f"seed_{seed}"

    @property
    def title(self) -> str:
        """What it is, for its table."""
        return f"{self.protocol}: {len(self.folds)} folds, seeds {', '.join(map(str, self.seeds))}"

    @property
    def command(self) -> list[str]:
        """The words that ask for this."""
        folds, seeds = ",".join(self.folds), ",".join(map(str, self.seeds))
        options = ["--protocol", self.protocol, "--folds", folds, "--seeds", seeds]
        return ["mm-fairseq", "crossval", str(self.data), *options, "--", *self.arguments]


def make(
    data: Path, protocol: str, folds: Sequence[str], seeds: Sequence[str], out: Path, arguments: Sequence[str]
) -> Plan:
    """Check what is asked for against what the data-bin has.

    Args:
        data: the data-bin.
        protocol: the first of the data-bin where it is empty.
        folds: all of the protocol where there are none.
        seeds: numbers as text.
        out: the folder to write.
        arguments: of fairseq-train.

    Raises:
        MMFairseqError: an unknown protocol or fold (lists those there are), a seed that is no number, an argument that
            cross-validation sets by itself, or no architecture.
    """
    data_bin = DataBin(data)
    protocol = data_bin.place(protocol).protocol
    known = data_bin.protocols[protocol]
    if unknown := [fold for fold in folds if fold not in known]:
        raise MMFairseqError(f"--folds {unknown[0]!r}; protocol {protocol} has {', '.join(known)}")
    if wrong := [seed for seed in seeds if not seed.isdecimal()]:
        raise MMFairseqError(f"--seeds {wrong[0]!r}: whole numbers from 0 are allowed")
    numbers = tuple(dict.fromkeys(map(int, seeds)))
    if not numbers:
        raise MMFairseqError("--seeds: at least one")
    commands.refuse(arguments, OWNED, "crossval")
    if all(commands.option(arguments, name) is None for name in ("--arch", "-a")):
        raise MMFairseqError("no --arch among the arguments of fairseq-train, which stand behind --")
    chosen = tuple(fold for fold in known if fold in folds or not folds)
    return Plan(data, protocol, chosen, numbers, out, tuple(commands.with_defaults(arguments, DEFAULTS)))


def settings(plan: Plan) -> dict[str, Any]:
    """What must not change between the jobs of one folder."""
    targets = hashlib.sha256((plan.data / "targets.json").read_bytes()).hexdigest()
    return {
        "protocol": plan.protocol,
        "arguments": list(plan.arguments),
        "data": fingerprint(plan.data),
        "targets": targets,
        "versions": installed(),
    }


def check_same(path: Path, now: Mapping[str, Any]) -> None:
    """Write the settings; where something was done with those that are there, compare.

    Raises:
        MMFairseqError: they differ; it says in what.
    """
    begun = any(found for pattern in ("*.pt", receipts.NAME) for found in path.parent.rglob(pattern))
    if not path.is_file() or not begun:
        write_atomic(path, to_json(now).encode())
        return
    try:
        before = json.loads(path.read_bytes())
        changes = [f"{key} was {told(before[key])}, is {told(now[key])}" for key in now if before[key] != now[key]]
    except (ValueError, KeyError, TypeError) as error:
        raise MMFairseqError(f"{path}: not the settings of a cross-validation ({error!r})") from error
    if changes:
        raise MMFairseqError(f"{path.parent} was begun differently: {'; '.join(changes)}; name another --out")


def told(value: Any) -> str:
    """A setting in a line."""
    if isinstance(value, list):
        return shlex.join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return str(value)

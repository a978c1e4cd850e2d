"""Targets: what is predicted. A target is data; its kind owns outputs, encoding, loss, decoding and metrics.

B batch, K classes. A missing label is -100 (classes) or NaN (numbers) and enters neither loss nor metrics.
"""

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import metrics
from .errors import MMFairseqError
from .registry import Registry

MISSING = -100

KINDS: Registry[type["Kind"]] = Registry("target kind")


@dataclass(frozen=True)
class Target:
    """One thing to predict.

    Args:
        name: as users see it in options, logs and tables ("emotion"); letters, digits, _ and -.
        kind: a name of `KINDS`.
        classes: the labels in the order of their numbers; empty for regression.
        weight: factor of this target's loss.
    """

    name: str
    kind: str
    classes: tuple[str, ...] = ()
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+", self.name):
            raise MMFairseqError(f"target name {self.name!r}: only letters, digits, _ and - are allowed")
        KINDS.get(self.kind)(self)


class Kind:
    """What a target of this kind does with labels and logits. Subclasses fill in the five methods and `outputs`."""

    min_classes = 2

    def __init__(self, target: Target) -> None:
        self.target = target
        self.classes = target.classes
        if len(self.classes) < self.min_classes or len(set(self.classes)) != len(self.classes):
            raise MMFairseqError(
                f"target {target.name!r}: kind {target.kind!r} needs at least {self.min_classes} different classes, "
                f"has {list(self.classes)}"
            )

    @property
    def outputs(self) -> int:
        """Width of the head."""
        return len(self.classes)

    def encode(self, label: str) -> float:
        """The number of a label; "" is a missing label.

        Raises:
            MMFairseqError: the label is none of the classes.
        """
        if not label:
            return MISSING
        if label not in self.classes:
            raise MMFairseqError(f"label {label!r} of target {self.target.name!r} is none of {', '.join(self.classes)}")
        return self.classes.index(label)

    def collate(self, values: Sequence[float]) -> Tensor:
        """Shape (B)."""
        return torch.tensor(values, dtype=torch.long)

    def present(self, target: Tensor) -> Tensor:
        """Which rows have a label. Shape (B), bool."""
        return target != MISSING

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Sum of the losses of labelled rows. `logits` (B, outputs), `target` (B); a scalar, in nats."""
        raise AssertionError("a kind defines loss")

    def decode(self, logits: Tensor) -> list[dict[str, Any]]:
        """`{"prediction", "scores"}` for each row of `logits` (B, outputs), in plain Python types."""
        probabilities = self.probabilities(logits.float()).tolist()
        return [
            {
                "prediction": self.classes[max(range(len(row)), key=row.__getitem__)],
                "scores": dict(zip(self.classes, row, strict=True)),
            }
            for row in probabilities
        ]

    def label(self, value: float) -> str | float | None:
        """The opposite of `encode`."""
        return None if value == MISSING else self.classes[int(value)]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Shape (B, K)."""
        return logits.softmax(-1)

    def counts(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Float64 tensors whose sums over batches and ranks determine every metric."""
        kept = self.present(target)
        prediction = self.probabilities(logits[kept].float()).argmax(-1)
        size = len(self.classes)
        cells = torch.bincount(target[kept] * size + prediction, minlength=size * size)
        return {"confusion": cells.view(size, size).double()}

    def metrics(self, counts: dict[str, Tensor]) -> dict[str, float]:
        """Named metrics of the summed counts."""
        return metrics.from_confusion(counts["confusion"].cpu().numpy())


@KINDS.register("single")
class Single(Kind):
    """One of K classes: softmax and cross-entropy."""

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), target, ignore_index=MISSING, reduction="sum")


@KINDS.register("binary_each")
class BinaryEach(Kind):
    """K two-way decisions, as the original IEMOCAP system has them: 2K outputs, read as (K, [no, yes]).

    Accuracy and weighted F1 are reported for each class; the prediction is the class of the highest probability of yes.
    """

    @property
    def outputs(self) -> int:
        return 2 * len(self.classes)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        kept = self.present(target)
        truth = F.one_hot(target[kept], len(self.classes))
        return F.cross_entropy(logits[kept].float().reshape(-1, 2), truth.reshape(-1), reduction="sum")

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.unflatten(-1, (len(self.classes), 2)).softmax(-1)[..., 1]

    def counts(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        kept = self.present(target)
        truth = F.one_hot(target[kept], len(self.classes))
        yes = (self.probabilities(logits[kept].float()) > 0.5).long()
        cell = F.one_hot(2 * truth + yes, 4).sum(0)
        return super().counts(logits, target) | {"binary": cell.view(-1, 2, 2).double()}

    def metrics(self, counts: dict[str, Tensor]) -> dict[str, float]:
        out = super().metrics(counts)
        for name, table in zip(self.classes, counts["binary"].cpu().numpy(), strict=True):
            each = metrics.from_confusion(table)
            out |= {f"acc_{name}": each["wa"], f"f1_{name}": each["wf1"]}
        return out


@KINDS.register("regression")
class Regression(Kind):
    """A number, learnt with the L1 loss; metrics as sentiment in [-3, 3] is reported."""

    min_classes = 0

    @property
    def outputs(self) -> int:
        return 1

    def encode(self, label: str) -> float:
        if not label:
            return math.nan
        try:
            value = float(label)
        except ValueError:
            value = math.inf
        if not math.isfinite(value):
            raise MMFairseqError(f"label {label!r} of target {self.target.name!r} is not a finite number")
        return value

    def collate(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float)

    def present(self, target: Tensor) -> Tensor:
        return ~target.isnan()

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        kept = self.present(target)
        return F.l1_loss(logits[kept].float().squeeze(-1), target[kept], reduction="sum")

    def decode(self, logits: Tensor) -> list[dict[str, Any]]:
        return [{"prediction": value, "scores": {}} for value in logits.float().squeeze(-1).tolist()]

    def label(self, value: float) -> str | float | None:
        return None if math.isnan(value) else float(value)

    def counts(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        kept = self.present(target)
        return metrics.regression_counts(target[kept].double(), logits[kept].double().squeeze(-1))

    def metrics(self, counts: dict[str, Tensor]) -> dict[str, float]:
        return metrics.from_regression_counts({name: value.cpu().numpy() for name, value in counts.items()})


def kind_of(target: Target) -> Kind:
    """The kind of a target, ready to use."""
    return KINDS.get(target.kind)(target)


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
    except (ValueError, TypeError) as error:
        kinds = ", ".join(KINDS.names())
        raise MMFairseqError(
            f"{path}: expected a list of {{name, kind, classes, weight}} with kinds {kinds}: {error}"
        ) from error


def _target(name: str, kind: str, classes: Sequence[str], weight: float = 1.0) -> Target:
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in [name, kind, *classes]):
        raise TypeError(f"name and kind must be strings and classes a list of strings, not {classes!r}")
    return Target(name, kind, tuple(classes), float(weight))


def write_targets(path: str | os.PathLike, targets: Sequence[Target]) -> None:
    """Write `targets.json` atomically."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    content = json.dumps([asdict(target) for target in targets], ensure_ascii=False, indent=1) + "\n"
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)

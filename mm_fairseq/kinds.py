"""Kinds of targets: outputs, encoding, loss, decoding and metrics of each, one class a kind.

B batch, N utterances, K classes. A missing label is -100 (a class) or NaN (numbers) and enters neither loss nor
metrics.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from . import metrics
from .errors import MMFairseqError
from .losses import PLAIN, REGRESSION, LossOptions, sigmoid_loss, softmax_loss
from .registry import Registry

MISSING = -100
LOGGED_CLASSES = 20  # beyond, only `results.json` and the report have figures of every class
SEPARATOR = "|"  # between the labels of a set, and between votes

KINDS: Registry[type["Kind"]] = Registry("target kind")


class Kind:
    """What a target of this kind does with labels and logits.

    Labels go two ways: `encode` gives the true one, which metrics count; `goal` what the loss compares with, which is
    the same or, for `soft` targets with votes, the share of the votes that each class has.

    Args:
        target: what is predicted, a `targets.Target`.
        soft: learn from the votes of the annotators where a label has them.
    """

    min_classes = 2
    sets = False
    """Whether a label names any number of classes."""
    counted: tuple[str, ...] = ()
    """Metrics that `from_counts` gives."""

    def __init__(self, target: Any, soft: bool = False) -> None:
        self.target = target
        self.classes = target.classes
        self.soft = soft and bool(target.votes)
        if len(self.classes) < self.min_classes or len(set(self.classes) - {""}) != len(self.classes):
            raise MMFairseqError(
                f"target {target.name!r}: kind {target.kind!r} needs at least {self.min_classes} different classes "
                f"with names, has {list(self.classes)}"
            )
        if (self.sets or target.votes) and (wrong := [label for label in self.classes if SEPARATOR in label]):
            raise MMFairseqError(f"target {target.name!r}: class {wrong[0]!r} must not contain {SEPARATOR!r}")

    @property
    def outputs(self) -> int:
        """Width of the head."""
        return len(self.classes)

    # Labels

    def encode(self, text: str) -> Any:
        """The true label as a number: class number, (K,) floats or float; "" is a missing label.

        Raises:
            MMFairseqError: the label is not one of this target.
        """
        return self._class(text) if text else MISSING

    def goal(self, text: str, votes: str = "") -> Any:
        """What the loss compares with: as `encode`, or (K,) shares for a soft target; of no votes, the label has all.

        Raises:
            MMFairseqError: as `encode`, and for votes that are not `class=number|class=number`.
        """
        if not self.soft:
            return self.encode(text)
        if not votes:
            return self._hard_shares(text)
        numbers = self._votes(votes)
        return numbers / numbers.sum()

    def check(self, text: str, votes: str = "") -> None:
        """Check a label and its votes.

        Raises:
            MMFairseqError: as `encode` and `goal`.
        """
        self.encode(text)
        if votes:
            self._votes(votes)

    def collate(self, goals: Sequence[Any]) -> Tensor:
        """Goals as a tensor, shape (B,) or (B, K)."""
        if self.soft:
            return torch.from_numpy(np.stack(goals).astype(np.float32))
        return torch.tensor(goals, dtype=torch.long)

    def mix(self, goal: Tensor, partner: Tensor, share: Tensor) -> Tensor:
        """Goals of mixed utterances: `share * goal + (1 - share) * goal[partner]`, a class being all of itself.

        A label that is missing on either side is missing.

        Args:
            goal: as collated.
            partner: row numbers (B).
            share: (B).

        Returns:
            (B, K) shares of the classes, or (B,) numbers.
        """
        if not goal.is_floating_point():
            missing = goal == MISSING
            goal = self._shares(goal.masked_fill(missing, 0)).masked_fill(missing[:, None], math.nan)
        share = share.to(goal).view(-1, *[1] * (goal.dim() - 1))
        return share * goal + (1 - share) * goal[partner]

    def label(self, truth: Any) -> Any:
        """The opposite of `encode`, in plain Python types: None for a missing label."""
        return None if truth == MISSING else self.classes[int(truth)]

    def _class(self, label: str) -> int:
        if label not in self.classes:
            raise MMFairseqError(f"label {label!r} of target {self.target.name!r} is none of {', '.join(self.classes)}")
        return self.classes.index(label)

    def _hard_shares(self, text: str) -> np.ndarray:
        shares = np.zeros(len(self.classes))
        if text:
            shares[self._class(text)] = 1
        else:
            shares[:] = np.nan
        return shares

    def _votes(self, text: str) -> np.ndarray:
        """Number of votes for each class, shape (K,)."""
        numbers = np.zeros(len(self.classes))
        for part in text.split(SEPARATOR):
            label, sign, number = part.rpartition("=")
            try:
                value = float(number) if sign else math.nan
            except ValueError:
                value = math.nan
            if not 0 <= value < math.inf:
                raise MMFairseqError(
                    f"votes {text!r} of target {self.target.name!r}: expected class=number{SEPARATOR}class=number, "
                    f"found {part!r}"
                )
            numbers[self._class(label)] += value
        self._check_votes(text, numbers)
        return numbers

    def _check_votes(self, text: str, numbers: np.ndarray) -> None:
        if not numbers.any():
            raise MMFairseqError(f"votes {text!r} of target {self.target.name!r}: all are 0; leave the field empty")

    # Learning

    def present(self, goal: Tensor) -> Tensor:
        """Which rows have a label. Shape (B,), bool."""
        if not goal.is_floating_point():
            return goal != MISSING
        missing = goal.isnan()
        return ~(missing.any(1) if missing.dim() > 1 else missing)

    def loss(self, logits: Tensor, goal: Tensor, options: LossOptions = PLAIN) -> Tensor:
        """Sum of the losses of labelled rows. `logits` (B, outputs), `goal` as collated; a scalar, in nats."""
        raise AssertionError("a kind defines loss")

    def positives(self, truths: Sequence[Any]) -> tuple[np.ndarray, int]:
        """How many of the labelled items have each class, (K,), and how many items are labelled."""
        labelled = [truth for truth in truths if truth != MISSING]
        return np.bincount(np.array(labelled, np.int64), minlength=len(self.classes)), len(labelled)

    def balance(self, positives: np.ndarray, items: int) -> np.ndarray:
        """Class weights under which every class has the same total weight; 1 for a class that does not occur."""
        return _ratio(items, positives * len(self.classes))

    def log_prior(self, positives: np.ndarray, items: int) -> np.ndarray:
        """Log of each class's share; a class that does not occur counts as half an item."""
        return np.log(np.maximum(positives, 0.5) / max(items, 1))

    def counts(self, logits: Tensor, goal: Tensor) -> dict[str, Tensor]:
        """Float64 tensors, whose sums over batches and ranks give the metrics `counted` while training."""
        kept = self.present(goal)
        truth = self._shares(goal[kept]).argmax(-1)
        prediction = self.probabilities(logits[kept].float()).argmax(-1)
        size = len(self.classes)
        cells = torch.bincount(truth * size + prediction, minlength=size * size)
        return {"confusion": cells.view(size, size).double()}

    def from_counts(self, counts: Mapping[str, np.ndarray]) -> dict[str, float]:
        """The metrics `counted` of the summed counts."""
        return metrics.from_confusion(counts["confusion"])

    def _shares(self, goal: Tensor) -> Tensor:
        return goal if goal.is_floating_point() else F.one_hot(goal, len(self.classes)).float()

    # Answers

    def probabilities(self, logits: Tensor) -> Tensor:
        """What metrics and predictions are made of: shape (B, K), or (B,) for a number."""
        return logits.softmax(-1)

    def decode(self, scores: np.ndarray) -> dict[str, Any]:
        """`{"prediction", "scores"}` of one row of `probabilities`, in plain Python types."""
        return {
            "prediction": self.classes[int(scores.argmax())],
            "scores": dict(zip(self.classes, scores.tolist(), strict=True)),
        }

    def right(self, truth: np.ndarray, scores: np.ndarray) -> np.ndarray | None:
        """Which items are right: booleans (N,); None where the kind knows only more and less wrong."""
        return scores.argmax(-1) == truth

    def metrics(self, truth: np.ndarray, scores: np.ndarray) -> dict[str, float]:
        """All metrics over a split; `truth` (N, ...) of `encode`, `scores` (N, ...) of `probabilities`."""
        return metrics.compute(self.target.kind, self.classes, truth, scores)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of `metrics` for the log: those of single classes only where there are not too many of them."""
        return metrics.names(self.target.kind, self.classes if len(self.classes) <= LOGGED_CLASSES else ())


@KINDS.register("single")
class Single(Kind):
    """One of K classes: softmax and cross-entropy."""

    counted = ("wa", "ua", "wf1", "mf1")

    def loss(self, logits: Tensor, goal: Tensor, options: LossOptions = PLAIN) -> Tensor:
        kept = self.present(goal)
        return softmax_loss(logits[kept], self._shares(goal[kept]), options)


class _Decisions(Kind):
    """What kinds of K yes-no decisions share."""

    def loss(self, logits: Tensor, goal: Tensor, options: LossOptions = PLAIN) -> Tensor:
        kept = self.present(goal)
        return sigmoid_loss(self._yes(logits[kept].float()), self._shares(goal[kept]), options)

    def balance(self, positives: np.ndarray, items: int) -> np.ndarray:
        """Weights of yes under which yes and no of a class have the same total weight; 1 where one does not occur."""
        return np.where(positives < items, _ratio(items - positives, positives), 1.0)

    def log_prior(self, positives: np.ndarray, items: int) -> np.ndarray:
        """Log odds of yes; a side that does not occur counts as half an item."""
        return np.log(np.maximum(positives, 0.5) / np.maximum(items - positives, 0.5))

    def probabilities(self, logits: Tensor) -> Tensor:
        return self._yes(logits).sigmoid()

    def _yes(self, logits: Tensor) -> Tensor:
        """Log odds of yes, shape (B, K)."""
        return logits


@KINDS.register("binary_each")
class BinaryEach(_Decisions):
    """K two-way decisions, as the original IEMOCAP system has them: 2K outputs, read as (K, [no, yes]).

    Accuracy and weighted F1 are reported for each class; the prediction is the class of the highest probability of yes.
    """

    counted = ("wa", "ua", "wf1", "mf1")

    @property
    def outputs(self) -> int:
        return 2 * len(self.classes)

    def _yes(self, logits: Tensor) -> Tensor:
        """A softmax over two logits is the sigmoid of their difference."""
        no, yes = logits.unflatten(-1, (len(self.classes), 2)).unbind(-1)
        return yes - no


@KINDS.register("multilabel")
class Multilabel(_Decisions):
    """Any number of K classes at once: a sigmoid and binary cross-entropy each.

    A label is a set, `Speech|Music`; a lone `|` is the empty set. Votes are the share of the annotators who said yes.
    """

    min_classes = 1
    sets = True
    counted = ("wf1", "mf1")

    def encode(self, text: str) -> np.ndarray:
        row = np.full(len(self.classes), 0.0 if text else math.nan)
        row[[self._class(label) for label in text.split(SEPARATOR) if label]] = 1
        return row

    def goal(self, text: str, votes: str = "") -> np.ndarray:
        return self._votes(votes) if self.soft and votes else self.encode(text)

    def collate(self, goals: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(goals).astype(np.float32))

    def label(self, truth: np.ndarray) -> list[str] | None:
        return None if np.isnan(truth).any() else [self.classes[k] for k in np.flatnonzero(truth)]

    def positives(self, truths: Sequence[np.ndarray]) -> tuple[np.ndarray, int]:
        rows = np.array(truths).reshape(-1, len(self.classes))
        labelled = rows[~np.isnan(rows).any(1)]
        return labelled.sum(0).astype(np.int64), len(labelled)

    def counts(self, logits: Tensor, goal: Tensor) -> dict[str, Tensor]:
        kept = self.present(goal)
        cells = 2 * (goal[kept] > 0.5).long() + (self.probabilities(logits[kept].float()) > 0.5).long()
        return {"binary": F.one_hot(cells, 4).sum(0).view(-1, 2, 2).double()}

    def from_counts(self, counts: Mapping[str, np.ndarray]) -> dict[str, float]:
        return metrics.from_binary_counts(counts["binary"])

    def decode(self, scores: np.ndarray) -> dict[str, Any]:
        chosen = [self.classes[k] for k in np.flatnonzero(scores > 0.5)]
        return super().decode(scores) | {"prediction": chosen}

    def right(self, truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return ((scores > 0.5) == (truth > 0.5)).all(-1)

    def _check_votes(self, text: str, numbers: np.ndarray) -> None:
        if numbers.max() > 1:
            raise MMFairseqError(
                f"votes {text!r} of target {self.target.name!r}: for a set of labels they are shares between 0 and 1"
            )


@KINDS.register("regression")
class Regression(Kind):
    """A number, learnt with the L1 or the squared loss; its metrics, and where it may be one those of sentiment."""

    min_classes = 0
    counted = ("mae",)

    def __init__(self, target: Any, soft: bool = False) -> None:
        super().__init__(target, soft)
        if target.classes or target.votes:
            raise MMFairseqError(f"target {target.name!r}: kind 'regression' has neither classes nor votes")

    @property
    def outputs(self) -> int:
        return 1

    def encode(self, text: str) -> float:
        if not text:
            return math.nan
        try:
            value = float(text)
        except ValueError:
            value = math.inf
        if not math.isfinite(value):
            raise MMFairseqError(f"label {text!r} of target {self.target.name!r} is not a finite number")
        return value

    def collate(self, goals: Sequence[float]) -> Tensor:
        return torch.tensor(goals, dtype=torch.float)

    def loss(self, logits: Tensor, goal: Tensor, options: LossOptions = PLAIN) -> Tensor:
        kept = self.present(goal)
        numbers = logits[kept].float().squeeze(-1)
        return REGRESSION[options.regression](numbers, goal[kept].float(), reduction="sum")

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.squeeze(-1)

    def decode(self, scores: np.ndarray) -> dict[str, Any]:
        return {"prediction": float(scores), "scores": {}}

    def label(self, truth: float) -> float | None:
        return None if math.isnan(truth) else float(truth)

    def right(self, truth: np.ndarray, scores: np.ndarray) -> None:
        return None

    def counts(self, logits: Tensor, goal: Tensor) -> dict[str, Tensor]:
        kept = self.present(goal)
        error = (logits[kept].double().squeeze(-1) - goal[kept].double()).abs().sum()
        return {"error": error, "items": kept.double().sum()}

    def from_counts(self, counts: Mapping[str, np.ndarray]) -> dict[str, float]:
        return {"mae": float(counts["error"] / counts["items"]) if counts["items"] else math.nan}


def _ratio(top: Any, bottom: np.ndarray) -> np.ndarray:
    """`top / bottom`, 1 where the bottom is 0."""
    top, bottom = np.broadcast_arrays(np.asarray(top, float), np.asarray(bottom, float))
    return np.divide(top, bottom, out=np.ones_like(bottom), where=bottom > 0)

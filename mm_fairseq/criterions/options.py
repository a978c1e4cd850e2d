"""Options of the loss, and what their texts mean for the targets of a data-bin."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import FairseqDataclass

from ..errors import MMFairseqError
from ..losses import REGRESSION
from ..targets import Kind


@dataclass
class EmotionPredictionCriterionConfig(FairseqDataclass):
    """Options of the loss; `sum over targets of weight * loss`, with plain cross-entropy and L1 as given here."""

    label_smoothing: float = field(
        default=0.0, metadata={"help": "share of the truth that is spread evenly over the classes, or over yes and no"}
    )
    class_weights: str = field(
        default="",
        metadata={
            "help": "[TARGET:]balanced (by the counts in train), [TARGET:]W,W,... in the order of the classes, or "
            "[TARGET:]CLASS=W,...; several targets are separated by ;"
        },
    )
    focal_gamma: float = field(default=0.0, metadata={"help": "focal loss with this gamma; 0: none"})
    logit_adjustment: float = field(
        default=0.0, metadata={"help": "tau: add tau times the log prior in train to the logits of the loss; 0: none"}
    )
    regression_loss: str = field(default="l1", metadata={"help": f"loss of numbers: {' or '.join(REGRESSION)}"})
    target_weights: str = field(
        default="", metadata={"help": "TARGET=W,...: factors of the targets' losses; default: those of the data-bin"}
    )


def check(config: EmotionPredictionCriterionConfig, kinds: Mapping[str, Kind]) -> None:
    """Check the options that are numbers or names.

    Raises:
        MMFairseqError: a value that is not allowed, or an option that no target has a use for.
    """
    if not 0 <= config.label_smoothing < 1:
        raise MMFairseqError(f"--label-smoothing {config.label_smoothing}: a share, at least 0 and below 1")
    for option in ("focal_gamma", "logit_adjustment"):
        if not 0 <= getattr(config, option) < float("inf"):
            raise MMFairseqError(f"--{option.replace('_', '-')} {getattr(config, option)}: a number of 0 or more")
    if config.regression_loss not in REGRESSION:
        raise MMFairseqError(f"--regression-loss {config.regression_loss!r}; allowed: {', '.join(REGRESSION)}")
    if config.regression_loss != "l1" and all(kind.classes for kind in kinds.values()):
        raise MMFairseqError(f"--regression-loss is for targets that are numbers; {_list(kinds)} is of classes")
    for_classes = ("label_smoothing", "class_weights", "focal_gamma", "logit_adjustment")
    unused = [option for option in for_classes if getattr(config, option)]
    if unused and not any(kind.classes for kind in kinds.values()):
        raise MMFairseqError(f"--{unused[0].replace('_', '-')} is for targets of classes; {_list(kinds)} is a number")


def parse_class_weights(text: str, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """`--class-weights` as {target: "balanced" or the list of its K weights}.

    Raises:
        MMFairseqError: an unknown target or class, a wrong number of weights, a weight that is no number above 0.
    """
    having = {name: kind for name, kind in kinds.items() if kind.classes}
    out: dict[str, Any] = {}
    for part in filter(str.strip, text.split(";")):
        name, colon, value = part.strip().partition(":")
        names, value = ([name], value) if colon else (list(having), part.strip())
        if not set(names) <= set(having):
            raise MMFairseqError(f"--class-weights {part!r}: no target {name!r} of classes; there is {_list(having)}")
        if value != "balanced" and len(names) > 1:
            raise MMFairseqError(f"--class-weights {part!r}: name the target, TARGET:W,W,...; there is {_list(having)}")
        for target in names:
            if target in out:
                raise MMFairseqError(f"--class-weights: the weights of {target!r} are given twice")
            out[target] = value if value == "balanced" else _weights(value, having[target])
    return out


def _weights(text: str, kind: Kind) -> list[float]:
    parts = [part.strip() for part in text.split(",")]
    where = f"--class-weights {text!r}: target {kind.target.name!r}"
    if all("=" in part for part in parts):
        named = dict(part.rsplit("=", 1) for part in parts)
        if len(named) < len(parts):
            raise MMFairseqError(f"{where}: the weight of a class is given twice")
        if unknown := set(named) - set(kind.classes):
            raise MMFairseqError(f"{where} has no class {sorted(unknown)[0]!r}; it has {', '.join(kind.classes)}")
        parts = [named.get(label, "1") for label in kind.classes]
    if len(parts) != len(kind.classes):
        raise MMFairseqError(
            f"{where} has {len(kind.classes)} classes ({', '.join(kind.classes)}), not {len(parts)}; "
            "allowed: balanced, one weight a class, or CLASS=W,..."
        )
    return [_number(part, where) for part in parts]


def parse_target_weights(text: str, kinds: Mapping[str, Kind]) -> dict[str, float]:
    """`--target-weights` as {target: weight}.

    Raises:
        MMFairseqError: an unknown target, a weight that is no number above 0.
    """
    out = {}
    for part in filter(str.strip, text.split(",")):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in kinds:
            raise MMFairseqError(f"--target-weights {part!r}: no target {name!r}; there is {_list(kinds)}")
        if name in out:
            raise MMFairseqError(f"--target-weights: the weight of {name!r} is given twice")
        out[name] = _number(value, f"--target-weights {part!r}")
    return out


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise MMFairseqError(f"{where}: {text!r} is not a number above 0")
    return value


def _list(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "none"

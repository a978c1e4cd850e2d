"""What the options choose out of a data-bin: targets and modalities."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..databin import DataBin, Labels, Numbers
from ..errors import MMFairseqError
from ..targets import Kind, Target, kind_of
from ._config import EmotionPredictionConfig

_CHUNK = 1 << 16


def targets(cfg: EmotionPredictionConfig, there: Sequence[Target], place: str) -> list[Target]:
    """The targets of a training.

    Args:
        cfg: options.
        there: the targets of the data-bin.
        place: its name, for messages.

    Raises:
        MMFairseqError: options contradict each other or the data-bin.
    """
    chosen, shares = list(there), heads(cfg.heads)
    if cfg.targets and shares and set(_names(cfg.targets)) != set(shares):
        raise MMFairseqError(f"--heads {cfg.heads} contradicts --targets {cfg.targets}; one of them is enough")
    for option, wanted in (("--targets", _names(cfg.targets) if cfg.targets else []), ("--heads", list(shares))):
        names = [target.name for target in there]
        if unknown := [name for name in wanted if name not in names]:
            raise MMFairseqError(f"{option} {unknown[0]!r} is not in {place}; it has {', '.join(names)}")
        chosen = [target for target in chosen if not wanted or target.name in wanted]
    chosen = [replace(target, weight=shares.get(target.name, target.weight)) for target in chosen]
    chosen = _of_kind(cfg, chosen)
    if cfg.soft_labels and not any(target.votes for target in chosen):
        raise MMFairseqError(f"--soft-labels: {place} has no votes of annotators for {chosen[0].name!r}")
    outputs = {target.name: kind_of(target).outputs for target in chosen}
    if cfg.num_classes and set(outputs.values()) != {cfg.num_classes}:
        raise MMFairseqError(f"--num-classes {cfg.num_classes}, but the data-bin's targets have outputs {outputs}")
    return chosen


def check_answers(kinds: Mapping[str, Kind], targets: Sequence[Target], place: str) -> None:
    """See that a data-bin has at least one of the targets that a trained model answers.

    Raises:
        MMFairseqError: it has others only.
    """
    there = [target.name for target in targets]
    if there and not set(there) & set(kinds):
        raise MMFairseqError(f"{place}: its targets are {', '.join(there)}, the model answers {', '.join(kinds)}")


def check_tokens(
    data_bin: DataBin, meta: Mapping[str, Any], symbols: Sequence[str], read: Callable[[], Sequence[str]]
) -> None:
    """See that a data-bin numbers its symbols as that of the training did, dict.txt being gone or not.

    Args:
        data_bin: what is read.
        meta: that of the training's data-bin.
        symbols: of the training, in the order of their ids.
        read: the symbols of dict.txt.

    Raises:
        MMFairseqError: it does not.
    """
    kept = (data_bin.path / "dict.txt").is_file()
    if data_bin.meta.get("tokenizer") != meta.get("tokenizer") or (kept and read() != symbols):
        raise MMFairseqError(
            f"{data_bin}: its texts are in other symbols than those that the model was trained on; binarize with the "
            "same tokenizer"
        )


def check_targets(cfg: EmotionPredictionConfig, there: Sequence[Target]) -> None:
    """Check that --targets and --heads say what the checkpoint predicts.

    Raises:
        MMFairseqError: they do not.
    """
    names = [target.name for target in there]
    for option, text, wanted in (
        ("--targets", cfg.targets, _names(cfg.targets)),
        ("--heads", cfg.heads, list(heads(cfg.heads))),
    ):
        if text and set(wanted) != set(names):
            raise MMFairseqError(f"{option} {text}: the checkpoint predicts {', '.join(names)}")


def positives(kind: Kind, labels: Labels, rows: Numbers) -> tuple[np.ndarray, int]:
    """How many of the labelled utterances have each class, (K,), and how many are labelled.

    Args:
        kind: of the target.
        labels: of the data-bin.
        rows: numbers of the utterances. Shape (N).
    """
    counts, items = np.zeros(len(kind.classes), np.int64), 0
    for start in range(0, len(rows), _CHUNK):
        some, labelled = kind.positives(list(labels.truths(rows[start : start + _CHUNK])))
        counts, items = counts + some, items + labelled
    return counts, items


def heads(text: str) -> dict[str, float]:
    """`--heads` as {target: its share of the loss}, the shares adding up to 1; empty where the option is not given.

    Raises:
        MMFairseqError: a target without a name or given twice, a weight that is no number above 0, or weights for some.
    """
    if not text:
        return {}
    weights: dict[str, float] = {}
    for part in _names(text):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            weight = math.nan
        if not (name and 0 < weight < math.inf):
            raise MMFairseqError(f"--heads {part!r}: expected TARGET or TARGET=W, W a number above 0")
        if name in weights:
            raise MMFairseqError(f"--heads {text}: {name!r} is given twice")
        weights[name] = weight
    if text.count("=") not in (0, len(weights)):
        raise MMFairseqError(f"--heads {text}: weigh all targets, or none of them")
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def check_weights(cfg: EmotionPredictionConfig, target_weights: str) -> None:
    """Check that the losses are weighed in one place.

    Raises:
        MMFairseqError: --heads and the criterion's --target-weights are both given.
    """
    if cfg.heads and target_weights:
        raise MMFairseqError(
            f"--heads {cfg.heads} and --target-weights {target_weights} both weigh the targets: write the weights into "
            "--heads, as TARGET=W"
        )


def _of_kind(cfg: EmotionPredictionConfig, there: Sequence[Target]) -> list[Target]:
    """All targets as the kind that one of the original's flags names."""
    flags = {
        "binary_each": cfg.binary_target_iemocap,
        "single": cfg.softmax_target_meld,
        "regression": cfg.regression_target_mos,
    }
    kinds = [kind for kind, given in flags.items() if given]
    if len(kinds) > 1:
        raise MMFairseqError(
            "--binary-target-iemocap, --softmax-target-meld and --regression-target-mos exclude each other"
        )
    if not kinds:
        return list(there)
    if kinds == ["regression"]:
        return [replace(target, classes=(), votes="", kind="regression") for target in there]
    return [replace(target, kind=kinds[0]) for target in there]


def modalities(cfg: EmotionPredictionConfig, there: list[str], place: str) -> list[str]:
    """The modalities of a training; all of the data-bin's where nothing is chosen.

    Raises:
        MMFairseqError: options contradict each other or the data-bin.
    """
    named, flagged = _wished(cfg)
    if named and flagged and named != flagged:
        raise MMFairseqError(f"--modalities {cfg.modalities} contradicts the flags for {', '.join(sorted(flagged))}")
    return _known(named or flagged, there, place)


def given_modalities(cfg: EmotionPredictionConfig, there: list[str]) -> list[str]:
    """The modalities that a trained model gets to see: fewer than it knows where `fairseq-validate` says so.

    The options of the training stand beside those of `fairseq-validate`: what both of them name is meant.

    Raises:
        MMFairseqError: the checkpoint does not know one, or nothing is left.
    """
    named, flagged = (_known(wish, there, "the checkpoint") for wish in _wished(cfg))
    if not set(named) & set(flagged):
        raise MMFairseqError(
            f"--modalities {cfg.modalities} contradicts the flags for {', '.join(flagged)}: "
            "nothing is left to give to the model"
        )
    return sorted(set(named) & set(flagged))


def _wished(cfg: EmotionPredictionConfig) -> tuple[set[str], set[str]]:
    """What --modalities names, and what the original's flags name."""
    flags = {"audio": cfg.a_only, "text": cfg.t_only, "video": cfg.v_only}
    named = set(_names(cfg.modalities)) if cfg.modalities else set()
    return named, {name for name, given in flags.items() if given or cfg.all_in}


def _known(wished: set[str], there: list[str], place: str) -> list[str]:
    for name in sorted(wished):
        if name not in there:
            raise MMFairseqError(f"modality {name!r} is not in {place}; it has {', '.join(there)}")
    return sorted(wished) or there


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]

"""Checks of options that architectures share; each error names the option, its value and what is allowed."""

from collections.abc import Collection
from typing import Any

from ..errors import MMFairseqError


def flag(option: str) -> str:
    """As users type it."""
    return "--" + option.replace("_", "-")


def check_least(cfg: Any, least: int, *options: str) -> None:
    """See that the values of options are at least so large."""
    for option in options:
        if getattr(cfg, option) < least:
            allowed = f"at least {least}" if least else "must not be negative"
            raise MMFairseqError(f"{flag(option)} {getattr(cfg, option)}: {allowed}")


def check_probabilities(cfg: Any, *options: str) -> None:
    """See that something can be dropped with each of these probabilities."""
    for option in options:
        if not 0 <= getattr(cfg, option) < 1:
            raise MMFairseqError(f"{flag(option)} {getattr(cfg, option)}: a probability, at least 0 and below 1")


def check_choice(cfg: Any, option: str, choices: Collection[str]) -> None:
    """See that the value of an option is one of these."""
    if getattr(cfg, option) not in choices:
        raise MMFairseqError(f"{flag(option)} {getattr(cfg, option)!r}; allowed: {', '.join(choices)}")


def check_unused(cfg: Any, usual: type, options: Collection[str], reason: str) -> None:
    """See that options that do nothing here have their usual values, those of the class `usual`."""
    for option in options:
        if (value := getattr(cfg, option)) != getattr(usual, option):
            raise MMFairseqError(f"{flag(option)} {value} has no effect: {reason}")


def check_modalities(cfg: Any, architecture: str, modalities: Collection[str]) -> None:
    """See that a training has no modality but these."""
    if strange := sorted(set(cfg.backbone_args or ()) - set(modalities)):
        raise MMFairseqError(
            f"{architecture} reads {' and '.join(modalities)}, not {strange[0]}: --modalities {','.join(modalities)}"
        )

"""A split made harder: how much of a result holds in noise, on recognised text, or without a modality."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import MMFairseqError
from ..manifest import MODALITIES, TEXT_ASR
from ..targets import Kind
from .augment import audio, generator
from .raw_items import Limits

ALLOWED = f"noise=DECIBELS, text={TEXT_ASR}, without=MODALITY[+MODALITY]"
_SEED = 0


@dataclass(frozen=True)
class Stress:
    """What is done to a split.

    Args:
        name: as it was written; "" for nothing.
        snr: of white noise in dB, drawn from the utterance's id; None for none.
        text: the stream that texts are read from.
        without: modalities that are withheld.
    """

    name: str = ""
    snr: float | None = None
    text: str = "text"
    without: tuple[str, ...] = ()

    @classmethod
    def parse(cls, name: str) -> "Stress":
        """One of --stress.

        Raises:
            MMFairseqError: it is none of ALLOWED.
        """
        kind, _, value = name.partition("=")
        if kind == "noise":
            try:
                snr = float(value)
            except ValueError:
                snr = math.nan
            if math.isfinite(snr):
                return cls(name, snr=snr)
        if kind == "text" and value == TEXT_ASR:
            return cls(name, text=value)
        if kind == "without" and value and set(value.split("+")) <= set(MODALITIES):
            return cls(name, without=tuple(sorted(set(value.split("+")))))
        raise MMFairseqError(f"--stress {name!r}; allowed: {ALLOWED}, with modalities {', '.join(MODALITIES)}")

    @property
    def raw(self) -> tuple[str, ...]:
        """Modalities whose raw stream it changes, so that cached features do not serve."""
        return ("audio",) * (self.snr is not None) + ("text",) * (self.text != "text")

    def item(self, modality: str, x: np.ndarray, utterance: str, epoch: int, limits: Limits) -> np.ndarray:
        """An input as a backbone takes it, under stress: the same in every epoch."""
        if modality != "audio" or self.snr is None:
            return x
        noise = audio.white(len(x), generator(utterance, _SEED))
        return audio.within_full_scale(audio.add_noise(x, noise, self.snr))

    def batch(
        self, sample: dict[str, Any], utterances: Sequence[str], epoch: int, kinds: Mapping[str, Kind]
    ) -> dict[str, Any]:
        """A collated batch, as it is."""
        return sample


def stressed(split: str) -> tuple[str, Stress]:
    """`SPLIT@STRESS` as the split's name and what is done to it.

    Raises:
        MMFairseqError: the stress is not known.
    """
    name, at, stress = split.partition("@")
    return name, Stress.parse(stress) if at else Stress()


def parse_stresses(text: str) -> list[Stress]:
    """A comma list of --stress.

    Raises:
        MMFairseqError: one is not known.
    """
    return [Stress.parse(part.strip()) for part in text.split(",") if part.strip()]

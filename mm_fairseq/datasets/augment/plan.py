"""What a training does to its utterances, drawn from the seed, the epoch and the utterance's id alone."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...targets import Kind
from ..raw_items import Limits
from . import audio, batch, text, video


def generator(utterance: str, *numbers: int) -> np.random.Generator:
    """Random numbers that an utterance's id and further numbers of 0 or more decide."""
    digest = hashlib.blake2b(utterance.encode(), digest_size=8).digest()
    return np.random.default_rng([int.from_bytes(digest), *numbers])


@dataclass(frozen=True)
class Augmentation:
    """Changes to the utterances of train; as given here, none.

    Args:
        seed: of the run.
        probability: with which gain, noise, room and masks are each done to an utterance.
        speeds: factors, of which one is drawn.
        gain: dB, at most so much louder or softer.
        room: shortest and longest reverberation time in seconds.
        snr: lowest and highest signal-to-noise ratio in dB.
        noise: what is added at that ratio.
        time_masks, time_width, channel_masks, channel_width: of `batch.masks`.
        spectral: modalities whose features are spectra, which the masks act on.
        frame_drop: probability of each picture to be left out.
        flip: probability of an utterance's pictures to be flipped.
        word_drop: probability of each token to be left out.
        mixup: alpha, of the Beta distribution that shares are drawn from (Zhang et al. 2018, arXiv 1710.09412).
    """

    seed: int = 1
    probability: float = 1.0
    speeds: tuple[float, ...] = ()
    gain: float = 0.0
    room: tuple[float, float] | None = None
    snr: tuple[float, float] | None = None
    noise: audio.Noise = audio.white
    time_masks: int = 0
    time_width: float = 0.0
    channel_masks: int = 0
    channel_width: float = 0.0
    spectral: tuple[str, ...] = ()
    frame_drop: float = 0.0
    flip: float = 0.0
    word_drop: float = 0.0
    mixup: float = 0.0

    def item(self, modality: str, x: np.ndarray, utterance: str, epoch: int, limits: Limits) -> np.ndarray:
        """An input as a backbone takes it, changed; within the limits, as it was before."""
        rng = generator(utterance, self.seed, epoch, ("audio", "text", "video").index(modality))
        if modality == "audio":
            return self._audio(x, rng, limits)
        if modality == "text":
            return text.drop_words(x, self.word_drop, limits.shortest, rng) if self.word_drop else x
        if self.flip and rng.random() < self.flip:
            x = video.flip(x)
        return video.drop_frames(x, self.frame_drop, limits.shortest, rng) if self.frame_drop else x

    def _audio(self, x: np.ndarray, rng: np.random.Generator, limits: Limits) -> np.ndarray:
        if self.speeds:
            faster = audio.change_speed(x, self.speeds[rng.integers(len(self.speeds))])
            x = x if len(faster) < limits.shortest else faster[: limits.longest]
        if self.room and self._done(rng):
            x = audio.reverberate(x, rng.uniform(*self.room), rng)
        if self.gain and self._done(rng):
            x = audio.change_level(x, rng.uniform(-self.gain, self.gain))
        if self.snr and self._done(rng):
            snr = rng.uniform(*self.snr)
            x = audio.add_noise(x, self.noise(len(x), rng), snr)
        return audio.within_full_scale(x)

    def _done(self, rng: np.random.Generator) -> bool:
        return bool(rng.random() < self.probability)

    def batch(
        self, sample: dict[str, Any], utterances: Sequence[str], epoch: int, kinds: Mapping[str, Kind]
    ) -> dict[str, Any]:
        """A collated batch with `net_input["augment"]`, see `FusionModel.forward`, and mixed targets."""
        told: dict[str, Any] = {}
        if self.time_masks or self.channel_masks:
            rngs = [generator(utterance, self.seed, epoch, 3) for utterance in utterances]
            told["erase"] = {name: torch.tensor([self._masks(rng) for rng in rngs]) for name in self.spectral}
        target = sample["target"]
        if self.mixup:
            rngs = [generator(utterance, self.seed, epoch, 4) for utterance in utterances]
            partner = torch.from_numpy(batch.partners([rng.random() for rng in rngs]))
            share = torch.tensor([rng.beta(self.mixup, self.mixup) for rng in rngs], dtype=torch.float)
            told |= {"partner": partner, "share": share}
            target = {name: kinds[name].mix(goal, partner, share) for name, goal in target.items()}
        net_input = sample["net_input"] | ({"augment": told} if told else {})
        return sample | {"net_input": net_input, "target": target}

    def _masks(self, rng: np.random.Generator) -> list[list[float]]:
        found = batch.masks(self.time_masks, self.time_width, self.channel_masks, self.channel_width, rng)
        return found if self._done(rng) else [[0.0] * 4 for _ in found]

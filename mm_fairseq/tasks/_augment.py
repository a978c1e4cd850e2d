"""Options of augmentation, and of stress in `fairseq-validate`."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairseq.dataclass import FairseqDataclass

from ..datasets import Augmentation
from ..datasets.augment import audio
from ..errors import MMFairseqError

COLOURS = {"white": audio.white, "pink": audio.pink}


@dataclass
class AugmentOptions(FairseqDataclass):
    """What is done to the utterances of train, drawn anew in each epoch from the seed and the utterance's id alone."""

    augment_probability: float = field(
        default=1.0,
        metadata={"help": "probability with which gain, noise, room response and masks are each done to an utterance"},
    )
    speed_factors: str = field(
        default="", metadata={"help": "audio: play at one of these speeds, as 0.9,1.0,1.1; pitch and length change"}
    )
    gain_db: float = field(default=0.0, metadata={"help": "audio: at most so many dB louder or softer"})
    noise_snr: str = field(
        default="",
        metadata={"help": "audio: add noise at a signal-to-noise ratio in dB, one number or a range, as 5,20"},
    )
    noise_colour: str = field(default="", metadata={"help": "of that noise: white (the default) or pink"})
    noise_folder: str = field(
        default="", metadata={"help": "folder of recordings (.wav, .flac, .ogg) to take that noise from"}
    )
    room_rt60: str = field(
        default="",
        metadata={"help": "audio: room response with a reverberation time in seconds, one number or a range: 0.2,0.6"},
    )
    time_masks: int = field(
        default=0, metadata={"help": "mfcc, logmel: SpecAugment, so many stretches of time set to the mean"}
    )
    time_mask_width: float = field(default=0.0, metadata={"help": "widest of them, as a share of the frames"})
    channel_masks: int = field(
        default=0, metadata={"help": "mfcc, logmel: SpecAugment, so many bands of channels set to the mean"}
    )
    channel_mask_width: float = field(default=0.0, metadata={"help": "widest of them, as a share of the channels"})
    frame_drop: float = field(
        default=0.0, metadata={"help": "video: leave each frame out with this probability; one always stays"}
    )
    flip_probability: float = field(
        default=0.0, metadata={"help": "video: exchange left and right in all frames of an utterance"}
    )
    word_drop: float = field(
        default=0.0, metadata={"help": "text: leave each token out with this probability; one always stays"}
    )
    mixup_alpha: float = field(
        default=0.0,
        metadata={
            "help": "mix the fused vectors and the labels of pairs of utterances with shares of Beta(alpha, alpha); "
            "the metrics of train then count the larger share; 0: none"
        },
    )
    stress: str = field(
        default="",
        metadata={
            "help": "fairseq-validate: score each split again under each of a comma list: noise=DECIBELS (white noise "
            "at this signal-to-noise ratio), text=text_asr, without=MODALITY[+MODALITY]"
        },
    )


OPTIONS = tuple(name for name in AugmentOptions.__annotations__ if name != "stress")
MASKS = ("time_masks", "channel_masks")


def flag(option: str) -> str:
    """As users write it."""
    return f"--{option.replace('_', '-')}"


def given(cfg: Any, options: Collection[str] = OPTIONS) -> list[str]:
    """Which of them are not as if they had not been given."""
    return [name for name in OPTIONS if name in options and cfg[name] != getattr(AugmentOptions, name)]


def parse(cfg: Any, seed: int) -> Augmentation | None:
    """What the options say; None where they say nothing.

    Raises:
        MMFairseqError: a value is out of range, or an option has nothing to act on.
    """
    if not given(cfg):
        return None
    _check_numbers(cfg)
    for option, other in (
        *(("noise_colour", "noise_snr"), ("noise_folder", "noise_snr")),
        *(("time_mask_width", "time_masks"), ("channel_mask_width", "channel_masks")),
    ):
        if cfg[option] and not cfg[other]:
            raise MMFairseqError(f"{flag(option)} {cfg[option]}: has no effect without {flag(other)}")
    for option, other in (("time_masks", "time_mask_width"), ("channel_masks", "channel_mask_width")):
        if cfg[option] and not cfg[other]:
            raise MMFairseqError(f"{flag(option)} {cfg[option]}: needs {flag(other)}")
    if not given(cfg, ("gain_db", "noise_snr", "room_rt60", *MASKS)) and cfg.augment_probability != 1:
        raise MMFairseqError(
            f"--augment-probability {cfg.augment_probability}: has no effect without --gain-db, --noise-snr, "
            "--room-rt60, --time-masks or --channel-masks"
        )
    if cfg.noise_colour and cfg.noise_folder:
        raise MMFairseqError(f"--noise-colour {cfg.noise_colour}: that of the recordings in --noise-folder is theirs")
    if (cfg.noise_colour or "white") not in COLOURS:
        raise MMFairseqError(f"--noise-colour {cfg.noise_colour!r}; allowed: {', '.join(COLOURS)}")
    return Augmentation(
        seed=seed,
        probability=cfg.augment_probability,
        speeds=_numbers(cfg, "speed_factors", 0.5, 2.0),
        gain=cfg.gain_db,
        room=_range(cfg, "room_rt60", 0.01, 5.0),
        snr=_range(cfg, "noise_snr", -30.0, 60.0),
        noise=_noise(cfg),
        time_masks=cfg.time_masks,
        time_width=cfg.time_mask_width,
        channel_masks=cfg.channel_masks,
        channel_width=cfg.channel_mask_width,
        spectral=("audio",),
        frame_drop=cfg.frame_drop,
        flip=cfg.flip_probability,
        word_drop=cfg.word_drop,
        mixup=cfg.mixup_alpha,
    )


def _check_numbers(cfg: Any) -> None:
    for names, low, high, words in (
        (("augment_probability",), 1e-9, 1, "a probability, above 0 and up to 1"),
        (("flip_probability", "time_mask_width", "channel_mask_width"), 0, 1, "from 0 to 1"),
        (("frame_drop", "word_drop"), 0, 0.999, "a probability, at least 0 and below 1"),
        (("gain_db",), 0, 60, "dB, from 0 to 60"),
        (("mixup_alpha",), 0, 100, "from 0 to 100"),
        (MASKS, 0, 100, "from 0 to 100"),
    ):
        for name in names:
            if not low <= cfg[name] <= high:
                raise MMFairseqError(f"{flag(name)} {cfg[name]}: {words}")


def _numbers(cfg: Any, option: str, low: float, high: float) -> tuple[float, ...]:
    found = []
    for part in filter(None, str(cfg[option]).split(",")):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise MMFairseqError(f"{flag(option)} {cfg[option]}: {part!r} is not a number from {low:g} to {high:g}")
        found.append(value)
    return tuple(found)


def _range(cfg: Any, option: str, low: float, high: float) -> tuple[float, float] | None:
    found = _numbers(cfg, option, low, high)
    if len(found) > 2 or sorted(found) != list(found):
        raise MMFairseqError(f"{flag(option)} {cfg[option]}: one number, or the lower and the higher end of a range")
    return (found[0], found[-1]) if found else None


def _noise(cfg: Any) -> audio.Noise:
    if not cfg.noise_folder:
        return COLOURS[cfg.noise_colour or "white"]
    folder = Path(cfg.noise_folder)
    if not folder.is_dir():
        raise MMFairseqError(f"--noise-folder {folder}: no such folder")
    return audio.NoiseFolder(folder)

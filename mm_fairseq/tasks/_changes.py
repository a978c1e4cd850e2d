"""What augmentation and stress need of data and model."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .. import backbones
from ..databin import DataBin
from ..datasets import Stress, parse_stresses
from ..errors import MMFairseqError
from ..manifest import TEXT_ASR
from ._augment import MASKS, OPTIONS, flag, given

NEEDS = {  # option -> the modality whose raw data it changes
    **dict.fromkeys(("speed_factors", "gain_db", "noise_snr", "room_rt60"), "audio"),
    **dict.fromkeys(("frame_drop", "flip_probability"), "video"),
    "word_drop": "text",
}


def refuse(cfg: Any, overridden: Collection[str]) -> None:
    """Options of training that `fairseq-validate` was given: they would do nothing there.

    Raises:
        MMFairseqError: there is one.
    """
    if wrong := [name for name in OPTIONS if name in overridden]:
        raise MMFairseqError(
            f"{flag(wrong[0])} is for training; fairseq-validate takes --stress noise=DECIBELS, text={TEXT_ASR}, "
            "without=MODALITY"
        )
    parse_stresses(cfg.get("stress") or "")


def check_training(cfg: Any, train: str, valid: Collection[str]) -> None:
    """See that a training is not put under stress, and that what it validates on is not augmented.

    Raises:
        MMFairseqError: it is, or the other way round.
    """
    if cfg.stress or "@" in train:
        name = cfg.stress or train.partition("@")[2]
        raise MMFairseqError(f"--stress {name}: for fairseq-validate; to train with noise give --noise-snr")
    if train in valid and (options := given(cfg)):
        raise MMFairseqError(f"--valid-subset {train}: {flag(options[0])} would change it; validate on another split")


def raw_modalities(
    cfg: Any, modalities: Sequence[str], entries: Mapping[str, Mapping[str, Any]], data_bin: DataBin
) -> dict[str, str]:
    """Modality to the option that changes its raw data, so that cached features do not serve.

    Raises:
        MMFairseqError: an option has nothing to act on.
    """
    found: dict[str, str] = {}
    for option in given(cfg, (*NEEDS, *MASKS)):
        modality = NEEDS.get(option, "audio")
        if modality not in modalities:
            raise MMFairseqError(f"{flag(option)}: this training has no {modality}, only {', '.join(modalities)}")
        name = entries[modality]["name"]
        if option in MASKS:
            if not backbones.BACKBONES.get(name).spectral:
                raise MMFairseqError(
                    f"{flag(option)} masks spectra: for the audio backbones mfcc and logmel, not {name}"
                )
            continue
        found.setdefault(modality, flag(option))
        check_raw(flag(option), modality, entries[modality], str(cfg.backbone_source), data_bin)
    return found


def check_raw(what: str, modality: str, entry: Mapping[str, Any], source: str, data_bin: DataBin) -> None:
    """See that a modality can be read raw.

    Args:
        what: needs that, as users write it.
        modality: of which.
        entry: what its backbone is built from.
        source: --backbone-source.
        data_bin: the data.

    Raises:
        MMFairseqError: it cannot, or is not to be.
    """
    if data_bin.dim(modality):
        raise MMFairseqError(f"{what} changes raw {modality}: that of {data_bin} is features that came with the corpus")
    if entry.get("omitted"):
        raise MMFairseqError(
            f"{what} changes raw {modality}, which cached features do not show, and the model has no "
            f"{entry['name']!r} to encode it (--omit-frozen-backbones)"
        )
    if source == "cached":
        raise MMFairseqError(
            f"{what} changes raw {modality}, which cached features do not show: give --backbone-source raw, or auto to "
            "encode only what must be"
        )


def check_stress(
    stress: Stress,
    given: Sequence[str],
    entries: Mapping[str, Mapping[str, Any]],
    source: str,
    data_bin: DataBin,
) -> None:
    """See that a stress, if it is one, can be done.

    Args:
        stress: which.
        given: modalities that the model gets to see.
        entries: what its backbones are built from.
        source: --backbone-source.
        data_bin: the data.

    Raises:
        MMFairseqError: the model does not see what it acts on, nothing is left, or the data-bin lacks it.
    """
    if not stress.name:
        return
    what = f"--stress {stress.name}"
    for modality in (*stress.raw, *stress.without):
        if modality not in given:
            raise MMFairseqError(f"{what}: the model is given no {modality}, only {', '.join(given)}")
    if not set(given) - set(stress.without):
        raise MMFairseqError(f"{what}: nothing is left to give to the model")
    for modality in stress.raw:
        check_raw(what, modality, entries[modality], source, data_bin)
    if stress.text != "text" and stress.text not in data_bin.meta["streams"]:
        raise MMFairseqError(
            f"{what}: {data_bin} has no recognised texts; give the manifest a column {stress.text!r} and binarize again"
        )

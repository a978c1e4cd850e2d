"""From the options to what the backbones of a model are built from, and to the streams that they read."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from fairseq.models import MODEL_REGISTRY
from omegaconf import DictConfig, OmegaConf, open_dict

from .. import backbones
from ..databin import CachedStream, DataBin, StreamReader, cached_streams
from ..datasets import Limits, input_lengths
from ..errors import MMFairseqError
from ..manifest import MODALITIES

logger = logging.getLogger(__name__)

SOURCES = ("auto", "raw", "cached")


def specifications(cfg: DictConfig, modalities: Sequence[str]) -> dict[str, str]:
    """Modality to what the user wrote of its backbone."""
    return {name: str(cfg[f"{name}_backbone"]) for name in modalities}


def resolve(
    cfg: DictConfig, modalities: Sequence[str], symbols: Sequence[str], data_bin: Path, checkpoint: Path | None
) -> backbones.Resolved:
    """What a new training is built from; a resumed one takes it from its checkpoint where a pretrained file is gone.

    Args:
        cfg: options of the model.
        modalities: of the training.
        symbols: of the data-bin's dictionary.
        data_bin: its folder.
        checkpoint: of the training that is resumed.

    Raises:
        MMFairseqError: an option or a file is not usable, or not what the training began with.
    """
    specs = specifications(cfg, modalities)
    finetune = {name.strip() for name in cfg.finetune_backbones.split(",") if name.strip()}
    if unknown := finetune - set(MODALITIES):
        raise MMFairseqError(f"--finetune-backbones {sorted(unknown)}; allowed: {', '.join(MODALITIES)}")
    finetune = set() if cfg.get("frozen_ssl") else finetune
    saved = backbones.read_checkpoint(checkpoint)["cfg"]["model"].get("backbone_args") if checkpoint else None
    files = [path for name, spec in specs.items() for path in backbones.Spec.parse(name, spec).files.values()]
    if saved and not all(os.path.exists(path) for path in files):
        return backbones.Resolved(saved, {}, {})
    defaults = {"text": {"vocabulary": len(symbols)}}
    found_data = DataBin(data_bin)
    fps = found_data.meta.get("fps") if "video" in modalities and not found_data.dim("video") else None
    for name, args in MODEL_REGISTRY[cfg._name].backbone_defaults(cfg, fps).items():
        defaults.setdefault(name, {}).update(args)
    _add_dims(defaults, specs, found_data)
    found = backbones.resolve(specs, finetune, defaults)
    backbones.check_vocabulary(found, specs.get("text", ""), symbols, data_bin)
    for name, entry in found.entries.items():
        codes = backbones.BACKBONES.get(entry["name"]).code_groups
        entry["omitted"] = bool(cfg.omit_frozen_backbones and entry["frozen"] and not codes)
        if cfg.omit_frozen_backbones and entry["frozen"] and codes:
            logger.warning("--omit-frozen-backbones: %s keeps %s, for its cached codes need it", name, entry["name"])
    _check_unused(cfg, found.entries, finetune)
    if saved:
        _check_same(found.entries, saved, checkpoint)
    return found


def _add_dims(defaults: dict[str, dict[str, Any]], specs: Mapping[str, str], data_bin: DataBin) -> None:
    """Tell the backbones of features how wide those of the data-bin are."""
    for name, spec in specs.items():
        check_stream(data_bin, name, backbones.Spec.parse(name, spec).name)
        if dim := data_bin.dim(name):
            defaults.setdefault(name, {})["dim"] = dim


def check_stream(data_bin: DataBin, modality: str, backbone: str, dim: int = 0) -> None:
    """See that a backbone gets what it reads: raw data, or features that came with the corpus.

    Args:
        data_bin: the data-bin.
        modality: of the stream.
        backbone: its registered name.
        dim: the width that it expects of features; 0 where that is to be taken from the data.

    Raises:
        MMFairseqError: it does not.
    """
    found, takes = data_bin.dim(modality), backbones.BACKBONES.get(backbone).modality == backbones.ANY
    if found and not takes:
        raise MMFairseqError(
            f"--{modality}-backbone {backbone}: the {modality} of {data_bin} is features that came with the corpus, "
            f"{found} a frame: use --{modality}-backbone features"
        )
    if takes and not found:
        raise MMFairseqError(
            f"--{modality}-backbone {backbone}: {data_bin} holds raw {modality} and no features that came with the "
            "corpus: name a backbone that reads it (`mm-fairseq backbones` lists them)"
        )
    if takes and dim and dim != found:
        raise MMFairseqError(f"{data_bin}: {found} features of {modality} a frame, the model was trained on {dim}")


def check_pictures(
    data_bin: DataBin, trained: Mapping[str, Any], backbone: backbones.Backbone | None, fixed: bool
) -> None:
    """See that pictures come as often as those of the training did, and in the size that their backbone takes.

    Args:
        data_bin: the data-bin.
        trained: meta data of that of the training.
        backbone: of video, where it reads raw pictures.
        fixed: the model is trained already.

    Raises:
        MMFairseqError: they do not.
    """
    fps, size = data_bin.meta.get("fps"), data_bin.meta.get("frame_size")
    if fps != (known := trained.get("fps", fps)):
        raise MMFairseqError(
            f"{data_bin}: {fps:g} pictures a second, the model was trained on {known:g}: binarize with --fps {known:g}"
        )
    if backbone and backbone.frame_size not in (None, size):
        wanted, option = backbone.frame_size, backbone.frame_size_option
        other = f", or train with {option} {size}" if option and not fixed else ""
        raise MMFairseqError(
            f"{data_bin}: pictures of {size}x{size}, the video backbone takes {wanted}x{wanted}: binarize with "
            f"--frame-size {wanted}{other}"
        )


def _check_unused(cfg: DictConfig, entries: Mapping[str, dict[str, Any]], finetune: set[str]) -> None:
    """Tell of options that have nothing to act on."""
    learning = {name for name, entry in entries.items() if entry["sha256"] and not entry["frozen"]}
    if not learning:
        for option in ("finetune_top_layers", "freeze_finetune_updates", "backbone_lr"):
            if cfg[option]:
                raise MMFairseqError(
                    f"--{option.replace('_', '-')} {cfg[option]}: no pretrained backbone learns; name some by "
                    "--finetune-backbones"
                )
    for name in sorted(finetune - learning):
        if name in entries:
            logger.warning("--finetune-backbones %s: %s has no pretrained file", name, entries[name]["name"])


def _check_same(entries: Mapping[str, dict[str, Any]], saved: Mapping[str, dict[str, Any]], place: Path | None) -> None:
    """See that a training is resumed with the backbones that it began with.

    Raises:
        MMFairseqError: names what differs.
    """
    for modality in sorted({*entries, *saved}):
        new, old = (side.get(modality, {"name": "none", "args": {}}) for side in (entries, saved))
        if new["name"] == old["name"]:
            old = {"omitted": False, "sha256": new["sha256"]} | backbones.complete(old)
        for key in ("name", "sha256", "args", "omitted"):
            if new[key] != old[key]:
                raise MMFairseqError(
                    f"{place} was begun with another {modality} backbone: {key} was {str(old[key])[:200]}, is "
                    f"{str(new[key])[:200]}; give the same, or another --save-dir"
                )


def leave_alone(optimizer: Any, weights: Sequence[Any]) -> None:
    """Take the gradients of weights, zeros though they are, from an optimizer that is about to step."""
    waiting = {id(weight) for weight in weights}
    for weight in weights:
        weight.grad = None
    if waiting and hasattr(optimizer, "fp32_params"):  # half precision: it steps copies
        for weight, copy in zip(optimizer.fp16_params, optimizer.fp32_params, strict=True):
            if id(weight) in waiting:
                copy.grad = None


class Sources:
    """Which stream of the data-bin each modality is read from: the raw one, or one that `mm-fairseq extract` cached.

    Args:
        mode: auto, raw or cached (--backbone-source).
        data_bin: the data-bin.
        entries: what the backbones of the model are built from.
        limits: shortest and longest input of each.
        symbols: ids in front of and behind a text.

    Raises:
        MMFairseqError: a stream that is needed is not there or was made otherwise.
    """

    def __init__(
        self,
        mode: str,
        data_bin: DataBin,
        entries: Any,
        limits: Mapping[str, Limits],
        symbols: tuple[int, int],
    ) -> None:
        self.data_bin, self.limits, self.symbols = data_bin, limits, symbols
        self.readers: dict[str, StreamReader] = {}
        entries = OmegaConf.to_container(entries) if OmegaConf.is_config(entries) else entries
        for modality, entry in sorted(entries.items()):
            check_stream(data_bin, modality, entry["name"], entry["args"].get("dim", 0))
            if data_bin.dim(modality):
                continue
            needed = entry.get("omitted") or mode == "cached"
            wanted = _cacheable({"sha256": {}, **entry})
            if mode == "raw" and entry.get("omitted"):
                raise MMFairseqError(
                    f"--backbone-source raw: the model lacks the {modality} backbone {entry['name']!r} "
                    "(--omit-frozen-backbones) and can only read cached features"
                )
            if mode == "raw" or not wanted:
                continue
            reasons = self._look(modality, wanted)
            if modality in self.readers:
                logger.info("%s: cached features, %s", modality, self.readers[modality].folder.name)
            elif needed:
                raise MMFairseqError(
                    f"{data_bin}: no cached features for {modality} backbone {entry['name']!r}: {'; '.join(reasons)}; "
                    "run `mm-fairseq extract`"
                )
            elif reasons[0] != NOTHING:
                logger.warning("%s: raw data, for the cached features do not fit: %s", modality, "; ".join(reasons))

    def _look(self, modality: str, wanted: list[dict[str, Any]]) -> list[str]:
        """Open the first stream that fits; returns why the others do not."""
        reasons = []
        streams = cached_streams(self.data_bin.path, modality)
        for entry in wanted:
            for stream in streams:
                if stream.backbone != entry["name"]:
                    continue
                reason = self._difference(stream, entry)
                if not reason:
                    try:
                        self.readers[modality] = stream.open(self.data_bin.path, len(self.data_bin.manifest))
                        return []
                    except MMFairseqError as error:
                        reason = str(error)
                reasons.append(f"{stream.name}: {reason}")
        return reasons or [NOTHING]

    def _difference(self, stream: CachedStream, entry: dict[str, Any]) -> str:
        """What keeps a cached stream from being what the backbone would give; "" if nothing does."""
        if stream.sha256 != entry["sha256"]:
            ours, theirs = (_short(each) for each in (entry["sha256"], stream.sha256))
            return f"made from a file with sha256 {theirs}, the model's has {ours}"
        # an older stream may lack arguments that have come since
        known = backbones.complete({"name": stream.backbone, "args": stream.args})["args"]
        for key in sorted({*known, *entry["args"]}):
            found, needed = known.get(key), entry["args"].get(key)
            if found != needed:
                return f"{key} was {found!r}, is {needed!r}"
        if stream.symbols and stream.symbols != self.symbols:
            return f"made with the symbols {stream.symbols} around a text, here they are {self.symbols}"
        longest = self.limits[stream.modality].longest
        if longest != stream.longest:
            raw = StreamReader(self.data_bin.path / stream.modality)
            lengths = input_lengths(stream.modality, raw.lengths)
            cut = [np.minimum(lengths, limit or lengths.max(initial=0)) for limit in (longest, stream.longest)]
            if different := int((cut[0] != cut[1]).sum()):
                return (
                    f"cut at {stream.longest}, here at {longest}, which makes a difference for {different} utterances"
                )
        return ""


NOTHING = "nothing of that backbone was extracted"


def _cacheable(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """What of a backbone may be cached: all of it if it does not learn, else the part of it that never does."""
    backbone = backbones.BACKBONES.get(entry["name"])
    front = None if entry.get("omitted") else backbone.front(entry)
    fixed = entry["frozen"] or not backbone.learns
    return [backbones.complete(each) for each in (entry if fixed else None, front) if each is not None]


def _short(checksums: Mapping[str, str]) -> str:
    return ", ".join(checksum[:12] for checksum in checksums.values()) or "none"


def separate_learning_rate(model_cfg: DictConfig, model: Any) -> None:
    """Give pretrained backbones the learning rate --backbone-lr, by fairseq's composite optimizer.

    Both groups have the optimizer and the scheduler that the options name.

    Raises:
        MMFairseqError: the rate is negative, or half precision flattens parameters that must be told apart.
    """
    rate, root = model_cfg.backbone_lr, cast(Any, model_cfg._get_parent())
    if rate < 0:
        raise MMFairseqError(f"--backbone-lr {rate}: must not be negative")
    if not root or not root.get("optimizer") or root.optimizer._name == "composite":
        return
    learning = model.backbones.tuned_parameters()
    half = root.common.fp16 or root.common.get("bf16")
    for option in ("backbone_lr", "freeze_finetune_updates"):
        if model_cfg[option] and learning and half and not root.common.fp16_no_flatten_grads:
            raise MMFairseqError(f"--{option.replace('_', '-')} in half precision needs --fp16-no-flatten-grads")
    if not rate:
        return
    for weight in learning:
        weight.param_group = "backbones"
    first, groups = root.optimization.lr[0], {}
    for name in ("default", "backbones"):
        rates = list(root.optimization.lr)
        if name == "backbones":  # a list of rates, one an epoch, keeps its shape
            rates = [rate * each / first if first else rate for each in rates]
        parts: dict[str, Any] = {}
        for key in ("optimizer", "lr_scheduler"):
            parts[key] = OmegaConf.to_container(root[key], resolve=True)
        groups[name] = {
            "lr": rates,
            "optimizer": parts["optimizer"] | {"lr": rates},
            "lr_scheduler": parts["lr_scheduler"],
        }
    with open_dict(root):
        root.optimizer = {"_name": "composite", "groups": groups, "dynamic_groups": False}
        root.lr_scheduler = {"_name": "pass_through"}

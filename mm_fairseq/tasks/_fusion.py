"""A pretrained fusion: from the option that names its file to what the model is built from."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fairseq.models import MODEL_REGISTRY
from omegaconf import DictConfig
from torch import Tensor

from .. import backbones
from ..errors import MMFairseqError


class Fusion(NamedTuple):
    """Plain arguments, and the weights that a new model starts with; None where no file is named or it is gone."""

    args: Any = None
    weights: Mapping[str, Tensor] | None = None


def resolve(cfg: DictConfig, checkpoint: Path | None) -> Fusion:
    """Read the file that the options name; a resumed training takes its arguments from its checkpoint if it is gone.

    Args:
        cfg: options of the model.
        checkpoint: of the training that is resumed.

    Raises:
        MMFairseqError: the file is not usable, or of other sizes than what the training began with.
    """
    architecture = MODEL_REGISTRY[cfg._name]
    file = architecture.fusion_file(cfg)
    if not architecture.may_be_pretrained:
        return Fusion()
    saved = backbones.read_checkpoint(checkpoint)["cfg"]["model"].get("fusion_args") if checkpoint else None
    if checkpoint and (saved is None) == bool(file):
        how, now = ("without", f"now with {file}") if file else ("with", "now without")
        raise MMFairseqError(
            f"{checkpoint} was begun {how} a pretrained fusion, {now}: give the same options, or another --save-dir"
        )
    if not file:
        return Fusion()
    if saved is not None and not os.path.exists(file):
        return Fusion(saved)
    args, weights = architecture.read_fusion(Path(file))
    if saved is not None and args != saved:
        differing = sorted(key for key in {*args, *saved} if args.get(key) != saved.get(key))
        raise MMFairseqError(
            f"{checkpoint} was begun with another {file}: {', '.join(differing[:4])} differ; give the same, or another "
            "--save-dir"
        )
    return Fusion(args, weights)

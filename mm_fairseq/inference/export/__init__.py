"""A trained model as files that run without this package: TorchScript, ONNX, torch.export."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...atomic import locked, write_atomic
from ...backbones.backbone_set import Omitted
from ...errors import MMFairseqError
from ...versions import installed
from ..model import EmotionModel
from . import describe, parity, samples
from .capture import capture
from .formats import FORMATS, write
from .parity import TOLERANCE
from .parts import PARTS, Part, parts_of
from .refusals import REFUSALS, Refusal
from .samples import Sample, from_clips, from_data_bin

__all__ = ["FORMATS", "PARTS", "REFUSALS", "TOLERANCE", "Refusal", "Sample", "export", "from_clips", "from_data_bin"]

CONFIG, PARITY = "config.json", "parity.json"
HIDDEN = ".export-"  # begins the name of a folder in which a file is made
WEIGHTS = ".data"  # behind the name of a file whose weights, beyond 2 GB, have a file of their own
MADE = 4  # samples of noise that are tried beside the real ones

logger = logging.getLogger(__name__)


def export(
    model: EmotionModel,
    out: str | os.PathLike,
    kind: str,
    part: str = "model",
    real: Sequence[Sample] = (),
    tolerance: float = TOLERANCE,
) -> dict[str, dict[str, Any]]:
    """Write files of a model, each tried against it before it gets its name.

    Beside them stand config.json, parity.json, and for texts the dictionary and the files of the tokeniser; those tell
    of all files that are exported of a checkpoint into the same folder. A file that answers otherwise than the model is
    not written, and an earlier one of its name goes; parity.json tells of it.

    Args:
        model: on the CPU.
        out: folder.
        kind: one of FORMATS.
        part: one of PARTS.
        real: samples to try it on, see `from_data_bin` and `from_clips`; noise of drawn lengths is tried as well.
        tolerance: the largest difference of two numbers.

    Returns:
        file name to what parity.json says of it.

    Raises:
        MMFairseqError: it cannot be exported, says why; or the folder holds checkpoints, or files of another one.
    """
    if kind not in FORMATS:
        raise MMFairseqError(f"--format {kind!r}; allowed: {', '.join(FORMATS)}")
    if model.device.type != "cpu":
        raise MMFairseqError(f"the model is on {model.device}; load it on the CPU to export it")
    out, about = Path(out), describe.about_model(model)
    side = int(model.state["meta"].get("frame_size") or 1)
    parts = parts_of(model.model, model.kinds, model.limits, model.reader.dims, side, part)
    if any(out.glob("*.pt")):
        raise MMFairseqError(f"{out}: has checkpoints, and {CONFIG} would be read in their place: another --out")
    out.mkdir(parents=True, exist_ok=True)
    found = {}
    with locked(out):
        config, told = _earlier(out, about)
        for left in out.glob(f"{HIDDEN}*"):
            shutil.rmtree(left)  # of one that was killed
        for each in parts:
            name = each.name + FORMATS[kind].suffix
            found[name] = _export(model, each, out / name, kind, real, tolerance)
            config["files"].pop(name, None)
            if found[name]["passed"]:
                config["files"][name] = describe.about_file(each, kind)
            told["files"][name] = found[name]
            _write_about(model, out, config, told)
    return found


def _write_about(model: EmotionModel, out: Path, config: dict[str, Any], told: dict[str, Any]) -> None:
    """What stands beside the files: after each of them, so that none is without where a later one fails."""
    for name, content in model.state["tokenizer"].items():
        write_atomic(out / name, content)
    if "text" in model.modalities and "text" not in model.reader.dims:
        write_atomic(out / describe.DICTIONARY, "".join(f"{each}\n" for each in model.state["dictionary"]).encode())
    write_atomic(out / PARITY, _json(told))
    write_atomic(out / CONFIG, _json(config))


def _export(
    model: EmotionModel, part: Part, path: Path, kind: str, real: Sequence[Sample], tolerance: float
) -> dict[str, Any]:
    usable = _inputs(model, part, real)
    tried = [*usable, *samples.made(model, part.ports, MADE)]
    logger.info("%s: capturing the %s", path, part.name)
    program = capture(part)
    with tempfile.TemporaryDirectory(prefix=HIDDEN, dir=path.parent) as folder:
        place = Path(folder, path.name)
        write(program, part, place, kind)
        found = parity.compare(part, FORMATS[kind].open(place, part), tried, tolerance)
        for name in (path.name, f"{path.name}{WEIGHTS}"):
            path.with_name(name).unlink(missing_ok=True)
        if found["passed"]:
            for file in sorted(Path(folder).iterdir(), key=lambda file: file == place):
                file.replace(path.parent / file.name)  # weights of a file of their own come first
    packages = ("mm-fairseq", "torch", "onnx", "onnxscript", "onnxruntime")
    about = {"format": kind, "part": part.name, "written": found["passed"], "versions": installed(packages)}
    return about | ({} if usable else {"note": _untried(model, part, real)}) | found


def _inputs(model: EmotionModel, part: Part, real: Sequence[Sample]) -> list[Sample]:
    """The samples as the part takes them: raw, or as features."""
    if part.name == "fusion":
        if _omits(model):
            return []
        real = [samples.encoded(model, each) for each in real]
    names = {port.name for port in part.ports}
    return [each for each in real if names & each.items.keys()]


def _omits(model: EmotionModel) -> bool:
    return any(isinstance(each, Omitted) for each in model.model.backbones.encoders.values())


def _untried(model: EmotionModel, part: Part, real: Sequence[Sample]) -> str:
    """Why a part was tried on noise alone."""
    why = "none of them has its inputs"
    if not real:
        why = "none were given (--data DATA_BIN, --clips FILE)"
    elif part.name == "fusion" and _omits(model):
        why = "the checkpoint lacks backbones, which would compute its inputs (--omit-frozen-backbones)"
    return f"not tried on real samples: {why}"


def _earlier(out: Path, about: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What config.json and parity.json of a folder say of files that stay."""
    fresh = (about | {"files": {}}, {"checkpoint": about["checkpoint"], "files": {}})
    if not (out / CONFIG).is_file():
        return fresh
    try:
        config, told = (json.loads((out / name).read_bytes()) for name in (CONFIG, PARITY))
        same = config["checkpoint"] == told["checkpoint"] == about["checkpoint"]
        files = {name: entry for name, entry in config["files"].items() if (out / name).is_file()}
        kept = (about | {"files": files}, told | {"files": dict(told["files"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MMFairseqError(
            f"{out}: {CONFIG} or {PARITY} there is not of an export ({error!r}): another --out"
        ) from error
    if not same:
        raise MMFairseqError(f"{out}: holds the export of another checkpoint; give another --out")
    return kept


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()

"""A trained model from what is on disk: a checkpoint of fairseq-train, or a folder of `EmotionModel.save_pretrained`.

Neither is run or trusted: a checkpoint is read as data before torch sees it, options are checked as literals, and a
model is built only as large as its weights. fairseq's own code for checkpoints takes no part.
"""

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fairseq import models
from omegaconf import OmegaConf
from torch import Tensor, nn

from .. import checkpoints
from ..atomic import open_atomic
from ..errors import MMFairseqError
from ..fairseq_compat.safety import OWN_TASK, SLACK, bounded
from ..models._base import FusionModel
from ..targets import Kind, Target, kind_of
from ..untrusted import check_options, read_checkpoint
from .checks import CONFIG, WEIGHTS, check_files, check_state, check_task

FORMAT = 1
_TASK = ("init_token", "separator_token", "max_sample_size")
_STATE = ("targets", "dictionary", "tokenizer", "meta", "modalities")
_OTHERS = {"meta.json": "a data-bin of `mm-fairseq binarize`", "manifest.tsv": "a corpus of `mm-fairseq prepare`"}
_TRAINED_AS = "train it with fairseq-train and --task emotion_prediction"


@dataclass(frozen=True)
class Loaded:
    """What a trained model is made of.

    Args:
        options: of the model, plain types; `_name` is its architecture.
        task: options of the task that inputs depend on.
        state: of the task, see `EmotionPredictionTask`.
        weights: of the model, by name.
        source: where it comes from.
    """

    options: dict[str, Any]
    task: dict[str, Any]
    state: dict[str, Any]
    weights: Mapping[str, Tensor]
    source: Path

    def kinds(self) -> dict[str, Kind]:
        """Target name to kind.

        Raises:
            MMFairseqError: the state says no targets.
        """
        try:
            targets = [Target(**(entry | {"classes": tuple(entry["classes"])})) for entry in self.state["targets"]]
            names = {target.name for target in targets}
            if len(names) < len(targets) or not all(isinstance(x, str) for each in targets for x in each.classes):
                raise TypeError("two of one name, or a class that is no word")
        except MMFairseqError as error:
            raise MMFairseqError(f"{self.source}: {error}") from error
        except (KeyError, TypeError) as error:
            raise MMFairseqError(f"{self.source}: the targets are damaged ({error!r})") from error
        if not targets:
            raise MMFairseqError(f"{self.source}: no targets")
        return {target.name: kind_of(target) for target in targets}

    def model(self) -> FusionModel:
        """The model, to predict with.

        Raises:
            MMFairseqError: its options are not literals, or its weights do not fit them.
        """
        outputs = {name: kind.outputs for name, kind in self.kinds().items()}
        try:
            check_options(self.options, outside=True)
            weights = dict(self.weights)
            held = sum(weight.numel() for weight in weights.values())
            with bounded(2 * held + SLACK):
                options = OmegaConf.create(self.options)
                model = models.build_model(options, SimpleNamespace(outputs=outputs), from_checkpoint=True)
            model.upgrade_state_dict(weights)
            nn.Module.load_state_dict(model, weights)
        except MMFairseqError as error:
            raise MMFairseqError(f"{self.source}: {error}") from error
        except (RuntimeError, AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
            told = f"{type(error).__name__}: {error}"[:300]
            raise MMFairseqError(f"{self.source}: the weights do not fit the options ({told})") from error
        return model.eval().requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write the folder form, weights, tokeniser and options; no pickle. A model that is there gives way at the end.

        Raises:
            OSError: it cannot be written.
        """
        from safetensors.torch import save

        files = self.state["tokenizer"]
        about = {
            "format": FORMAT,
            "model": self.options,
            "task": self.task,
            "state": self.state | {"tokenizer": sorted(files)},
        }
        weights = {name: weight.detach().cpu().contiguous().clone() for name, weight in self.weights.items()}
        contents = {CONFIG: (json.dumps(about, ensure_ascii=False, indent=1) + "\n").encode(), WEIGHTS: save(weights)}
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:  # all are written before the first takes its name; options take theirs last
            for name, content in (contents | files).items():
                file = stack.enter_context(open_atomic(folder / name))
                file.write(content)
                file.flush()
            (folder / CONFIG).unlink(missing_ok=True)  # of a model that is written over: without it there is none


def load(path: str | os.PathLike, checkpoint_file: str = "checkpoint_best.pt") -> Loaded:
    """Read a trained model.

    Args:
        path: a checkpoint, the folder of a training, or one of `Loaded.save`.
        checkpoint_file: which one of a training's folder.

    Raises:
        MMFairseqError: nothing of that is there, it is damaged, or another package's.
    """
    path = Path(path)
    if path.is_dir() and (path / CONFIG).is_file():
        return _folder(path)
    if path.is_dir():
        if not (path / checkpoint_file).is_file():
            there = sorted(each.name for each in path.glob("*.pt"))
            told = f"it has {', '.join(there[:5])}" if there else f"neither {CONFIG} of a saved model nor a checkpoint"
            for name, what in _OTHERS.items():
                if (path / name).is_file() and not there:
                    told = f"it is {what}; give what fairseq-train wrote to its --save-dir"
                    break
            raise MMFairseqError(f"{path}: no {checkpoint_file} in this folder; {told}")
        path /= checkpoint_file
    return _checkpoint(path)


def _checkpoint(path: Path) -> Loaded:
    if path.is_file() and (fault := checkpoints.damage(path)):
        told = "a damaged checkpoint" if checkpoints.sum_file(path).is_file() else "not a checkpoint, or a damaged one"
        raise MMFairseqError(f"{path}: {told}: {fault}")
    saved = read_checkpoint(path)
    options: Any = saved.get("cfg")
    options = OmegaConf.to_container(options, enum_to_str=True) if OmegaConf.is_config(options) else options
    task = options.get("task") if isinstance(options, dict) else None
    name = (task or {}).get("_name") if isinstance(task, dict) else None
    if name != OWN_TASK or not isinstance(saved.get("model"), dict) or not isinstance(saved.get("task_state"), dict):
        told = f"a checkpoint of the task {name!r}" if name else "not a checkpoint of a training of this package"
        raise MMFairseqError(f"{path}: {told}; {_TRAINED_AS}")
    return _made(options["model"], task, saved["task_state"], saved["model"], path)


def _folder(path: Path) -> Loaded:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        about = json.loads((path / CONFIG).read_bytes())
        if about["format"] != FORMAT:
            raise MMFairseqError(f"{path / CONFIG}: format {about['format']!r}; this version reads {FORMAT}")
        state = about["state"] | {"tokenizer": {}}
        try:
            check_files(about["state"]["tokenizer"])
        except MMFairseqError as error:
            raise MMFairseqError(f"{path / CONFIG}: {error}") from error
        for name in (WEIGHTS, *about["state"]["tokenizer"]):
            if (path / name).exists() and not (path / name).is_file():  # a pipe or a device would never end
                raise MMFairseqError(f"{path / name}: not a regular file")
        for name in about["state"]["tokenizer"]:
            state["tokenizer"][name] = (path / name).read_bytes()
        weights = load_file(path / WEIGHTS)
        return _made(about["model"], about["task"], state, weights, path)
    except MMFairseqError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise MMFairseqError(f"{path}: not a model saved by save_pretrained, or damaged ({error!r})") from error
    except FileNotFoundError as error:
        raise MMFairseqError(f"{error.filename or path / WEIGHTS}: missing: the folder is not complete") from error


def _made(options: Any, task: Any, state: Any, weights: Mapping[str, Tensor], path: Path) -> Loaded:
    if missing := [name for name in ("targets", "dictionary", "meta", "modalities") if name not in state]:
        raise MMFairseqError(f"{path}: the checkpoint says nothing of {', '.join(missing)}; {_TRAINED_AS}")
    name = options.get("_name") if isinstance(options, dict) else None
    known = models.MODEL_REGISTRY.get(name) if isinstance(name, str) else None
    if known is None or not issubclass(known, FusionModel):
        raise MMFairseqError(f"{path}: architecture {name!r} is not one of this package")
    chosen = {name: task.get(name, -1 if name.endswith("token") else 0) for name in _TASK}
    state = {name: state.get(name, {}) for name in _STATE}
    try:
        check_task(chosen)
        check_state(state, options.get("backbone_args"))
    except MMFairseqError as error:
        raise MMFairseqError(f"{path}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MMFairseqError(f"{path}: how its data-bin was made is not told ({error!r})") from error
    return Loaded(options, chosen, state, weights, path)

"""The task: a data-bin to datasets, options to a self-contained model, logs to metrics and predictions."""

import json
import logging
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data import Dictionary
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task
from omegaconf import MISSING, DictConfig, open_dict

from .. import backbones
from ..datasets import Limits, RawAudioTextVideoDataset
from ..errors import MMFairseqError
from ..manifest import MODALITIES, Manifest
from ..targets import Kind, Target, kind_of, read_targets
from . import _predictions

logger = logging.getLogger(__name__)


@dataclass
class EmotionPredictionConfig(FairseqDataclass):
    """Options of the task; the names of the original trimodal system where it has them."""

    data: str = field(default=MISSING, metadata={"help": "data-bin folder, written by `mm-fairseq binarize`"})
    modalities: str = field(
        default="", metadata={"help": "comma list out of audio, text, video; default: all that the data-bin has"}
    )
    a_only: bool = field(default=False, metadata={"help": "use audio; with --t-only or --v-only: these together"})
    t_only: bool = field(default=False, metadata={"help": "use text; with --a-only or --v-only: these together"})
    v_only: bool = field(default=False, metadata={"help": "use video; with --a-only or --t-only: these together"})
    all_in: bool = field(default=False, metadata={"help": "use audio, text and video"})
    protocol: str = field(
        default="", metadata={"help": "evaluation protocol; default: the first that the corpus defines"}
    )
    fold: str = field(default="", metadata={"help": "fold of the protocol; default: the first"})
    num_classes: int = field(
        default=0, metadata={"help": "outputs of the head, as a check; two for each class with --binary-target-iemocap"}
    )
    binary_target_iemocap: bool = field(
        default=False, metadata={"help": "predict each class by a yes-no decision of its own (target kind binary_each)"}
    )
    softmax_target_meld: bool = field(
        default=False, metadata={"help": "predict one class out of all (target kind single)"}
    )
    regression_target_mos: bool = field(default=False, metadata={"help": "predict a number (target kind regression)"})
    max_sample_size: int = field(
        default=0, metadata={"help": "cut audio at this many samples; 0: at the model's own limit"}
    )
    init_token: int = field(
        default=-1, metadata={"help": "token id in front of a text; default: <s> of the dictionary"}
    )
    separator_token: int = field(
        default=-1, metadata={"help": "token id behind a text; default: </s> of the dictionary"}
    )
    eval_matric: bool = field(
        default=False, metadata={"help": "accepted for the original's command lines: metrics are always computed"}
    )
    data_raw: str = field(
        default="", metadata={"help": "accepted for the original's command lines: the data-bin holds the raw data"}
    )


@register_task("emotion_prediction", dataclass=EmotionPredictionConfig)
class EmotionPredictionTask(FairseqTask):
    """Predict the targets of utterances from their audio, text and video.

    `state`, saved in every checkpoint, holds plain types only: `targets`, `dictionary` (symbols in the order of their
    ids), `meta` (how the data-bin was made) and `modalities`.
    """

    def __init__(self, cfg: DictConfig, from_checkpoint: bool = False) -> None:
        super().__init__(cfg)
        with open_dict(cfg):  # defaults of fairseq that a shuffled, set_epoch-aware dataset must not have
            cfg.reuse_dataloader, cfg.persistent_workers, cfg.rebuild_batches = False, False, True
        self.limits: dict[str, Limits] = {}
        self.predictions_dir = _predictions.folder_of(cfg) if from_checkpoint else None
        if from_checkpoint:
            return
        if cfg.eval_matric:
            logger.warning("--eval-matric: metrics are always computed")
        if cfg.data_raw:
            logger.warning("--data-raw %s: the data-bin holds the raw data", cfg.data_raw)
        self.state.add_factory("meta", self._read_meta)
        self.state.add_factory("targets", self._read_targets)
        self.state.add_factory("dictionary", self._read_dictionary)
        self.state.add_factory("modalities", self._choose_modalities)

    @classmethod
    def setup_task(cls, cfg: DictConfig, **kwargs: Any) -> "EmotionPredictionTask":
        return cls(cfg, from_checkpoint=kwargs.get("from_checkpoint", False))

    # What is known of the data

    @property
    def data(self) -> Path:
        return Path(self.cfg.data)

    def _read_meta(self) -> dict[str, Any]:
        path = self.data / "meta.json"
        if not path.is_file():
            raise MMFairseqError(f"{self.data}: not a data-bin (no meta.json); `mm-fairseq binarize` writes one")
        try:
            meta = json.loads(path.read_bytes())
            complete = meta.get("complete")
        except (ValueError, AttributeError) as error:
            raise MMFairseqError(f"{path}: damaged ({error}); binarize again") from error
        if not complete:
            raise MMFairseqError(f"{self.data}: binarizing was not finished; go on with `mm-fairseq binarize --resume`")
        return meta

    def _read_targets(self) -> list[dict[str, Any]]:
        targets = read_targets(self.data / "targets.json")
        flags = {
            "binary_each": self.cfg.binary_target_iemocap,
            "single": self.cfg.softmax_target_meld,
            "regression": self.cfg.regression_target_mos,
        }
        chosen = [kind for kind, given in flags.items() if given]
        if len(chosen) > 1:
            raise MMFairseqError(
                "--binary-target-iemocap, --softmax-target-meld and --regression-target-mos exclude each other"
            )
        if chosen:
            classes = {"regression": ()}
            targets = [replace(t, kind=chosen[0], classes=classes.get(chosen[0], t.classes)) for t in targets]
        outputs = {target.name: kind_of(target).outputs for target in targets}
        if self.cfg.num_classes and set(outputs.values()) != {self.cfg.num_classes}:
            raise MMFairseqError(
                f"--num-classes {self.cfg.num_classes}, but the data-bin's targets have outputs {outputs}"
            )
        return [asdict(target) | {"classes": list(target.classes)} for target in targets]

    def _read_dictionary(self) -> list[str]:
        path = self.data / "dict.txt"
        return Dictionary.load(str(path)).symbols if path.is_file() else Dictionary().symbols

    def _choose_modalities(self) -> list[str]:
        there = sorted(set(self.state.meta["streams"]) & set(MODALITIES))
        flags = {"audio": self.cfg.a_only, "text": self.cfg.t_only, "video": self.cfg.v_only}
        named = {name.strip() for name in self.cfg.modalities.split(",")} if self.cfg.modalities else set()
        flagged = {name for name, given in flags.items() if given or self.cfg.all_in}
        if named and flagged and named != flagged:
            raise MMFairseqError(
                f"--modalities {self.cfg.modalities} contradicts the flags for {', '.join(sorted(flagged))}"
            )
        chosen = sorted(named or flagged or there)
        for name in chosen:
            if name not in there:
                raise MMFairseqError(f"modality {name!r} is not in {self.data}; it has {', '.join(there)}")
        return chosen

    @property
    def kinds(self) -> dict[str, Kind]:
        """Target name to kind."""
        targets = [Target(**(entry | {"classes": tuple(entry["classes"])})) for entry in self.state.targets]
        return {target.name: kind_of(target) for target in targets}

    @property
    def outputs(self) -> dict[str, int]:
        """Target name to number of outputs."""
        return {name: kind.outputs for name, kind in self.kinds.items()}

    # Model

    def build_model(self, cfg: DictConfig, from_checkpoint: bool = False) -> Any:
        """Build the model from `cfg.backbone_args` alone, after filling it in for a new training.

        A training that is resumed takes what it needs from its last checkpoint where a pretrained file or a label file
        is gone.
        """
        if from_checkpoint:
            return self._with_limits(super().build_model(cfg, from_checkpoint))
        checkpoint = _resume_path(cfg)
        if checkpoint is not None and not all((self.data / name).is_file() for name in ("targets.json", "dict.txt")):
            self.state.merge_state_dict(backbones.base.read_checkpoint(checkpoint)["task_state"])
        for name in ("meta", "targets", "dictionary", "modalities"):
            getattr(self.state, name)  # made now, so that it is saved
        specs = {name: str(cfg[f"{name}_backbone"]) for name in self.state.modalities}
        if cfg.backbone_args is None:
            with open_dict(cfg):
                cfg.backbone_args = self._resolve(cfg, specs, checkpoint)
        for name, entry in cfg.backbone_args.items():
            logger.info("%s backbone: %s%s", name, specs[name], " (frozen)" if entry["frozen"] else "")
        model = super().build_model(cfg)
        if checkpoint is None:
            model.backbones.load_pretrained(specs)
        return self._with_limits(model)

    def _resolve(self, cfg: DictConfig, specs: dict[str, str], checkpoint: Path | None) -> dict[str, Any]:
        finetune = {name.strip() for name in cfg.finetune_backbones.split(",") if name.strip()}
        if unknown := finetune - set(MODALITIES):
            raise MMFairseqError(f"--finetune-backbones {sorted(unknown)}; allowed: {', '.join(MODALITIES)}")
        paths = [backbones.base.Spec.parse(name, spec).path for name, spec in specs.items()]
        if checkpoint is not None and not all(os.path.exists(path) for path in paths if path):
            return backbones.base.read_checkpoint(checkpoint)["cfg"]["model"]["backbone_args"]
        size = len(self.state.dictionary)
        entries = backbones.resolve(specs, finetune, {"text": {"vocabulary": size}})
        vocabulary = entries.get("text", {}).get("args", {}).get("vocabulary", size)
        if not 0 <= vocabulary - size <= 1:  # RoBERTa's <mask> stands behind the dictionary
            raise MMFairseqError(
                f"text backbone {specs['text']!r} knows {vocabulary} symbols, the data-bin's dict.txt {size}: "
                "binarize with the tokenizer of that model"
            )
        return entries

    def _with_limits(self, model: Any) -> Any:
        self.limits = {name: Limits(*limit) for name, limit in model.input_limits().items()}
        if self.cfg.max_sample_size and "audio" in self.limits:
            shortest, longest = self.limits["audio"]
            cut = self.cfg.max_sample_size
            if cut < shortest:
                raise MMFairseqError(f"--max-sample-size {cut}: the audio backbone needs at least {shortest} samples")
            self.limits["audio"] = Limits(shortest, min(cut, longest or cut))
        return model

    # Data

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs: Any) -> None:
        """Load the part `split` of the chosen protocol and fold."""
        protocol, fold = self._protocol()
        path = self.data / "splits" / protocol / fold / f"{split}.npy"
        if not path.is_file():
            there = sorted(file.stem for file in path.parent.glob("*.npy"))
            raise MMFairseqError(
                f"{self.data}: no split {split!r} in {protocol}, fold {fold}; it has {', '.join(there)}"
            )
        manifest = Manifest.read(self.data / "manifest.tsv")
        dictionary = self.source_dictionary
        ends = (self.cfg.init_token, dictionary.bos()), (self.cfg.separator_token, dictionary.eos())
        bos, eos = (default if given < 0 else given for given, default in ends)
        if max(bos, eos) >= len(dictionary):
            raise MMFairseqError(
                f"--init-token {bos}, --separator-token {eos}: the dictionary has only {len(dictionary)} symbols"
            )
        logger.info("%s: protocol %s, fold %s", split, protocol, fold)
        self.datasets[split] = RawAudioTextVideoDataset(
            self.data,
            split,
            np.load(path),
            manifest.utterances,
            self.state.modalities,
            self.kinds,
            self.limits,
            (bos, dictionary.pad(), eos),
            shuffle=split == "train",
        )

    def _protocol(self) -> tuple[str, str]:
        protocols = {entry["name"]: [str(fold) for fold in entry["folds"]] for entry in self._read_meta()["protocols"]}
        if not protocols:
            raise MMFairseqError(
                f"{self.data}: no utterance belongs to a split; fill the manifest's column `split` and binarize again"
            )
        protocol = self.cfg.protocol or next(iter(protocols))
        if protocol not in protocols:
            raise MMFairseqError(f"--protocol {protocol!r}; {self.data} has {', '.join(protocols)}")
        fold = self.cfg.fold or protocols[protocol][0]
        if fold not in protocols[protocol]:
            raise MMFairseqError(f"--fold {fold!r}; protocol {protocol} has {', '.join(protocols[protocol])}")
        return protocol, fold

    def get_batch_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """As fairseq's, but no utterance is left out.

        There, a batch size that is no multiple of 8 loses utterances, and training skips what is longer than
        --max-tokens; here the dataset names such an utterance in an error.
        """
        kwargs |= {"required_batch_size_multiple": 1, "max_positions": None}
        return super().get_batch_iterator(*args, **kwargs)

    @property
    def source_dictionary(self) -> Dictionary:
        dictionary = Dictionary()
        for symbol in self.state.dictionary[len(dictionary) :]:
            dictionary.add_symbol(symbol)
        return dictionary

    @property
    def target_dictionary(self) -> None:
        return None

    # Results

    def valid_step(self, sample: dict[str, Any], model: Any, criterion: Any) -> tuple[Any, int, dict[str, Any]]:
        """Score a batch; `fairseq-validate` on several ranks gives some of them an empty one."""
        if not sample:
            return 0.0, 0, {}
        model.eval()
        with torch.no_grad():
            output = model(**sample["net_input"])
            loss, size, log = criterion.score(output, sample)
        if self.predictions_dir is not None:
            log["_predictions"] = _predictions.predict(
                self.datasets[sample["subset"]], self.kinds, sample, output["logits"]
            )
        return loss, size, log

    def reduce_metrics(self, logging_outputs: list[dict[str, Any]], criterion: Any) -> None:
        """Log the loss and the metrics of each target, exact over all that is aggregated."""
        super().reduce_metrics(logging_outputs, criterion)
        logs = [log for log in logging_outputs if log]
        kinds = self.kinds
        for name, kind in kinds.items():
            keys = [key for key in (logs[0] if logs else {}) if key.startswith(f"_{name}:")]
            for key in keys:
                metrics.log_scalar_sum(key, sum(log[key] for log in logs))
            if keys:
                suffix = "" if len(kinds) == 1 else f"_{name}"
                for metric in kind.metrics({key.partition(":")[2]: logs[0][key] for key in keys}):
                    metrics.log_derived(metric + suffix, _derived(kind, name, keys, metric))
        lines = [line for log in logs for line in log.get("_predictions", ())]
        if lines and self.predictions_dir is not None and not _rank():
            _predictions.write(self.predictions_dir, lines)


def _rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def _derived(kind: Kind, name: str, keys: list[str], metric: str) -> Any:
    """A metric out of the summed counts among the meters."""

    def compute(meters: Any) -> float:
        return kind.metrics({key.partition(":")[2]: meters[key].sum for key in keys})[metric]

    return compute


def _resume_path(model_cfg: DictConfig) -> Path | None:
    """The checkpoint that this run will be resumed from, if there is one."""
    root: Any = model_cfg._get_parent()
    checkpoint = root.get("checkpoint") if root else None
    if not checkpoint:
        return None
    path = Path(checkpoint.restore_file)
    if checkpoint.restore_file == "checkpoint_last.pt":
        path = Path(checkpoint.save_dir) / path
    return path if path.is_file() else None

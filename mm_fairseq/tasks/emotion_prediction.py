"""The task: a data-bin to datasets, options to a self-contained model, logs to metrics and predictions."""

import json
import logging
import os
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.data import Dictionary
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task
from omegaconf import DictConfig, open_dict

from .. import backbones
from ..databin import fingerprint
from ..datasets import Limits, RawAudioTextVideoDataset, drop_modalities
from ..errors import MMFairseqError
from ..manifest import MODALITIES, Manifest, normalised
from ..targets import Kind, Target, kind_of, read_targets
from . import _results, _run
from ._config import EmotionPredictionConfig

logger = logging.getLogger(__name__)


@register_task("emotion_prediction", dataclass=EmotionPredictionConfig)
class EmotionPredictionTask(FairseqTask):
    """Predict the targets of utterances from their audio, text and video.

    `state`, saved in every checkpoint, holds plain types only: `targets`, `dictionary` (symbols in the order of their
    ids), `meta` (how the data-bin was made), `modalities`, `attributes` (columns that predictions tell), `positives`
    (counts of the classes in train, where the loss needs them), `run` (command and versions of the training) and
    `updates`, their number.
    """

    def __init__(self, cfg: DictConfig, from_checkpoint: bool = False) -> None:
        super().__init__(cfg)
        with open_dict(cfg):  # defaults of fairseq that a shuffled, set_epoch-aware dataset must not have
            cfg.reuse_dataloader, cfg.persistent_workers, cfg.rebuild_batches = False, False, True
        if not 0 <= cfg.modality_dropout < 1:
            raise MMFairseqError(f"--modality-dropout {cfg.modality_dropout}: a probability, at least 0 and below 1")
        self.limits: dict[str, Limits] = {}
        self.from_checkpoint = from_checkpoint
        self.run = _run.settings(cfg)
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
        self.state.add_factory("attributes", self._find_attributes)
        self.state.add_factory("positives", self._count_positives)
        self.state.add_factory("run", _run.describe)

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
            if chosen[0] == "regression":
                targets = [replace(target, classes=(), votes="", kind="regression") for target in targets]
            else:
                targets = [replace(target, kind=chosen[0]) for target in targets]
        if self.cfg.targets:
            wanted = [name.strip() for name in self.cfg.targets.split(",")]
            names = [target.name for target in targets]
            if unknown := [name for name in wanted if name not in names]:
                raise MMFairseqError(f"--targets {unknown[0]!r} is not in {self.data}; it has {', '.join(names)}")
            targets = [target for target in targets if target.name in wanted]
        if self.cfg.soft_labels and not any(target.votes for target in targets):
            raise MMFairseqError(f"--soft-labels: {self.data} has no votes of annotators for {targets[0].name!r}")
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
        named, flagged = self._wished_modalities()
        if named and flagged and named != flagged:
            raise MMFairseqError(
                f"--modalities {self.cfg.modalities} contradicts the flags for {', '.join(sorted(flagged))}"
            )
        return self._known_modalities(named or flagged, there, str(self.data))

    def _wished_modalities(self) -> tuple[set[str], set[str]]:
        """What --modalities names, and what the original's flags name."""
        flags = {"audio": self.cfg.a_only, "text": self.cfg.t_only, "video": self.cfg.v_only}
        named = {name.strip() for name in self.cfg.modalities.split(",")} if self.cfg.modalities else set()
        return named, {name for name, given in flags.items() if given or self.cfg.all_in}

    def _known_modalities(self, wished: set[str], there: list[str], place: str) -> list[str]:
        for name in sorted(wished):
            if name not in there:
                raise MMFairseqError(f"modality {name!r} is not in {place}; it has {', '.join(there)}")
        return sorted(wished) or there

    @cached_property
    def given(self) -> list[str]:
        """The modalities that the model gets to see: fewer than it was trained on where `fairseq-validate` says so.

        The options of the training stand beside those of `fairseq-validate`: what both of them name is meant.
        """
        there = self.state.modalities
        if not self.from_checkpoint:
            return there
        named, flagged = (self._known_modalities(wish, there, "the checkpoint") for wish in self._wished_modalities())
        if not set(named) & set(flagged):
            raise MMFairseqError(
                f"--modalities {self.cfg.modalities} contradicts the flags for {', '.join(flagged)}: "
                "nothing is left to give to the model"
            )
        return sorted(set(named) & set(flagged))

    def _find_attributes(self) -> list[str]:
        taken = {
            column for target in read_targets(self.data / "targets.json") for column in (target.name, target.votes)
        }
        return [column for column in self.manifest.extra if column not in taken]

    def _count_positives(self) -> dict[str, Any]:
        rows = np.load(self._split_path("train"))
        counted = {}
        for name, kind in self.kinds.items():
            if kind.classes:
                labels = [self.manifest.utterances[row].labels.get(name, "") for row in rows]
                positives, items = kind.positives([kind.encode(label) for label in labels])
                counted[name] = [positives.tolist(), items]
                if absent := [label for label, count in zip(kind.classes, positives) if not count]:
                    logger.warning(
                        "train lacks %s of target %r, to be neither weighted nor learnt", ", ".join(absent), name
                    )
        return counted

    @property
    def positives(self) -> dict[str, tuple[np.ndarray, int]]:
        """For each target of classes: how many labelled items of train have each class, and how many are labelled."""
        return {name: (np.array(counts), items) for name, (counts, items) in self.state.positives.items()}

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest.read(self.data / "manifest.tsv")

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """Target name to kind."""
        names = {entry["name"] for entry in self.state.targets}
        if self.cfg.targets and {name.strip() for name in self.cfg.targets.split(",")} != names:
            raise MMFairseqError(f"--targets {self.cfg.targets}: the checkpoint predicts {', '.join(sorted(names))}")
        targets = [Target(**(entry | {"classes": tuple(entry["classes"])})) for entry in self.state.targets]
        return {target.name: kind_of(target, self.cfg.soft_labels) for target in targets}

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
        checkpoint = _run.resume_path(cfg)
        if checkpoint is not None and not all((self.data / name).is_file() for name in ("targets.json", "dict.txt")):
            self.state.merge_state_dict(backbones.base.read_checkpoint(checkpoint)["task_state"])
        for name in ("meta", "targets", "dictionary", "modalities", "attributes", "run"):
            getattr(self.state, name)  # made now, so that it is saved
        self.run.check_selection([*_results.metric_names(self.kinds), "loss"])
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
        path = self._split_path(split)
        dictionary = self.source_dictionary
        ends = (self.cfg.init_token, dictionary.bos()), (self.cfg.separator_token, dictionary.eos())
        bos, eos = (default if given < 0 else given for given, default in ends)
        if max(bos, eos) >= len(dictionary):
            raise MMFairseqError(
                f"--init-token {bos}, --separator-token {eos}: the dictionary has only {len(dictionary)} symbols"
            )
        logger.info("%s: protocol %s, fold %s", split, *self._protocol())
        self.datasets[split] = RawAudioTextVideoDataset(
            self.data,
            split,
            np.load(path),
            self.manifest.utterances,
            self.state.modalities,
            self.kinds,
            self.limits,
            (bos, dictionary.pad(), eos),
            shuffle=split == "train",
            withheld=set(self.state.modalities) - set(self.given),
            attributes=self.state.attributes,
        )

    def _split_path(self, split: str) -> Path:
        protocol, fold = self._protocol()
        path = self.data / "splits" / protocol / fold / f"{split}.npy"
        if not path.is_file():
            there = sorted(file.stem for file in path.parent.glob("*.npy"))
            raise MMFairseqError(
                f"{self.data}: no split {split!r} in {protocol}, fold {fold}; it has {', '.join(there)}"
            )
        return path

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

    # Steps

    def train_step(
        self, sample: dict[str, Any], model: Any, criterion: Any, optimizer: Any, update_num: int, ignore_grad: bool
    ) -> tuple[Any, int, dict[str, Any]]:
        """As fairseq's, after --modality-dropout; keeps count of the updates."""
        if self.cfg.modality_dropout:
            fill = {"text": self.source_dictionary.pad()}
            sample = drop_modalities(sample, self.cfg.modality_dropout, fill, self.run.seed, update_num)
        self.state.merge_state_dict({"updates": update_num + 1})
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    def valid_step(self, sample: dict[str, Any], model: Any, criterion: Any) -> tuple[Any, int, dict[str, Any]]:
        """Score a batch; `fairseq-validate` on several ranks gives some of them an empty one."""
        if not sample:
            return 0.0, 0, {}
        model.eval()
        with torch.no_grad():
            output = model(**sample["net_input"])
            loss, size, log = criterion.score(output, sample)
        dataset = self.datasets[sample["subset"]]
        log["_subset"] = sample["subset"]
        log["_results"] = _results.of_batch(dataset, self.kinds, sample, output["logits"])
        return loss, size, log

    def reduce_metrics(self, logging_outputs: list[dict[str, Any]], criterion: Any) -> None:
        """Log the loss and the metrics of each target.

        In training they come from sums of counts; in validation from the results of every utterance, once all of the
        split are there.
        """
        super().reduce_metrics(logging_outputs, criterion)
        logs = [log for log in logging_outputs if log]
        if not logs:
            return
        if "_results" in logs[0]:
            self._log_results(logs[0]["_subset"], [log["_results"] for log in logs])
        else:
            self._log_counts(logs)

    def _log_results(self, subset: str, batches: list[_results.Batch]) -> None:
        def empty() -> _results.Results:
            return _results.Results(self.datasets[subset], self.kinds, whole=not self.run.partial)

        metrics.log_custom(empty, "_results", batches)
        for name in _results.metric_names(self.kinds):
            metrics.log_derived(name, lambda meters, name=name: meters["_results"].metric(name))
        if self.from_checkpoint and self.run.predictions_dir is not None and not _run.rank():
            results = empty()
            results.update(batches)
            _results.write(self.run.predictions_dir, results, self._about(), self._train_texts(subset))

    def _log_counts(self, logs: list[dict[str, Any]]) -> None:
        for name, kind in self.kinds.items():
            keys = [key for key in logs[0] if key.startswith(f"_{name}:")]
            for key in keys:
                metrics.log_scalar_sum(key, sum(log[key] for log in logs))
            for metric in kind.counted if keys else ():
                metrics.log_derived(_results.log_name(metric, name, self.kinds), _results.counted(kind, keys, metric))

    def _about(self) -> dict[str, Any]:
        """What `results.json` says of the run beside its figures."""
        protocol, fold = self._protocol()
        place = {"protocol": protocol, "fold": fold, "modalities": self.given, "data": fingerprint(self.data)}
        state = {"updates": self.state.updates, "targets": self.state.targets}
        return place | self.run.about() | self.state.run | state

    def _train_texts(self, subset: str) -> set[str] | None:
        """Normalised transcripts of train; None where `subset` is train or there is none."""
        path = self._split_path(subset).with_name("train.npy")
        if subset == "train" or not path.is_file():
            return None
        return {normalised(self.manifest.utterances[row].text) for row in np.load(path)} - {""}

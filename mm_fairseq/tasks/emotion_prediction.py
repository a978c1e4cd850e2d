"""The task: a data-bin to datasets, options to a self-contained model, logs to metrics and predictions."""

import logging
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from fairseq.data import Dictionary
from fairseq.logging import metrics
from fairseq.tasks import FairseqTask, register_task
from omegaconf import DictConfig, open_dict

from .. import backbones, fairseq_compat
from ..databin import DataBin, Place, dropped, fingerprint
from ..datasets import (
    Augmentation,
    EpochIterator,
    Limits,
    RawAudioTextVideoDataset,
    Stress,
    Truths,
    Utterances,
    drop_modalities,
    limits_of,
    load_dictionary,
    parse_stresses,
    stressed,
)
from ..errors import MMFairseqError
from ..manifest import CONTEXT, MODALITIES, TEXT_ASR
from ..targets import Kind, Target, kind_of, read_targets
from . import _augment, _backbones, _changes, _choices, _fusion, _results, _run
from ._baselines import Train, baselines
from ._config import EmotionPredictionConfig
from ._non_finite import NonFinite

logger = logging.getLogger(__name__)


@register_task("emotion_prediction", dataclass=EmotionPredictionConfig)
class EmotionPredictionTask(FairseqTask):
    """Predict the targets of utterances from their audio, text and video.

    `state`, saved in every checkpoint, holds plain types only: `targets`, `dictionary` (symbols in the order of their
    ids), `tokenizer` (what its files hold, by their names), `meta` (how the data-bin was made), `modalities`,
    `attributes` (columns that predictions tell), `positives` (counts of the classes in train, where the loss needs
    them), `run` (command and versions of the training) and `updates`, their number.
    """

    def __init__(self, cfg: DictConfig, from_checkpoint: bool = False) -> None:
        super().__init__(cfg)
        with open_dict(cfg):  # defaults of fairseq that a shuffled, set_epoch-aware dataset must not have
            cfg.reuse_dataloader, cfg.persistent_workers, cfg.rebuild_batches = False, False, True
        if not 0 <= cfg.modality_dropout < 1:
            raise MMFairseqError(f"--modality-dropout {cfg.modality_dropout}: a probability, at least 0 and below 1")
        self.limits: dict[str, Limits] = {}
        self._entries: Any = {}
        self._video: backbones.Backbone | None = None
        self.results: dict[str, _results.Results] = {}
        self.from_checkpoint = from_checkpoint
        if cfg.backbone_source not in _backbones.SOURCES:
            raise MMFairseqError(f"--backbone-source {cfg.backbone_source!r}; allowed: {', '.join(_backbones.SOURCES)}")
        self.run = _run.settings(cfg)
        self.augmentation: Augmentation | None = None
        self.non_finite = NonFinite(self, cfg.skip_nonfinite)
        if from_checkpoint:
            _changes.refuse(cfg, fairseq_compat.overridden)
            return
        self.augmentation = _augment.parse(cfg, self.run.seed)
        _changes.check_training(cfg, self.run.train_subset, self.run.valid_subsets)
        if cfg.eval_matric:
            logger.warning("--eval-matric: metrics are always computed")
        if cfg.data_raw:
            logger.warning("--data-raw %s: the data-bin holds the raw data", cfg.data_raw)
        self.state.add_factory("meta", lambda: self.data_bin.meta)
        self.state.add_factory("targets", self._read_targets)
        self.state.add_factory("dictionary", self._read_dictionary)
        self.state.add_factory("tokenizer", self._read_tokenizer)
        self.state.add_factory("modalities", self._choose_modalities)
        self.state.add_factory("attributes", self._find_attributes)
        self.state.add_factory("positives", self._count_positives)
        self.state.add_factory("run", _run.describe)

    @classmethod
    def setup_task(cls, cfg: DictConfig, **kwargs: Any) -> "EmotionPredictionTask":
        return cls(cfg, from_checkpoint=kwargs.get("from_checkpoint", False))

    # What is known of the data

    @cached_property
    def data_bin(self) -> DataBin:
        return DataBin(self.cfg.data)

    @property
    def place(self) -> Place:
        """The protocol and fold that the options name."""
        return self.data_bin.place(self.cfg.protocol, self.cfg.fold)

    def _all_targets(self) -> list[Target]:
        return read_targets(self.data_bin.path / "targets.json")

    def _read_targets(self) -> list[dict[str, Any]]:
        chosen = _choices.targets(self.cfg, self._all_targets(), str(self.data_bin))
        return [asdict(target) | {"classes": list(target.classes)} for target in chosen]

    def _read_dictionary(self) -> list[str]:
        return load_dictionary(self.data_bin.path).symbols

    def _read_tokenizer(self) -> dict[str, bytes]:
        files = (self.data_bin.meta.get("tokenizer") or {}).get("files", ())
        paths = [self.data_bin.path / name for name in files]
        return {path.name: path.read_bytes() for path in paths if path.is_file()}

    def _choose_modalities(self) -> list[str]:
        there = sorted(set(self.state.meta["streams"]) & set(MODALITIES))
        return _choices.modalities(self.cfg, there, str(self.data_bin))

    @cached_property
    def given(self) -> list[str]:
        """The modalities that the model gets to see."""
        there = self.state.modalities
        return _choices.given_modalities(self.cfg, there) if self.from_checkpoint else there

    def _find_attributes(self) -> list[str]:
        taken = {TEXT_ASR, CONTEXT}
        taken.update(column for target in self._all_targets() for column in (target.name, target.votes))
        return [column for column in self.data_bin.manifest.extra if column not in taken]

    def _count_positives(self) -> dict[str, Any]:
        rows = self.data_bin.split(self.place, "train")
        counted = {}
        for name, kind in self.kinds.items():
            if kind.classes:
                positives, items = _choices.positives(kind, self.data_bin.labels(kind), rows)
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
    def kinds(self) -> dict[str, Kind]:
        """Target name to kind."""
        targets = [Target(**(entry | {"classes": tuple(entry["classes"])})) for entry in self.state.targets]
        _choices.check_targets(self.cfg, targets)
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
            return self._with_limits(super().build_model(cfg, from_checkpoint), cfg)
        checkpoint = _run.resume_path(cfg)
        if checkpoint is not None and not all(
            (self.data_bin.path / name).is_file() for name in ("targets.json", "dict.txt")
        ):
            self.state.merge_state_dict(backbones.read_checkpoint(checkpoint)["task_state"])
        for name in ("meta", "targets", "dictionary", "tokenizer", "modalities", "attributes", "run"):
            getattr(self.state, name)  # made now, so that it is saved
        self.run.check_selection([*_results.metric_names(self.kinds), "loss"])
        with backbones.unsafe_checkpoints(self.cfg.allow_unsafe_checkpoints):
            found = _backbones.resolve(
                cfg, self.state.modalities, self.state.dictionary, self.data_bin.path, checkpoint
            )
            fusion = _fusion.resolve(cfg, checkpoint)
        with open_dict(cfg):
            if cfg.backbone_args is None:
                cfg.backbone_args = found.entries
            if cfg.fusion_args is None:
                cfg.fusion_args = fusion.args
        for name, spec in _backbones.specifications(cfg, self.state.modalities).items():
            told = " (frozen)" if found.entries[name]["frozen"] else ""
            logger.info("%s backbone: %s%s", name, spec, told)
        model = super().build_model(cfg)
        if checkpoint is None:
            model.backbones.load_pretrained(found)
            if fusion.weights is not None:
                model.load_fusion(fusion.weights)
        _backbones.separate_learning_rate(cfg, model)
        return self._with_limits(model, cfg)

    def _with_limits(self, model: Any, cfg: DictConfig) -> Any:
        self.limits = limits_of(model.input_limits(), self.cfg.max_sample_size)
        self._entries = cfg.backbone_args
        self._video = model.backbones.encoders["video"] if "video" in self.limits else None
        return model

    def build_criterion(self, cfg: DictConfig, from_checkpoint: bool = False) -> Any:
        """As fairseq's, after a look at the options that weigh the targets."""
        _choices.check_weights(self.cfg, getattr(cfg, "target_weights", ""))
        return super().build_criterion(cfg, from_checkpoint)

    # Data

    @cached_property
    def sources(self) -> _backbones.Sources:
        """The streams that are read."""
        bos, _, eos = self.symbols
        return _backbones.Sources(self.cfg.backbone_source, self.data_bin, self._entries, self.limits, (bos, eos))

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs: Any) -> None:
        """Load the part `split` of the chosen protocol and fold; `SPLIT@STRESS` under a stress (`datasets.stress`)."""
        part, stress = stressed(split)
        if self.from_checkpoint:
            _run.claim_predictions(self.run, split)
        rows = self.data_bin.split(self.place, part)
        if "audio" in self.state.modalities:
            self.data_bin.check_sample_rate(backbones.SAMPLE_RATE)
        if "text" in self.state.modalities:
            _choices.check_tokens(self.data_bin, self.state.meta, self.state.dictionary, self._read_dictionary)
        if self.from_checkpoint and (self.data_bin.path / "targets.json").is_file():
            _choices.check_answers(self.kinds, self._all_targets(), str(self.data_bin))
        logger.info("%s: protocol %s, fold %s", split, *self.place)
        change, raw = self._change(split, stress)
        if "video" in self.state.modalities and not self.data_bin.dim("video"):
            video = None if "video" in self.sources.readers else self._video
            _backbones.check_pictures(self.data_bin, self.state.meta, video, self.from_checkpoint)
        self.datasets[split] = RawAudioTextVideoDataset(
            self.data_bin.path,
            split,
            rows,
            self.data_bin.manifest.utterances,
            self.state.modalities,
            self.kinds,
            self.limits,
            self.symbols,
            shuffle=split == "train",
            withheld=set(self.state.modalities) - (set(self.given) - set(stress.without)),
            attributes=self.state.attributes,
            features={name: reader for name, reader in self.sources.readers.items() if name not in raw},
            change=change,
            folders={"text": stress.text},
            labels={name: self.data_bin.labels(kind) for name, kind in self.kinds.items()},
        )

    def _change(self, split: str, stress: Stress) -> tuple[Stress | Augmentation | None, set[str]]:
        """What is done to the utterances of a split, and which modalities must be read raw for it."""
        source = str(self.cfg.backbone_source)
        for each in (stress, *parse_stresses(self.cfg.get("stress") or "")):  # all of them before the first split
            _changes.check_stress(each, self.given, self._entries, source, self.data_bin)
        if stress.name:
            return stress, set(stress.raw)
        if self.augmentation is None or split != self.run.train_subset:
            return None, set()
        raw = _changes.raw_modalities(self.cfg, self.state.modalities, self._entries, self.data_bin)
        for name in sorted(raw.keys() & self.sources.readers.keys()):
            logger.info("%s: %s from raw data, not from cached features, for %s changes it", split, name, raw[name])
        return self.augmentation, set(raw)

    def get_batch_iterator(self, *args: Any, **kwargs: Any) -> Any:
        """As fairseq's, but no utterance is left out, and an epoch goes on at any number of ranks (`EpochIterator`).

        There, a batch size that is no multiple of 8 loses utterances, and training skips what is longer than
        --max-tokens; here the dataset names such an utterance in an error.
        """
        kwargs |= {"required_batch_size_multiple": 1, "max_positions": None}
        return EpochIterator(super().get_batch_iterator(*args, **kwargs), self.run.update_freq)

    @cached_property
    def source_dictionary(self) -> Dictionary:
        dictionary = Dictionary()
        for symbol in self.state.dictionary[len(dictionary) :]:
            dictionary.add_symbol(symbol)
        return dictionary

    @property
    def symbols(self) -> tuple[int, int, int]:
        """Ids of what stands in front of a text, of padding, and of what stands behind it."""
        dictionary = self.source_dictionary
        ends = (self.cfg.init_token, dictionary.bos()), (self.cfg.separator_token, dictionary.eos())
        bos, eos = (default if given < 0 else given for given, default in ends)
        if max(bos, eos) >= len(dictionary):
            raise MMFairseqError(
                f"--init-token {bos}, --separator-token {eos}: the dictionary has only {len(dictionary)} symbols"
            )
        return bos, dictionary.pad(), eos

    @property
    def target_dictionary(self) -> None:
        return None

    # Steps

    def train_step(
        self, sample: dict[str, Any], model: Any, criterion: Any, optimizer: Any, update_num: int, ignore_grad: bool
    ) -> tuple[Any, int, dict[str, Any]]:
        """As fairseq's, after --modality-dropout; keeps count of the updates."""
        sample = self.seen(sample, update_num)
        self.state.merge_state_dict({"updates": update_num + 1})
        out = super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        self.non_finite.losses.append(out[0].detach())
        return out

    def seen(self, sample: dict[str, Any], update_num: int) -> dict[str, Any]:
        """A batch as the model sees it in training: after --modality-dropout."""
        if not self.cfg.modality_dropout:
            return sample
        fill = {"text": self.source_dictionary.pad()}
        return drop_modalities(sample, self.cfg.modality_dropout, fill, self.run.seed, update_num)

    def optimizer_step(self, optimizer: Any, model: Any, update_num: int) -> None:
        """As fairseq's; backbones that wait for --freeze-finetune-updates are not touched, by weight decay neither."""
        _backbones.leave_alone(optimizer, model.backbones.idle())
        super().optimizer_step(optimizer, model, update_num)

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
            _results.log_counts(self.kinds, logs)
            if self.non_finite.most:
                metrics.log_scalar("skipped", self.non_finite.skipped, weight=0, round=0)

    def begin_valid_epoch(self, epoch: int, model: Any) -> None:
        """Forget the results of the last validation."""
        self.results.clear()

    def _log_results(self, subset: str, batches: list[_results.Batch]) -> None:
        # Not in a meter: fairseq keeps meters of all validations, in memory and in checkpoints.
        if subset not in self.results:
            self.results[subset] = _results.Results(self.datasets[subset], self.kinds, whole=not self.run.partial)
        results = self.results[subset]
        results.update(batches)
        for name in results.logged(self.run.select):
            metrics.log_derived(name, lambda _, name=name: self.results[subset].metric(name))
        if self.from_checkpoint and self.run.predictions_dir is not None and not _run.rank():
            part, stress = stressed(subset)
            about = self._about() | ({"stress": stress.name} if stress.name else {})
            about["dropped"] = dropped(self.data_bin, self.place, part)
            train = self._train(subset)
            about["baselines"] = baselines(results.dataset, self.kinds, train) if train else {}
            _results.write(self.run.predictions_dir, results, about, train.texts if train else None)

    def _about(self) -> dict[str, Any]:
        """What `results.json` says of the run beside its figures."""
        return {
            **self.place._asdict(),
            "modalities": self.given,
            "data": fingerprint(self.data_bin.path),
            **self.run.about(),
            **self.state.run,
            "updates": self.state.updates,
            "targets": self.state.targets,
        }

    def _train(self, subset: str) -> Train | None:
        """What train says of the utterances of a split; None where that is train itself or there is none."""
        part = stressed(subset)[0]
        if part == "train" or "train" not in self.data_bin.splits(self.place):
            return None
        rows = self.data_bin.split(self.place, "train")
        truths = {name: Truths(self.data_bin.labels(kind), rows) for name, kind in self.kinds.items()}
        return Train.read(truths, Utterances(self.data_bin.manifest.utterances, rows), self.datasets[subset])

"""The criterion: the loss of every target by its kind, and the counts that the metrics of training are made of."""

from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.logging import metrics
from torch import Tensor

from ..losses import LossOptions
from ..targets import Kind
from .options import EmotionPredictionCriterionConfig, check, parse_class_weights, parse_target_weights


@register_criterion("emotion_prediction_cri", dataclass=EmotionPredictionCriterionConfig)
class EmotionPredictionCriterion(FairseqCriterion):
    """Weighted sum over the targets of each kind's loss, in nats, and what losses the architecture has of its own.

    `sample_size` is the number of utterances.

    Raises:
        MMFairseqError: an option names an unknown target or class, or a value that is not allowed.
    """

    def __init__(self, cfg: EmotionPredictionCriterionConfig, task: Any) -> None:
        super().__init__(task)
        kinds: dict[str, Kind] = task.kinds
        check(cfg, kinds)
        self.weights = {name: kind.target.weight for name, kind in kinds.items()}
        self.weights |= parse_target_weights(cfg.target_weights, kinds)
        given = parse_class_weights(cfg.class_weights, kinds)
        self.options = {name: self._options(cfg, kind, given.get(name)) for name, kind in kinds.items()}

    def _options(self, cfg: EmotionPredictionCriterionConfig, kind: Kind, weights: Any) -> LossOptions:
        adjustment = None
        if kind.classes and cfg.logit_adjustment:
            prior = kind.log_prior(*self.task.positives[kind.target.name])
            adjustment = torch.from_numpy(cfg.logit_adjustment * prior)
        if weights == "balanced":
            weights = kind.balance(*self.task.positives[kind.target.name])
        return LossOptions(
            cfg.label_smoothing,
            cfg.focal_gamma,
            None if weights is None else torch.as_tensor(weights, dtype=torch.float),
            adjustment,
            cfg.regression_loss,
        )

    def forward(self, model: torch.nn.Module, sample: dict[str, Any]) -> tuple[Tensor, int, dict[str, Any]]:
        """Loss, sample size and log of a batch."""
        return self.score(model(**sample["net_input"]), sample)

    def score(self, output: dict[str, Any], sample: dict[str, Any]) -> tuple[Tensor, int, dict[str, Any]]:
        """As `forward`, for what the model has returned already."""
        size = int(sample["nsentences"])
        log: dict[str, Any] = {"nsentences": size, "ntokens": int(sample["ntokens"]), "sample_size": size}
        losses = []
        for name, kind in self.task.kinds.items():
            logits, goal = output["logits"][name], sample["target"][name]
            losses.append(self.weights[name] * kind.loss(logits, goal, self.options[name]))
            if self.training:
                for key, value in kind.counts(logits.detach(), goal).items():
                    log[f"_{name}:{key}"] = value
        for name, loss in output.get("losses", {}).items():
            losses.append(loss.sum())
            log[f"{name}_loss"] = losses[-1].detach()
        total = torch.stack(losses).sum()
        log["loss"] = total.detach()
        return total, size, log

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the losses per utterance; the task, which knows the targets, logs their metrics."""
        size = sum(int(log.get("sample_size", 0)) for log in logging_outputs)
        if size:
            names = sorted(
                {name for log in logging_outputs for name in log if name == "loss" or name.endswith("_loss")}
            )
            for name in names:
                loss = sum(float(log.get(name, 0.0)) for log in logging_outputs)
                metrics.log_scalar(name, loss / size, size, round=4)

    def logging_outputs_can_be_summed(self) -> bool:
        """In training the log holds sums; in validation the results of each utterance, which ranks gather."""
        return self.training

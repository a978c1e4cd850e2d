"""The criterion: the loss of every target by its kind, and the counts that metrics are made of."""

from typing import Any

import torch
from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from torch import Tensor


@register_criterion("emotion_prediction_cri", dataclass=FairseqDataclass)
class EmotionPredictionCriterion(FairseqCriterion):
    """Weighted sum over the targets of each kind's loss, in nats; `sample_size` is the number of utterances."""

    def forward(self, model: torch.nn.Module, sample: dict[str, Any]) -> tuple[Tensor, int, dict[str, Any]]:
        """Loss, sample size and log of a batch."""
        return self.score(model(**sample["net_input"]), sample)

    def score(self, output: dict[str, Any], sample: dict[str, Any]) -> tuple[Tensor, int, dict[str, Any]]:
        """As `forward`, for what the model has returned already."""
        size = int(sample["nsentences"])
        log: dict[str, Any] = {"nsentences": size, "ntokens": int(sample["ntokens"]), "sample_size": size}
        losses = []
        for name, kind in self.task.kinds.items():
            logits, target = output["logits"][name], sample["target"][name]
            losses.append(kind.target.weight * kind.loss(logits, target))
            for key, value in kind.counts(logits.detach(), target).items():
                log[f"_{name}:{key}"] = value
        total = torch.stack(losses).sum()
        log["loss"] = total.detach()
        return total, size, log

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss per utterance; the task, which knows the targets, logs their metrics."""
        size = sum(int(log.get("sample_size", 0)) for log in logging_outputs)
        if size:
            loss = sum(float(log.get("loss", 0.0)) for log in logging_outputs)
            metrics.log_scalar("loss", loss / size, size, round=4)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Sizes, losses and counts are sums."""
        return True

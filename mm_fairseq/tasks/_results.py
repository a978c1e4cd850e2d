"""What a model says about a split: gathered from batches and ranks, turned into metrics once, written once."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from fairseq.logging import metrics as meters
from torch import Tensor

from .. import metrics
from ..atomic import write_atomic
from ..datasets import RawAudioTextVideoDataset
from ..errors import MMFairseqError
from ..manifest import normalised
from ..targets import Kind

logger = logging.getLogger(__name__)

Batch = dict[str, Any]
"""`index`: places in the split, (B,); `scores`: target name to `Kind.probabilities`, (B, ...)."""


def of_batch(
    dataset: RawAudioTextVideoDataset, kinds: Mapping[str, Kind], sample: dict[str, Any], logits: dict[str, Tensor]
) -> Batch:
    """The results of one batch.

    Raises:
        MMFairseqError: a logit is not a finite number; it names the utterances.
    """
    index = sample["id"].cpu().numpy()
    scores = {}
    for name, kind in kinds.items():
        wrong = ~logits[name].isfinite().all(-1).cpu().numpy()
        if wrong.any():
            ids = ", ".join(dataset.utterances[i].id for i in index[wrong])
            raise MMFairseqError(
                f"{dataset.subset}: the model's prediction of {name!r} is not a finite number for {ids}"
            )
        scores[name] = kind.probabilities(logits[name].float()).cpu().numpy()
    return {"index": index, "scores": scores}


class Results:
    """The results of one split, batch by batch.

    Args:
        dataset: the split.
        kinds: target name to kind.
        whole: metrics are of the whole split and NaN before it is complete; else of what there is.
    """

    def __init__(self, dataset: RawAudioTextVideoDataset, kinds: Mapping[str, Kind], whole: bool) -> None:
        self.dataset, self.kinds, self.whole = dataset, kinds, whole
        self.batches: list[Batch] = []
        self.values: dict[str, float] | None = None

    def __len__(self) -> int:
        return sum(len(batch["index"]) for batch in self.batches)

    def update(self, batches: Sequence[Batch]) -> None:
        """Take in the results of further batches."""
        self.batches += batches
        self.values = None

    def logged(self, select: str) -> list[str]:
        """Names of metrics for the log: without those of sentiment, always NaN, of numbers that are none.

        Args:
            select: is logged anyhow, as fairseq chooses by it.
        """
        return [name for name in metric_names(self.kinds) if name == select or name not in self._pointless]

    @cached_property
    def _pointless(self) -> set[str]:
        several, truths = len(self.kinds) > 1, self.dataset.truths
        numbers = [name for name, kind in self.kinds.items() if kind.target.kind == "regression"]
        others = [name for name in numbers if not metrics.is_sentiment(truths[name][:])]
        return {metrics.log_name(metric, name, several) for name in others for metric in metrics.SENTIMENT}

    def metric(self, name: str) -> float:
        """A metric by its name in the log."""
        if self.whole and len(self) < len(self.dataset):
            return float("nan")
        return self.metrics()[name]

    def metrics(self) -> dict[str, float]:
        """Every metric, by its name in the log; computed once for what there is."""
        if self.values is None:
            self.values = self._compute()
        return self.values

    def _compute(self) -> dict[str, float]:
        index, scores = self.gathered()
        out: dict[str, float] = {}
        right, several = {}, len(self.kinds) > 1
        for name, kind in self.kinds.items():
            truth = self.dataset.truths[name][index]
            values = kind.metrics(truth, scores[name])
            out |= {metrics.log_name(key, name, several): value for key, value in values.items()}
            known = ~np.isnan(truth).reshape(len(index), -1).any(1) if truth.dtype.kind == "f" else truth >= 0
            if (hits := kind.right(truth, scores[name])) is not None:
                right[name] = known, hits
        if len(right) > 1:
            labelled = np.all([known for known, _ in right.values()], axis=0)
            out["exact_match"] = metrics.exact_match([hits[labelled] for _, hits in right.values()])
        return out

    def gathered(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """All results in the order of the split.

        Raises:
            MMFairseqError: an utterance occurs twice, or is missing from what must be whole.
        """
        index = np.concatenate([batch["index"] for batch in self.batches])
        if len(np.unique(index)) < len(index) or (self.whole and len(index) < len(self.dataset)):
            raise MMFairseqError(
                f"{self.dataset.subset}: {len(index)} results of {len(np.unique(index))} utterances, "
                f"the split has {len(self.dataset)}"
            )
        order = index.argsort()
        scores = {name: np.concatenate([batch["scores"][name] for batch in self.batches])[order] for name in self.kinds}
        return index[order], scores


def metric_names(kinds: Mapping[str, Kind]) -> list[str]:
    """All names of `Results.metrics`."""
    several = len(kinds) > 1
    names = [metrics.log_name(key, name, several) for name, kind in kinds.items() for key in kind.metric_names]
    of_classes = [kind for kind in kinds.values() if kind.classes]
    return [*names, "exact_match"] if len(of_classes) > 1 else names


def log_counts(kinds: Mapping[str, Kind], logs: Sequence[dict[str, Any]]) -> None:
    """Log the metrics of a training from the counts in the logs of its batches."""
    for name, kind in kinds.items():
        keys = [key for key in logs[0] if key.startswith(f"_{name}:")]
        for key in keys:
            meters.log_scalar_sum(key, sum(log[key] for log in logs))
        for metric in kind.counted if keys else ():
            meters.log_derived(metrics.log_name(metric, name, len(kinds) > 1), counted(kind, keys, metric))


def counted(kind: Kind, keys: Sequence[str], metric: str) -> Callable[[Any], float]:
    """A metric of training, out of the summed counts among fairseq's meters."""

    def compute(meters: Any) -> float:
        sums = {key.partition(":")[2]: np.asarray(meters[key].sum) for key in keys}
        return kind.from_counts(sums)[metric]

    return compute


def write(folder: Path, results: Results, about: dict[str, Any], train_texts: set[str] | None) -> None:
    """Write `folder/<split>/predictions.jsonl`, in the order of the split, and `results.json`, each atomically.

    Args:
        folder: where.
        results: of the whole split.
        about: what else `results.json` says.
        train_texts: normalised transcripts of the train split; None where there is nothing to compare with.

    Raises:
        MMFairseqError: the disk does not take them; those that were there are kept.
    """
    dataset, kinds = results.dataset, results.kinds
    index, scores = results.gathered()
    lines = (
        _line(dataset, kinds[name], int(i), scores[name][row], train_texts)
        for row, i in enumerate(index)
        for name in sorted(kinds)
    )
    if lost := about.get("dropped"):
        logger.warning(
            "%s: %d labelled utterances are not in the data-bin, as nothing of them could be used, and not in these "
            "results: %s",
            *(dataset.subset, len(lost), ", ".join(lost)),
        )
    values = {name: None if np.isnan(value) else value for name, value in results.metrics().items()}
    summary = {"split": dataset.subset, **about, "utterances": len(index), "metrics": values}
    path = folder / dataset.subset / "predictions.jsonl"
    text = json.dumps(summary, ensure_ascii=False, indent=1) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
        write_atomic(path.with_name("results.json"), text.encode())
    except OSError as error:
        raise MMFairseqError(f"{error.filename}: predictions are not written: {error.strerror}") from error
    logger.info("%d predictions: %s", len(index) * len(kinds), path)


def _line(
    dataset: RawAudioTextVideoDataset, kind: Kind, index: int, scores: np.ndarray, train_texts: set[str] | None
) -> dict[str, Any]:
    utterance, name = dataset.utterances[index], kind.target.name
    seen = None if train_texts is None or not utterance.text else normalised(utterance.text) in train_texts
    return {
        "id": utterance.id,
        "split": dataset.subset,
        "name": name,
        "kind": kind.target.kind,
        "target": kind.label(dataset.truths[name][index]),
        **kind.decode(scores),
        "modalities": [modality for modality in dataset.modalities if dataset.lengths[modality][index]],
        "speaker": utterance.speaker,
        "session": utterance.session,
        "dialogue": utterance.dialogue,
        "text": utterance.text,
        "seconds": dataset.seconds(index),
        "transcript_in_train": seen,
        "attributes": {name: utterance.labels.get(name, "") for name in dataset.attributes},
    }

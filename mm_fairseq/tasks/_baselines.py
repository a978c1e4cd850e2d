"""What a model has to beat: answers that come from the labels and transcripts of train alone.

N utterances of a split, K classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import metrics
from ..datasets import RawAudioTextVideoDataset
from ..manifest import Utterance, normalised
from ..targets import Kind
from ._results import Results

OF_SCORES = ("map", "auc", "ece")  # of an answer without probabilities they tell nothing


def baselines(
    dataset: RawAudioTextVideoDataset, kinds: Mapping[str, Kind], train: Sequence[Utterance]
) -> dict[str, dict[str, Any]]:
    """The metrics of two baselines on a split.

    `majority` always answers the commonest label of train, of numbers the median. `transcript_lookup` answers what it
    is among the utterances of train that have the same transcript (without case and punctuation), and as `majority`
    where there are none; `known` is the share of the split that has some.

    Args:
        dataset: the split.
        kinds: target name to kind.
        train: its utterances.

    Returns:
        `{baseline: {"metrics": {name in the log: value}}}`; without `transcript_lookup` where train has no transcripts,
        empty where a target has no label in train.
    """
    groups: dict[str, list[Utterance]] = {}
    for row in train:
        groups.setdefault(normalised(row.text), []).append(row)
    groups.pop("", None)
    texts = [normalised(row.text) for row in dataset.utterances]
    majority: dict[str, np.ndarray] = {}
    looked_up: dict[str, np.ndarray] = {}
    for name, kind in kinds.items():
        usual = _answer(kind, train)
        if usual is None:
            return {}
        own = {text: _answer(kind, rows) for text, rows in groups.items()}
        found = [own.get(text) for text in texts]
        majority[name] = np.stack([usual] * len(texts))
        looked_up[name] = np.stack([usual if answer is None else answer for answer in found])
    out: dict[str, dict[str, Any]] = {"majority": {"metrics": _metrics(dataset, kinds, majority)}}
    if groups:
        known = float(np.mean([text in groups for text in texts]))
        out["transcript_lookup"] = {"known": known, "metrics": _metrics(dataset, kinds, looked_up)}
    return out


def _answer(kind: Kind, rows: Sequence[Utterance]) -> np.ndarray | None:
    """The commonest label, in the form of `Kind.probabilities`; None where no row has one. Shape (K,), or ()."""
    counts = Counter(filter(None, (row.labels.get(kind.target.name, "") for row in rows)))
    if not counts:
        return None
    if not kind.classes:
        return np.array(np.median([kind.encode(label) for label in counts.elements()]))
    label = min(counts, key=lambda each: (-counts[each], each))
    return kind.encode(label) if kind.sets else np.eye(len(kind.classes))[kind.encode(label)]


def _metrics(
    dataset: RawAudioTextVideoDataset, kinds: Mapping[str, Kind], scores: dict[str, np.ndarray]
) -> dict[str, float | None]:
    results = Results(dataset, kinds, whole=True)
    results.update([{"index": np.arange(len(dataset)), "scores": scores}])
    left_out = {metrics.log_name(metric, name, len(kinds) > 1) for metric in OF_SCORES for name in kinds}
    values = {name: value for name, value in results.metrics().items() if name not in left_out}
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}

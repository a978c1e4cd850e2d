"""What the model has to beat, on the split that it was validated on."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..baselines import Items, from_train
from ..datasets import RawAudioTextVideoDataset
from ..manifest import Utterance, normalised
from ..targets import Kind


def baselines(
    dataset: RawAudioTextVideoDataset, kinds: Mapping[str, Kind], train: Sequence[Utterance]
) -> dict[str, dict[str, Any]]:
    """The metrics of `mm_fairseq.baselines.from_train` on a split.

    Args:
        dataset: the split.
        kinds: target name to kind.
        train: its utterances.
    """
    truths = {name: [kind.encode(row.labels.get(name, "")) for row in train] for name, kind in kinds.items()}
    split = Items(dataset.truths, [normalised(row.text) for row in dataset.utterances])
    return from_train(kinds, Items(truths, [normalised(row.text) for row in train]), split)

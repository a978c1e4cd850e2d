"""What the model has to beat, on the split that it was validated on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..baselines import Coded, Items, from_train
from ..datasets import RawAudioTextVideoDataset, Truths
from ..manifest import Utterance, normalised
from ..targets import Kind

_CHUNK = 1 << 12
OTHER = "\n"  # no normalised transcript has a line break


@dataclass(frozen=True)
class Train:
    """What train knows of another split.

    Args:
        truths: target name to its true labels.
        transcripts: normalised, an entry an utterance: those of the split by themselves, all others as `OTHER`.
    """

    truths: Mapping[str, Truths]
    transcripts: Sequence[str]

    @classmethod
    def read(
        cls, truths: Mapping[str, Truths], utterances: Sequence[Utterance], dataset: RawAudioTextVideoDataset
    ) -> "Train":
        """Of the transcripts of train only those of the split are kept, once each.

        Args:
            truths: of train.
            utterances: of train.
            dataset: the split.
        """
        asked = {text: text for row in dataset.utterances if (text := normalised(row.text))}
        kept = []
        for row in utterances:
            text = normalised(row.text)
            kept.append(asked.get(text, OTHER) if text else "")
        return cls(truths, kept)

    @property
    def texts(self) -> set[str]:
        """The transcripts of the split that train has too."""
        return set(self.transcripts) - {"", OTHER}


def baselines(dataset: RawAudioTextVideoDataset, kinds: Mapping[str, Kind], train: Train) -> dict[str, dict[str, Any]]:
    """The metrics of `mm_fairseq.baselines.from_train` on a split.

    Args:
        dataset: the split.
        kinds: target name to kind.
        train: where the answers come from.
    """
    texts = [normalised(row.text) for row in dataset.utterances]
    split = Items({name: truths[:] for name, truths in dataset.truths.items()}, texts)
    truths = {name: _coded(each) if kinds[name].sets else each[:] for name, each in train.truths.items()}
    return from_train(kinds, Items(truths, train.transcripts), split)


def _coded(truths: Truths) -> Coded:
    """Sets of classes, each different one once."""
    forms: dict[bytes, int] = {}
    numbers = np.empty(len(truths), np.int64)
    for start in range(0, len(truths), _CHUNK):
        for place, row in enumerate(np.asarray(truths[start : start + _CHUNK], np.float32), start):
            numbers[place] = forms.setdefault(row.tobytes(), len(forms))
    rows = np.frombuffer(b"".join(forms), np.float32).reshape(len(forms), -1)
    return Coded(rows.astype(np.float64), numbers)

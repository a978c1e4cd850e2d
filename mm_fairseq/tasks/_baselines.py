"""What the model has to beat, on the split that it was validated on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..baselines import Items, Texts, from_train
from ..datasets import RawAudioTextVideoDataset, Truths
from ..manifest import Utterance, normalised
from ..targets import Kind

OTHER = "\n"  # no normalised transcript has a line break


@dataclass(frozen=True)
class Train:
    """What train knows of another split.

    Args:
        truths: target name to its true labels.
        transcripts: normalised: those of the split by themselves, all others as `OTHER`; 4 bytes an utterance.
    """

    truths: Mapping[str, Truths]
    transcripts: Texts

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
        asked = dict.fromkeys(filter(None, (normalised(row.text) for row in dataset.utterances)))
        forms = [*asked, OTHER]
        number_of = {text: number for number, text in enumerate(asked)}
        numbers = np.full(len(utterances), -1, np.int32)
        for place, row in enumerate(utterances):
            if text := normalised(row.text):
                numbers[place] = number_of.get(text, len(asked))
        return cls(truths, Texts(forms, numbers))

    @property
    def texts(self) -> set[str]:
        """The transcripts of the split that train has too."""
        forms, numbers = self.transcripts
        return {forms[number] for number in np.unique(numbers) if number >= 0} - {OTHER}


def baselines(dataset: RawAudioTextVideoDataset, kinds: Mapping[str, Kind], train: Train) -> dict[str, dict[str, Any]]:
    """The metrics of `mm_fairseq.baselines.from_train` on a split.

    Args:
        dataset: the split.
        kinds: target name to kind.
        train: where the answers come from.
    """
    texts = [normalised(row.text) for row in dataset.utterances]
    split = Items({name: truths[:] for name, truths in dataset.truths.items()}, texts)
    return from_train(kinds, Items(train.truths, train.transcripts), split)

"""One split of a data-bin as a fairseq dataset of raw audio, text and video."""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from fairseq.data import FairseqDataset

from ..databin.reader import StreamReader
from ..errors import MMFairseqError
from ..manifest import Utterance
from ..targets import Kind
from .collate import pad
from .raw_items import EMPTY, Limits, input_lengths, read_item

logger = logging.getLogger(__name__)

SAMPLE_RATE = 16000
AUDIO_STEP = 160  # samples that count as one token for --max-tokens: 10 ms
SHOWN = 10  # ids named in a message


class Change(Protocol):
    """What is done to the utterances of a split: `Augmentation` or `Stress`."""

    def item(self, modality: str, x: np.ndarray, utterance: str, epoch: int, limits: Limits) -> np.ndarray:
        """An input of a backbone, neither cached nor given as features."""

    def batch(
        self, sample: dict[str, Any], utterances: Sequence[str], epoch: int, kinds: Mapping[str, Kind]
    ) -> dict[str, Any]:
        """A collated batch of utterances, given by their ids."""


class RawAudioTextVideoDataset(FairseqDataset):
    """Utterances of one split: PCM to [-1, 1], token ids between `bos` and `eos`, JPEG to RGB, features as they are.

    An utterance longer than a limit is cut at its end; one shorter than a backbone's receptive field lacks the
    modality. Both are counted and named in the log when the dataset is made.

    Args:
        data_bin: the folder.
        subset: name of the split, as predictions name it.
        rows: row numbers of the utterances in the data-bin.
        utterances: all rows of the data-bin's manifest.
        modalities: which streams are read.
        kinds: target name to kind.
        limits: for each modality.
        symbols: ids of `bos`, `pad` and `eos`.
        shuffle: draw a new order each epoch among utterances of equal length.
        withheld: modalities that the model does not get to see.
        attributes: columns of the manifest that predictions tell.
        features: modality to a cached stream that is read instead of the raw one; lengths, and so batches, stay those
            of the raw one.
        change: what is done to the utterances; lengths in `sizes`, and so batches, stay those without it.
        folders: modality to the stream that is its raw one, where that has another name.
    """

    def __init__(
        self,
        data_bin: Path,
        subset: str,
        rows: np.ndarray,
        utterances: Sequence[Utterance],
        modalities: Sequence[str],
        kinds: Mapping[str, Kind],
        limits: Mapping[str, Limits],
        symbols: tuple[int, int, int],
        shuffle: bool,
        withheld: Collection[str] = (),
        attributes: Sequence[str] = (),
        features: Mapping[str, StreamReader] | None = None,
        change: Change | None = None,
        folders: Mapping[str, str] | None = None,
    ) -> None:
        if not len(rows):
            raise MMFairseqError(f"{data_bin}: split {subset!r} has no utterance")
        self.subset, self.rows, self.kinds, self.shuffle = subset, rows, kinds, shuffle
        self.change, self.epoch = change, 1
        self.bos, self.pad, self.eos = symbols
        self.modalities, self.withheld, self.attributes = sorted(modalities), set(withheld), attributes
        self.limits = {name: limits.get(name, Limits()) for name in self.modalities}
        self.utterances = [utterances[row] for row in rows]
        labels = {name: [_encode(kind, row) for row in self.utterances] for name, kind in kinds.items()}
        self.truths = {name: [truth for truth, _ in pairs] for name, pairs in labels.items()}
        self.goals = {name: [goal for _, goal in pairs] for name, pairs in labels.items()}
        places = {name: data_bin / (folders or {}).get(name, name) for name in self.modalities}
        self.streams = {name: StreamReader(place, rows=len(utterances)) for name, place in places.items()}
        self.features = dict(features or {})
        self.lengths = {name: self._lengths(name) for name in self.modalities}
        self.sizes = self._sizes()
        nothing = [
            row.id for i, row in enumerate(self.utterances) if not any(self.lengths[m][i] for m in self.modalities)
        ]
        if nothing:
            logger.warning(
                "%s: %d of %d utterances have none of %s and are scored all the same: %s%s",
                *(subset, len(nothing), len(rows), ", ".join(self.modalities)),
                *(", ".join(nothing[:SHOWN]), " ..." if len(nothing) > SHOWN else ""),
            )
        logger.info("%s: %d utterances; %s", subset, len(rows), self._there())

    def _lengths(self, modality: str) -> np.ndarray:
        """Usable length of each utterance; 0 where the modality is missing. Tells what is cut and what is too short."""
        found = self.streams[modality].lengths[self.rows] * (modality not in self.withheld)
        lengths = input_lengths(modality, found, self.streams[modality].dim)
        shortest, longest = self.limits[modality]
        self._tell(
            (lengths > 0) & (lengths < shortest), lengths, modality, f"shorter than {shortest}, taken as missing"
        )
        if longest is not None:
            self._tell(lengths > longest, lengths, modality, f"longer than {longest}, cut at the end")
        return self.limits[modality].usable(lengths)

    def _tell(self, hit: np.ndarray, lengths: np.ndarray, modality: str, what: str) -> None:
        if hit.any():
            unit = {"audio": "samples", "text": "tokens", "video": "frames"}[modality]
            unit = "frames" if self.streams[modality].dim else unit
            first = [f"{self.utterances[i].id} ({lengths[i]})" for i in np.flatnonzero(hit)[:SHOWN]]
            logger.warning(
                "%s: %s of %d utterances, in %s, %s: %s%s",
                *(self.subset, modality, hit.sum(), unit, what, ", ".join(first), " ..." if hit.sum() > SHOWN else ""),
            )

    def _there(self) -> str:
        return ", ".join(f"{name} in {np.count_nonzero(self.lengths[name])}" for name in self.modalities)

    def _sizes(self) -> np.ndarray:
        steps = {name: AUDIO_STEP if name == "audio" and not self.streams[name].dim else 1 for name in self.modalities}
        scaled = [-(-self.lengths[name] // step) for name, step in steps.items()]
        return np.maximum(1, np.max(scaled, axis=0)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index, **{name: self._read(name, index) for name in self.modalities}}

    def _read(self, modality: str, index: int) -> np.ndarray | None:
        length = int(self.lengths[modality][index])
        if not length:
            return None
        if modality in self.features:
            item = self.features[modality][int(self.rows[index])]
            return item.astype(np.float32 if item.dtype.kind == "f" else np.int64) if len(item) else None
        x = read_item(modality, self.streams[modality][int(self.rows[index])], length, self.bos, self.eos)
        if self.change is None or self.streams[modality].dim:
            return x
        return self.change.item(modality, x, self.utterances[index].id, self.epoch, self.limits[modality])

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Batch of `net_input` (inputs, padding_masks), `target`, `id`, `subset`, `nsentences` and `ntokens`."""
        if not samples:
            return {}
        inputs, masks = {}, {}
        empty = dict(EMPTY)
        given = {name: reader for name, reader in self.streams.items() if reader.dim}
        for name, reader in (given | self.features).items():
            empty[name] = np.zeros((0, reader.dim), np.float32 if reader.dtype.kind == "f" else np.int64)
        for name in self.modalities:
            value = self.pad if name == "text" and empty[name].ndim == 1 else 0
            inputs[name], masks[name] = pad([sample[name] for sample in samples], value, empty[name])
        indices = [sample["index"] for sample in samples]
        batch = {
            "id": torch.tensor(indices, dtype=torch.long),
            "net_input": {"inputs": inputs, "padding_masks": masks},
            "target": {
                name: kind.collate([self.goals[name][index] for index in indices]) for name, kind in self.kinds.items()
            },
            "subset": self.subset,
            "nsentences": len(samples),
            "ntokens": int(self.sizes[indices].sum()),
        }
        if self.change is None:
            return batch
        return self.change.batch(batch, [self.utterances[index].id for index in indices], self.epoch, self.kinds)

    def set_epoch(self, epoch: int) -> None:
        """Called by fairseq before each epoch: changes are drawn anew in each."""
        self.epoch = epoch

    def seconds(self, index: int) -> float | None:
        """Duration of an utterance: its span in the manifest, else that of its audio; None where neither is known."""
        utterance = self.utterances[index]
        if utterance.end is not None:
            return round(utterance.end - (utterance.start or 0.0), 3)
        sound = self.streams.get("audio")
        samples = sound.lengths[self.rows[index]] if sound is not None and not sound.dim else 0
        return round(int(samples) / SAMPLE_RATE, 3) if samples else None

    def num_tokens(self, index: int) -> int:
        """Length of the longest modality: 10 ms of audio, a token, a picture and a frame of features count one each."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices]

    def size(self, index: int) -> int:
        return int(self.sizes[index])

    def ordered_indices(self) -> np.ndarray:
        """Utterances by length; fairseq seeds NumPy with seed + epoch around the call."""
        order = np.random.permutation(len(self)) if self.shuffle else np.arange(len(self))
        return order[np.argsort(self.sizes[order], kind="stable")].astype(np.int64)

    def batch_by_size(self, indices: np.ndarray, max_tokens: int | None = None, **kwargs: Any) -> Any:
        """As fairseq's.

        Raises:
            MMFairseqError: an utterance alone is larger than `max_tokens`.
        """
        if max_tokens is not None and self.sizes[indices].max(initial=0) > max_tokens:
            worst = int(indices[self.sizes[indices].argmax()])
            raise MMFairseqError(
                f"utterance {self.utterances[worst].id!r} has {self.sizes[worst]} tokens, more than --max-tokens "
                f"{max_tokens}; give at least {self.sizes[worst]}"
            )
        return super().batch_by_size(indices, max_tokens=max_tokens, **kwargs)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return False


def _encode(kind: Kind, utterance: Utterance) -> tuple[Any, Any]:
    """The true label, and what the loss compares with."""
    label, votes = (utterance.labels.get(column, "") for column in (kind.target.name, kind.target.votes))
    try:
        return kind.encode(label), kind.goal(label, votes)
    except MMFairseqError as error:
        raise MMFairseqError(f"utterance {utterance.id!r}: {error}") from error

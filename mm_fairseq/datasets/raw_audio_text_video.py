"""One split of a data-bin as a fairseq dataset of raw audio, text and video."""

import logging
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from fairseq.data import FairseqDataset

from ..databin import Labels, Numbers, ParsedLabels, StreamReader
from ..errors import MMFairseqError
from ..manifest import Utterance
from ..targets import Kind
from .batches import CHUNK, Batches, plan
from .collate import pad
from .parts import Lengths, Truths, Utterances
from .raw_items import EMPTY, Limits, read_item

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

    It keeps 4 bytes an utterance, `sizes`; all else is looked up in files when it is asked for. N utterances.

    Args:
        data_bin: the folder.
        subset: name of the split, as predictions name it.
        rows: row numbers of the utterances in the data-bin. Shape (N).
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
        labels: target name to what its kind makes of labels; None: of those that `utterances` have.
    """

    def __init__(
        self,
        data_bin: Path,
        subset: str,
        rows: Numbers,
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
        labels: Mapping[str, Labels] | None = None,
    ) -> None:
        if not len(rows):
            raise MMFairseqError(f"{data_bin}: split {subset!r} has no utterance")
        self.subset, self.rows, self.kinds, self.shuffle = subset, rows, kinds, shuffle
        self.change, self.epoch = change, 1
        self.bos, self.pad, self.eos = symbols
        self.modalities, self.withheld, self.attributes = sorted(modalities), set(withheld), attributes
        self.limits = {name: limits.get(name, Limits()) for name in self.modalities}
        self.utterances = Utterances(utterances, rows)
        self.labels = dict(labels or {name: ParsedLabels(kind, utterances) for name, kind in kinds.items()})
        for each in self.labels.values():
            each.check(rows)
        self.truths = {name: Truths(each, rows) for name, each in self.labels.items()}
        places = {name: data_bin / (folders or {}).get(name, name) for name in self.modalities}
        self.streams = {name: StreamReader(place, rows=len(utterances)) for name, place in places.items()}
        self.features = dict(features or {})
        self.lengths = {
            name: Lengths(name, self.streams[name], rows, self.limits[name], name in self.withheld)
            for name in self.modalities
        }
        self.sizes = self._look()

    def _look(self) -> np.ndarray:
        """Sizes of all utterances, (N), int32; tells what is cut, too short, and without anything."""
        sizes = np.empty(len(self), np.int32)
        short, long = ({name: _Hits() for name in self.modalities} for _ in range(2))
        there, nothing = dict.fromkeys(self.modalities, 0), _Hits()
        for start in range(0, len(self), CHUNK):
            rows = np.asarray(self.rows[start : start + CHUNK], np.int64)
            largest, empty = np.ones(len(rows), np.int64), np.ones(len(rows), bool)
            for name in self.modalities:
                before, (shortest, longest) = self.lengths[name].before(rows), self.limits[name]
                short[name].add((before > 0) & (before < shortest), before, start)
                if longest is not None:
                    long[name].add(before > longest, before, start)
                usable = self.limits[name].usable(before)
                there[name] += int(np.count_nonzero(usable))
                empty &= usable == 0
                step = AUDIO_STEP if name == "audio" and not self.streams[name].dim else 1
                np.maximum(largest, -(-usable // step), out=largest)
            nothing.add(empty, largest, start)
            sizes[start : start + len(rows)] = largest
        for name, (shortest, longest) in self.limits.items():
            self._tell(short[name], name, f"shorter than {shortest}, taken as missing")
            self._tell(long[name], name, f"longer than {longest}, cut at the end")
        if nothing.count:
            logger.warning(
                "%s: %d of %d utterances have none of %s and are scored all the same: %s%s",
                *(self.subset, nothing.count, len(self), ", ".join(self.modalities)),
                *(", ".join(self.utterances[index].id for index, _ in nothing.first), nothing.dots),
            )
        told = ", ".join(f"{name} in {count}" for name, count in there.items())
        logger.info("%s: %d utterances; %s", self.subset, len(self), told)
        return sizes

    def _tell(self, hits: "_Hits", modality: str, what: str) -> None:
        if hits.count:
            unit = {"audio": "samples", "text": "tokens", "video": "frames"}[modality]
            unit = "frames" if self.streams[modality].dim else unit
            first = [f"{self.utterances[index].id} ({length})" for index, length in hits.first]
            logger.warning(
                "%s: %s of %d utterances, in %s, %s: %s%s",
                *(self.subset, modality, hits.count, unit, what, ", ".join(first), hits.dots),
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index, **{name: self._read(name, index) for name in self.modalities}}

    def _read(self, modality: str, index: int) -> np.ndarray | None:
        length = self.lengths[modality][index]
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
        indices = np.array([sample["index"] for sample in samples], np.int64)
        batch = {
            "id": torch.from_numpy(indices),
            "net_input": {"inputs": inputs, "padding_masks": masks},
            "target": {
                name: kind.collate(list(self.labels[name].goals(self.rows[indices])))
                for name, kind in self.kinds.items()
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
        if sound is None or sound.dim:
            return None
        samples = int(sound.lengths_of(np.array([self.rows[index]]))[0])
        return round(samples / SAMPLE_RATE, 3) if samples else None

    def num_tokens(self, index: int) -> int:
        """Length of the longest modality: 10 ms of audio, a token, a picture and a frame of features count one each."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        return self.sizes[indices].astype(np.int64)  # as fairseq's compiled code wants it

    def size(self, index: int) -> int:
        return int(self.sizes[index])

    def ordered_indices(self) -> np.ndarray:
        """Utterances by length; fairseq seeds NumPy with seed + epoch around the call."""
        order = np.arange(len(self), dtype=np.int32)
        if self.shuffle:
            np.random.shuffle(order)
        return order[np.argsort(self.sizes[order], kind="stable")].astype(np.int64)

    def batch_by_size(self, indices: np.ndarray, max_tokens: int | None = None, **kwargs: Any) -> Batches:
        """As fairseq's, without an array for each batch.

        Raises:
            MMFairseqError: an utterance alone is larger than `max_tokens`.
        """
        if max_tokens is not None and self.sizes[indices].max(initial=0) > max_tokens:
            worst = int(indices[self.sizes[indices].argmax()])
            raise MMFairseqError(
                f"utterance {self.utterances[worst].id!r} has {self.sizes[worst]} tokens, more than --max-tokens "
                f"{max_tokens}; give at least {self.sizes[worst]}"
            )
        make = partial(super().batch_by_size, max_tokens=max_tokens, **kwargs)
        return plan(indices, make, whole=kwargs.get("required_batch_size_multiple", 1) > 1)

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        return False


class _Hits:
    """How many utterances something is said of, and the first of them with their lengths."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[tuple[int, int]] = []

    def add(self, hit: np.ndarray, lengths: np.ndarray, start: int) -> None:
        """Those of a part of the split that begins at `start`. Shapes (part), bool and int64."""
        self.count += int(np.count_nonzero(hit))
        if len(self.first) < SHOWN:
            found = np.flatnonzero(hit)[: SHOWN - len(self.first)].tolist()
            self.first += [(start + place, int(lengths[place])) for place in found]

    @property
    def dots(self) -> str:
        return " ..." if self.count > len(self.first) else ""

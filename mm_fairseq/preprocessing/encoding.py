"""One cached stream: a pretrained backbone run over a raw stream, shard by shard.

A batch never leaves its shard and is chosen by lengths alone, so that a shard's bytes depend on the raw shard, the
backbone and the kind of device, and on nothing else.

B batch, T samples, tokens or frames, D features.
"""

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any

import cv2
import numpy as np
import torch

from ..backbones import Backbone
from ..databin import CachedStream, ShardWriter, StreamReader
from ..databin.format import open_shard, shard_paths
from ..datasets import EMPTY, Limits, input_lengths, pad, read_item
from ..errors import MMFairseqError
from ..media.faces import single_threaded
from .disk import disk_errors

# Samples, tokens or frames in a batch, padding counted; an item that is longer goes alone. On one core wav2vec is
# quickest one utterance at a time; small batches of tokens cost twice their work.
BUDGETS = {
    "cpu": {"audio": 0, "text": 512, "video": 32},
    "cuda": {"audio": 60 * 16000, "text": 16384, "video": 512},
}
KEPT_IN_MEMORY = 1 << 28  # bytes of a shard's features; more go through an unnamed file
READERS = {"cpu": 0, "cuda": 8}  # threads that read one batch ahead

# What damaged bytes were seen to raise beside our own errors
DAMAGE = (ValueError, TypeError, cv2.error)


@dataclass(frozen=True)
class Inputs:
    """A raw stream as a backbone is given it.

    Args:
        reader: of the raw stream.
        ids: of the utterances, in the order of its rows.
        limits: shortest and longest input.
        symbols: ids in front of and behind a text, and of padding.
        vocabulary: number of symbols in the dictionary of the data-bin; 0 where there is none.
    """

    reader: StreamReader
    ids: Sequence[str]
    limits: Limits
    symbols: tuple[int, int, int]
    vocabulary: int

    def lengths(self, modality: str) -> np.ndarray:
        """Of all inputs, before anything is cut or left out. Shape (rows)."""
        return input_lengths(modality, self.reader.lengths)


class Encoding:
    """A cached stream in the making.

    Args:
        data_bin: the folder.
        stream: what is made.
        encoder: in eval mode.
        inputs: what it is given.
        device: where it runs.
    """

    def __init__(
        self, data_bin: Path, stream: CachedStream, encoder: Backbone, inputs: Inputs, device: torch.device
    ) -> None:
        self.data_bin, self.stream, self.encoder, self.inputs, self.device = data_bin, stream, encoder, inputs, device
        self.raw, self.folder = data_bin / stream.modality, data_bin / stream.name
        self.folders = [self.folder]
        self.shards = inputs.reader.shards
        self.sizes = [len(rows) for rows in self.shards]
        self.lengths = inputs.limits.usable(inputs.lengths(stream.modality))
        self.budget, self.readers = BUDGETS[device.type][stream.modality], READERS[device.type]

    def is_done(self, shard: int) -> bool:
        """Whether the shard is there, whole, and made from the raw shard that is there now."""
        return self.stream.is_done(self.data_bin, shard)

    def process_shard(self, shard: int, advance: Callable[[], Any] = lambda: None) -> None:
        """Write one shard, whose bytes depend on the raw shard and the backbone alone."""
        torch.set_num_threads(1)
        single_threaded()
        _keep_memory()
        reader = copy.copy(self.inputs.reader)  # with maps of its own, which go with it
        rows = self.shards[shard]
        source = self._check(shard, reader)
        places: dict[int, tuple[int, int]] = {}
        writer = ShardWriter(self.folder, shard, self.stream.dtype, self.stream.dim, notes={"source": source})
        with (
            disk_errors(self.data_bin, shard_paths(self.folder, shard)[0]),
            writer,
            SpooledTemporaryFile(KEPT_IN_MEMORY, prefix=".spool.", suffix=".tmp", dir=str(self.folder)) as spool,
        ):
            for row, item in self._encode(rows, reader):
                places[row] = (spool.tell(), len(item))
                spool.write(item.tobytes())
                advance()
            for row in rows:
                writer.add(self._from_spool(spool, *places[row]) if row in places else self._item(b""))
                if row not in places:
                    advance()

    def _from_spool(self, spool: IO[bytes], start: int, length: int) -> np.ndarray:
        spool.seek(start)
        return self._item(spool.read(length * self.stream.dim * np.dtype(self.stream.dtype).itemsize))

    def _item(self, raw: bytes) -> np.ndarray:
        return np.frombuffer(raw, self.stream.dtype).reshape(-1, self.stream.dim)

    # Reading

    def _check(self, shard: int, reader: StreamReader) -> str:
        """The checksum of the raw shard, once its bytes have been seen to have it."""
        path = shard_paths(self.raw, shard)[0]
        expected = open_shard(self.raw, shard)[1]["sha256"]["bin"]
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                for row in self.shards[shard]:  # the item that cannot be read says more
                    if self.lengths[row]:
                        self._read(row, reader)
                first, last = (self.inputs.ids[self.shards[shard][end]] for end in (0, -1))
                raise MMFairseqError(
                    f"{path}: not the bytes of its receipt, an item of the utterances {first!r} to {last!r} is "
                    "damaged: binarize again"
                )
        return expected

    def _read(self, row: int, reader: StreamReader) -> np.ndarray:
        """The input of one utterance.

        Raises:
            MMFairseqError: the stored item is damaged; names file and utterance.
        """
        modality, length, (bos, _, eos) = self.stream.modality, int(self.lengths[row]), self.inputs.symbols
        try:
            item = read_item(modality, reader[row], length, bos, eos)
            reason = f"{len(item)} instead of {length} long" if len(item) != length else ""
            if modality == "text" and not 0 <= item.min() <= item.max() < self.inputs.vocabulary:
                reason = f"token ids are {item.min()} to {item.max()}, dict.txt has {self.inputs.vocabulary} symbols"
        except (MMFairseqError, *DAMAGE) as error:
            reason = str(error)
        if reason:
            shard = next(number for number, rows in enumerate(self.shards) if row in rows)
            raise MMFairseqError(
                f"{shard_paths(self.raw, shard)[0]}: utterance {self.inputs.ids[row]!r} is damaged: {reason}; "
                "binarize again"
            )
        return item

    def _batches(self, rows: range) -> list[list[int]]:
        """The rows that have an input, the longest first, in groups whose padded size keeps to the budget."""
        order = sorted((row for row in rows if self.lengths[row]), key=lambda row: (-self.lengths[row], row))
        batches: list[list[int]] = []
        for row in order:
            if batches and self.lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= self.budget:
                batches[-1].append(row)
            else:
                batches.append([row])
        return batches

    def _loaded(self, rows: range, reader: StreamReader) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Batches with their inputs; for a GPU threads read the next one meanwhile."""
        batches = self._batches(rows)
        if not self.readers:
            yield from ((batch, [self._read(row, reader) for row in batch]) for batch in batches)
            return
        with ThreadPoolExecutor(self.readers) as pool:
            ahead = None
            for batch in [*batches, None]:
                following = batch and (batch, [pool.submit(self._read, row, reader) for row in batch])
                if ahead:
                    yield ahead[0], [future.result() for future in ahead[1]]
                ahead = following

    # Encoding

    def _encode(self, rows: range, reader: StreamReader) -> Iterator[tuple[int, np.ndarray]]:
        """Row and features [T, D] of every utterance that has an input."""
        fill = self.inputs.symbols[1] if self.stream.modality == "text" else 0
        for batch, items in self._loaded(rows, reader):
            if len(items) == 1:
                x = torch.from_numpy(items[0])[None].to(self.device)
                mask = torch.zeros(x.shape[:2], dtype=torch.bool, device=self.device)
            else:
                x, mask = (each.to(self.device) for each in pad(items, fill, EMPTY[self.stream.modality]))
            try:
                with torch.inference_mode():
                    features, mask = self.encoder.stored(x, mask)
                    counts = (~mask).sum(1).tolist()
                    kept = self._checked(features, batch, counts)
            except torch.OutOfMemoryError as error:
                raise MMFairseqError(
                    f"{self.device}: out of memory with {len(batch)} utterances of at most {x.shape[1]}, among them "
                    f"{self.inputs.ids[batch[0]]!r}; cut longer ones by --max-positions-{self.stream.modality[0]} or "
                    "use --device cpu"
                ) from error
            for place, (row, count) in enumerate(zip(batch, counts, strict=True)):
                yield row, kept[place, :count]

    def _checked(self, features: torch.Tensor, batch: list[int], counts: list[int]) -> np.ndarray:
        """In the stream's type. Shape (B, T, D).

        Raises:
            MMFairseqError: a number is not finite, or the type cannot hold it; names the utterance.
        """
        dtype = self.stream.dtype
        if features.shape[2] != self.stream.dim:
            raise MMFairseqError(f"{self.stream.name}: {features.shape[2]} features, {self.stream.dim} expected")
        stored = features.to(getattr(torch, dtype)).cpu().numpy()
        fits = np.isfinite(stored) if features.is_floating_point() else (features.cpu().numpy() == stored)
        if not fits.all():
            place = next((place for place, count in enumerate(counts) if not fits[place, :count].all()), 0)
            utterance = self.inputs.ids[batch[place]]
            told = f"{self.stream.modality} backbone {self.stream.backbone!r}, utterance {utterance!r}"
            if not torch.isfinite(features[place]).all():
                raise MMFairseqError(f"{told}: features are not finite numbers")
            largest = features[place].abs().max().item()
            raise MMFairseqError(
                f"{told}: {largest:g} is too large for {dtype}" + ("; use --dtype float32" * (dtype == "float16"))
            )
        return stored


@cache
def _keep_memory() -> None:
    """Have memory that a batch frees used again by the next: to ask the system for it anew takes a sixth of the time.

    glibc keeps free blocks as large as the largest that it has seen come and go, up to 32 MiB (mallopt(3), under
    M_MMAP_THRESHOLD); other allocators do not mind.
    """
    np.empty(31 << 20, np.uint8)

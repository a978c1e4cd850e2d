"""Cached streams: what a backbone made of a raw stream, kept beside it in the folder `MODALITY@BACKBONE-DIGEST`.

A cached stream has the same rows and shards as its raw stream. `stream.json`, written first, says what it was made
with; the folder's name has a digest of that, so that those of different backbones, layers or files stand side by side.
What it says of `made`, where the pretrained file lay, is no part of the digest.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import HeldError, locked, write_atomic
from ..errors import MMFairseqError
from . import joined, sums
from .format import open_shard, shard_paths
from .joined import ABOUT
from .reader import StreamReader

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CachedStream:
    """How a cached stream was made.

    Args:
        modality: the raw stream it was made from.
        backbone: registered name.
        args: of the backbone, its layer among them.
        sha256: of its pretrained files, by option.
        longest: inputs were cut at so many samples, tokens or frames; None: nowhere.
        symbols: ids put in front of and behind a text; empty for other modalities.
        dtype: of the elements.
        dim: D of the items [T, D].
        made: `{"backbone", "frames", "dtype"}`, as `extract` was told them last; empty in those of older versions.
    """

    modality: str
    backbone: str
    args: dict[str, Any]
    sha256: dict[str, str]
    longest: int | None
    symbols: tuple[int, ...]
    dtype: str
    dim: int
    made: dict[str, Any] = field(default_factory=dict, compare=False)

    @cached_property
    def name(self) -> str:
        """Name of its folder."""
        told = {key: value for key, value in asdict(self).items() if key != "made"}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return f"{self.modality}@{self.backbone}-{digest[:12]}"

    def write(self, data_bin: Path) -> Path:
        """Make its folder, with `stream.json`; returns the folder."""
        folder = data_bin / self.name
        folder.mkdir(exist_ok=True)
        content = (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()
        if not (folder / ABOUT).is_file() or (folder / ABOUT).read_bytes() != content:
            (folder / sums.NAME).unlink(missing_ok=True)
            write_atomic(folder / ABOUT, content)
        return folder

    def is_done(self, data_bin: Path, shard: int) -> bool:
        """Whether a shard is there, whole, and made from the raw shard that is there now."""
        try:
            index, receipt = open_shard(data_bin / self.name, shard)
            raw, source = open_shard(data_bin / self.modality, shard)
        except MMFairseqError:
            return False
        return len(index) == len(raw) and receipt["notes"].get("source") == source["sha256"]["bin"]

    def open(self, data_bin: Path, rows: int) -> StreamReader:
        """A reader of all its items.

        The first one to open it whole writes its joined index, if it may write there; who opens it then reads no shard.

        Raises:
            MMFairseqError: a shard is missing, damaged, or was made from other raw data; a file was cut short.
        """
        folder = data_bin / self.name
        own, raw = joined.read(folder), joined.read(data_bin / self.modality)
        if own is not None and raw is not None and np.array_equal(own.table[:]["source"], raw.table[:]["bin"]):
            return StreamReader(folder, rows)
        shards = len(list((data_bin / self.modality).glob("shard-*.json")))
        undone = [shard for shard in range(shards) if not self.is_done(data_bin, shard)]
        if undone:
            place = shard_paths(folder, undone[0])[0].with_suffix("")
            raise MMFairseqError(
                f"{place}: {len(undone)} of {shards} shards are missing, damaged or of other raw data; go on with "
                "`mm-fairseq extract --resume`"
            )
        sums.check_sizes(folder)
        reader = StreamReader(folder, rows, anew=True)
        try:
            with locked(folder, wait=0):
                reader.index.write(folder)
        except (HeldError, OSError):  # another one is at it, or nobody may write there
            logger.debug("%s: no joined index was written", folder)
        return reader


def cached_streams(data_bin: Path, modality: str) -> list[CachedStream]:
    """All cached streams of a modality, finished or not.

    Raises:
        MMFairseqError: a `stream.json` is damaged.
    """
    return [cached_stream(path) for path in sorted(data_bin.glob(f"{modality}@*/{ABOUT}"))]


def cached_stream(path: Path) -> CachedStream:
    """What a `stream.json` says.

    Raises:
        MMFairseqError: it is missing or damaged.
    """
    try:
        about: Mapping[str, Any] = json.loads(path.read_bytes())
        stream = CachedStream(**{**about, "symbols": tuple(about["symbols"])})
        name = stream.name
        if not isinstance(stream.made, dict):
            raise TypeError("`made` is no object")
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        what = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "damaged"
        raise MMFairseqError(f"{path}: {what}; {sums.MEND}, or extract again") from error
    if name != path.parent.name:
        told = f"damaged, or does not belong to its folder (expected {name})"
        raise MMFairseqError(f"{path}: {told}; {sums.MEND}, or extract again")
    return stream

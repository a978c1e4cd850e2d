"""A data-bin as a whole: how it was made, its rows, its protocols, folds and splits."""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..atomic import write_atomic
from ..errors import MMFairseqError
from ..manifest import Manifest
from ..targets import Kind
from . import sums
from .arrays import FileArray
from .labels import Labels, ParsedLabels, StoredLabels, fits
from .lookup import MANIFEST, QUARANTINE, Lookup, StoredManifest, label_paths, read_lookup

META = "meta.json"
_SMALL = (MANIFEST, "targets.json", "dict.txt", QUARANTINE, "rows.npy", "lookup.json", "labels/*.npy")


class Place(NamedTuple):
    """One fold of a protocol."""

    protocol: str
    fold: str


class DataBin:
    """A folder that `mm-fairseq binarize` wrote.

    Args:
        path: the folder; read when something of it is asked for.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    @cached_property
    def meta(self) -> dict[str, Any]:
        """How it was made.

        Raises:
            MMFairseqError: it is no data-bin, damaged, or not finished; or a file beside its streams was cut short.
        """
        path = self.path / META
        if not path.is_file():
            raise MMFairseqError(f"{self}: not a data-bin (no meta.json); `mm-fairseq binarize` writes one")
        try:
            meta = json.loads(path.read_bytes())
            complete = meta.get("complete")
        except (ValueError, AttributeError, RecursionError) as error:
            raise MMFairseqError(f"{path}: damaged ({error!s:.200}); {sums.MEND}, or binarize again") from error
        if not complete:
            raise MMFairseqError(f"{self}: binarizing was not finished; go on with `mm-fairseq binarize --resume`")
        sums.check_sizes(self.path)
        return meta

    @cached_property
    def _lookup(self) -> Lookup | None:
        return read_lookup(self.path)

    @cached_property
    def manifest(self) -> Manifest | StoredManifest:
        """Its rows; they stay in the file unless it was changed since it was binarized."""
        return Manifest.read(self.path / MANIFEST) if self._lookup is None else self._lookup.manifest

    def labels(self, kind: Kind) -> Labels:
        """What a kind makes of the labels of its target."""
        name = kind.target.name
        stored = self._lookup.targets.get(name) if self._lookup is not None else None
        if stored is None or not fits(kind, stored):
            return ParsedLabels(kind, self.manifest.utterances)
        truths, votes = label_paths(self.path, name)
        return StoredLabels(kind, FileArray.npy(truths), FileArray.npy(votes) if kind.soft else None)

    def dim(self, modality: str) -> int:
        """D, where the corpus brings features [T, D] of a modality; 0 where it is raw data or not there."""
        return int(self.meta["streams"].get(modality, {}).get("dim", 0))

    @property
    def protocols(self) -> dict[str, list[str]]:
        """Protocol to its folds, the default first.

        Raises:
            MMFairseqError: there is none.
        """
        protocols = {entry["name"]: [str(fold) for fold in entry["folds"]] for entry in self.meta["protocols"]}
        if not protocols:
            raise MMFairseqError(
                f"{self}: no utterance belongs to a split; fill the manifest's column `split` and binarize again"
            )
        return protocols

    def check_sample_rate(self, rate: int) -> None:
        """See that its audio has `rate` Hz.

        Raises:
            MMFairseqError: it has another rate.
        """
        if (found := self.meta["sample_rate"]) != rate:
            raise MMFairseqError(f"{self}: audio of {found} Hz; backbones need {rate} Hz: binarize again")

    def place(self, protocol: str = "", fold: str = "") -> Place:
        """The protocol and fold that are meant; the first where none is named.

        Raises:
            MMFairseqError: there is no such protocol or fold.
        """
        protocols = self.protocols
        protocol = protocol or next(iter(protocols))
        if protocol not in protocols:
            raise MMFairseqError(f"--protocol {protocol!r}; {self} has {', '.join(protocols)}")
        fold = fold or protocols[protocol][0]
        if fold not in protocols[protocol]:
            raise MMFairseqError(f"--fold {fold!r}; protocol {protocol} has {', '.join(protocols[protocol])}")
        return Place(protocol, fold)

    def splits(self, place: Place) -> list[str]:
        """Names of the splits of a fold."""
        return sorted(file.stem for file in self.path.glob(f"splits/{place.protocol}/{place.fold}/*.npy"))

    def split(self, place: Place, split: str) -> FileArray:
        """Row numbers of a split, left in the file. Shape (rows), integers.

        Raises:
            MMFairseqError: the fold has no such split.
        """
        if split not in (there := self.splits(place)):
            raise MMFairseqError(
                f"{self}: no split {split!r} in {place.protocol}, fold {place.fold}; it has {', '.join(there)}"
            )
        return FileArray.npy(self.path / "splits" / place.protocol / place.fold / f"{split}.npy")


def complete(data_bin: Path, meta: Mapping[str, Any]) -> None:
    """Write the sums of all that stands beside the streams, then the meta data, which makes a data-bin complete."""
    content = meta_bytes({**meta, "complete": True})
    tokenizer = (meta.get("tokenizer") or {}).get("files", [])
    paths = {path for pattern in (*_SMALL, "splits/*/*/*.npy", *tokenizer) for path in data_bin.glob(pattern)}
    names = [path.relative_to(data_bin).as_posix() for path in paths if not path.name.startswith(".")]
    lists = [f"{stream}/{sums.NAME}" for stream in meta["streams"]]
    known = {name: sums.Sum.of_file(data_bin / name) for name in lists}
    sums.seal(data_bin, names, known, {META: content})
    write_atomic(data_bin / META, content)


def meta_bytes(meta: Mapping[str, Any]) -> bytes:
    """Meta data as they stand in their file."""
    return (json.dumps(meta, ensure_ascii=False, indent=1) + "\n").encode()


def fingerprint(data_bin: Path) -> str:
    """Sha256 of what a data-bin holds: its rows, its splits and the receipts of its raw shards, wherever it lies."""
    digest = hashlib.sha256()
    with open(data_bin / MANIFEST, "rb") as file:
        file.readline()  # without the root
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    raw = (path for path in data_bin.glob("*/shard-*.json") if "@" not in path.parent.name)
    for path in sorted([*raw, *data_bin.glob("splits/*/*/*.npy")]):
        digest.update(f"{path.relative_to(data_bin).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()

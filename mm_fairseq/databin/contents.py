"""What the files beside the streams of a data-bin say: against each other, and against the manifest. N rows."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError
from ..manifest import Manifest
from ..targets import Target, read_targets
from .arrays import FileArray
from .labels import encode
from .lookup import ABOUT, MANIFEST, QUARANTINE, ROWS, describe, label_paths, line_ends
from .streams import Fault

SPECIALS = 4  # numbers before the first of dict.txt: <s>, <pad>, </s>, <unk>


def check_contents(data_bin: Path, meta: dict[str, Any]) -> Iterator[Fault]:
    """Manifest, targets, labels, splits and account of the utterances."""
    try:
        manifest = Manifest.read(data_bin / MANIFEST)
    except MMFairseqError as error:
        yield _fault(data_bin, MANIFEST, error)
        return
    if len(manifest) != meta["rows"]:
        yield Fault(MANIFEST, f"{len(manifest)} rows, meta.json says {meta['rows']}")
    try:
        targets = read_targets(data_bin / "targets.json")
    except MMFairseqError as error:
        yield _fault(data_bin, "targets.json", error)
    else:
        yield from _lookup(data_bin, manifest, targets)
    for entry in meta["protocols"]:
        for fold in entry["folds"]:
            yield from _fold(data_bin, Path("splits", entry["name"], str(fold)), len(manifest))
    yield from _account(data_bin, {row.id for row in manifest.utterances})


def vocabulary(data_bin: Path) -> int | None:
    """Number of symbols of its dictionary; None where it has none."""
    try:
        return SPECIALS + (data_bin / "dict.txt").read_bytes().count(b"\n")
    except OSError:
        return None


def _fault(data_bin: Path, name: str, error: Exception) -> Fault:
    return Fault(name, str(error).removeprefix(f"{data_bin / name}: "))


def _lookup(data_bin: Path, manifest: Manifest, targets: list[Target]) -> Iterator[Fault]:
    ends, size, crc = line_ends(data_bin / MANIFEST)
    try:
        if not np.array_equal(FileArray.npy(data_bin / ROWS)[:], ends[1:]):
            yield Fault(ROWS, f"not where the rows of {MANIFEST} begin")
    except MMFairseqError as error:
        yield _fault(data_bin, ROWS, error)
    try:
        told = json.loads((data_bin / ABOUT).read_bytes())
        if told != describe(size, crc, len(manifest), targets):
            yield Fault(ABOUT, f"of another {MANIFEST} or other targets than there are now")
    except (OSError, ValueError, RecursionError) as error:
        yield Fault(ABOUT, f"cannot be read: {error!s:.200}")
    for target in targets:
        try:
            arrays = encode(target, manifest.utterances)
        except MMFairseqError as error:
            yield Fault(MANIFEST, str(error))
            continue
        for path, array in zip(label_paths(data_bin, target.name), arrays, strict=True):
            name = path.relative_to(data_bin).as_posix()
            try:
                if array is None:
                    continue
                found = FileArray.npy(path)
                if (found.shape, found.dtype) != (array.shape, array.dtype) or not np.array_equal(
                    found[:], array, equal_nan=array.dtype.kind == "f"
                ):
                    yield Fault(name, f"not the labels of {MANIFEST}")
            except MMFairseqError as error:
                yield _fault(data_bin, name, error)


def _fold(data_bin: Path, folder: Path, rows: int) -> Iterator[Fault]:
    paths = sorted((data_bin / folder).glob("*.npy"))
    if not paths:
        yield Fault(folder.as_posix(), "missing: meta.json has this fold")
    for path in paths:
        name = path.relative_to(data_bin).as_posix()
        try:
            array = FileArray.npy(path)
            numbers = array[:]
        except MMFairseqError as error:
            yield _fault(data_bin, name, error)
            continue
        if array.dtype.kind != "i" or numbers.ndim != 1:
            yield Fault(name, f"{array.dtype} {array.shape}, expected whole numbers (rows,)")
        elif len(numbers) and not 0 <= numbers.min() <= numbers.max() < rows:
            yield Fault(name, f"rows {numbers.min()} to {numbers.max()}, there are {rows}")
        elif len(np.unique(numbers)) != len(numbers):
            yield Fault(name, "a row stands twice")


def _account(data_bin: Path, ids: set[str]) -> Iterator[Fault]:
    name = QUARANTINE
    if not (data_bin / name).is_file():
        return
    for line, raw in enumerate((data_bin / name).read_bytes().splitlines(), start=1):
        try:
            entry = json.loads(raw)
            if entry["id"] not in ids:
                yield Fault(name, f"line {line}: no utterance {str(entry['id'])[:200]!r} in {MANIFEST}")
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            yield Fault(name, f"line {line}: not an entry of a quarantine: {error!s:.200}")

"""Rows and labels of a data-bin by number, without its whole manifest in memory.

`rows.npy` (N + 1, int64) says where the rows begin in `manifest.tsv`, in bytes; `labels/<target>.npy` has the labels as
numbers and `labels/<target>.votes.npy` those of soft targets; `lookup.json`, written last, says of which manifest and
targets they were made. Nothing else of a data-bin depends on them: where they are missing, or the manifest was changed
since, all is read from the manifest. N rows.
"""

import json
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import save_array, write_atomic
from ..errors import MMFairseqError
from ..manifest import OnDemand, Utterance, parse_row, read_head
from ..targets import Target
from .arrays import FileArray, Numbers, Seen
from .labels import encode

logger = logging.getLogger(__name__)

ABOUT = "lookup.json"
ROWS = "rows.npy"
MANIFEST, QUARANTINE = "manifest.tsv", "quarantine.jsonl"
_CHUNK = 1 << 20


class ManifestRows(OnDemand[Utterance]):
    """The rows of a manifest, each read from the file when it is asked for.

    Args:
        path: of the manifest.
        header: the names of its columns.
        offsets: where rows begin, in bytes. Shape (N + 1).
        seen: the file, when it was seen to have these rows.
    """

    def __init__(self, path: Path, header: list[str], offsets: Numbers, seen: Seen) -> None:
        self.path, self.header, self.offsets = path, header, offsets
        first, last = int(offsets[0]), int(offsets[len(offsets) - 1])
        self._text = FileArray(path, "u1", (last,), 0, seen)
        self._first, self._seen = first, seen

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def item(self, number: int) -> Utterance:
        start, end = self.offsets[number : number + 2].tolist()
        return self._parse(self._text[start:end].tobytes(), number)

    def __iter__(self) -> Iterator[Utterance]:
        with open(self.path, "rb") as file:
            self._seen.check(self.path, file.fileno())
            file.seek(self._first)
            for row in range(len(self)):
                yield self._parse(file.readline(), row)

    def _parse(self, raw: bytes, row: int) -> Utterance:
        where = f"{self.path}:{row + 3}"
        if not raw.endswith(b"\n") or raw.count(b"\n") > 1:
            raise MMFairseqError(f"{where}: not the row that {ROWS} knows: binarize again with --resume")
        return parse_row(raw[:-1].decode("utf-8"), self.header, where)


class Ids(OnDemand[str]):
    """The ids of utterances."""

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self.utterances = utterances

    def __len__(self) -> int:
        return len(self.utterances)

    def item(self, number: int) -> str:
        return self.utterances[number].id


@dataclass(frozen=True)
class StoredManifest:
    """A `Manifest` whose rows stay in its file.

    Args:
        root: the folder that paths are relative to.
        extra: the names of the columns behind the fixed ones.
        utterances: the rows.
    """

    root: Path
    extra: list[str]
    utterances: ManifestRows

    def __len__(self) -> int:
        return len(self.utterances)


@dataclass(frozen=True)
class Lookup:
    """What was looked up when the data-bin was made.

    Args:
        manifest: its rows.
        targets: name to the target whose labels stand in a file.
    """

    manifest: StoredManifest
    targets: dict[str, Target]


def write_lookup(data_bin: Path, targets: Sequence[Target], utterances: Sequence[Utterance]) -> None:
    """Write the files of this module; the bytes depend on manifest and targets alone.

    Args:
        data_bin: the folder, with its manifest.
        targets: those whose labels are written.
        utterances: the rows of its manifest.

    Raises:
        MMFairseqError: the manifest does not have these rows, or a label is none of its target's.
    """
    (data_bin / ABOUT).unlink(missing_ok=True)
    ends, size, crc = line_ends(data_bin / MANIFEST)
    if len(ends) - 2 != len(utterances):
        raise MMFairseqError(f"{data_bin / MANIFEST}: {len(ends) - 2} rows, {len(utterances)} expected")
    save_array(data_bin / ROWS, ends[1:])
    (data_bin / "labels").mkdir(exist_ok=True)
    for target in targets:
        truths, votes = encode(target, utterances)
        for path, array in zip(label_paths(data_bin, target.name), (truths, votes), strict=True):
            if array is None:
                path.unlink(missing_ok=True)
            else:
                save_array(path, array)
    about = describe(size, crc, len(utterances), targets)
    write_atomic(data_bin / ABOUT, (json.dumps(about, ensure_ascii=False, indent=1) + "\n").encode())


def describe(size: int, crc: int, rows: int, targets: Sequence[Target]) -> dict[str, Any]:
    """What `lookup.json` says, in plain types.

    Args:
        size: of the manifest, in bytes.
        crc: CRC-32 of these.
        rows: how many it has.
        targets: those whose labels stand in files.
    """
    told = [asdict(target) | {"classes": list(target.classes)} for target in targets]
    return {"manifest": {"bytes": size, "crc32": crc}, "rows": rows, "targets": told}


def read_lookup(data_bin: Path) -> Lookup | None:
    """What `write_lookup` wrote; None where it is missing or of another manifest."""
    path = data_bin / ABOUT
    try:
        about: dict[str, Any] = json.loads(path.read_bytes())
        told, rows = about["manifest"], about["rows"]
        targets = [Target(**(entry | {"classes": tuple(entry["classes"])})) for entry in about["targets"]]
        offsets, seen = FileArray.npy(data_bin / ROWS), Seen.of(os.stat(data_bin / MANIFEST))
        if len(offsets) != rows + 1 or not _is_of(data_bin / MANIFEST, path, told["bytes"], told["crc32"]):
            return None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        logger.warning("%s: damaged (%.200s); the manifest is read instead", path, error)
        return None
    with open(data_bin / MANIFEST, "rb") as file:
        seen.check(data_bin / MANIFEST, file.fileno())
        lines = [file.readline().decode("utf-8-sig").rstrip("\n") for _ in range(2)]
    root, header, extra = read_head(data_bin / MANIFEST, lines)
    manifest = StoredManifest(root, extra, ManifestRows(data_bin / MANIFEST, header, offsets, seen))
    return Lookup(manifest, {target.name: target for target in targets})


def label_paths(data_bin: Path, target: str) -> tuple[Path, Path]:
    """The files of its labels and of what its votes say."""
    return data_bin / "labels" / f"{target}.npy", data_bin / "labels" / f"{target}.votes.npy"


def _is_of(manifest: Path, about: Path, size: int, crc: int) -> bool:
    """Whether the manifest is still the one that was looked up; only one that is younger than that is read for it."""
    found = os.stat(manifest)
    if found.st_size == size and found.st_mtime_ns < os.stat(about).st_mtime_ns:
        return True
    if found.st_size == size and line_ends(manifest, crc_only=True)[2] == crc:
        return True
    logger.warning("%s: changed since it was binarized; all of it is read into memory", manifest)
    return False


def line_ends(path: Path, crc_only: bool = False) -> tuple[np.ndarray, int, int]:
    """Where lines end, in bytes; the size of the file and the CRC-32 of its bytes."""
    ends, size, crc = [], 0, 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            if not crc_only:
                ends.append(np.flatnonzero(np.frombuffer(chunk, np.uint8) == 10) + size + 1)
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return np.concatenate([np.zeros(0, np.int64), *ends]), size, crc

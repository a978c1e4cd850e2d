"""Mends what `databin.verify` found broken in a data-bin; the corpus as it was prepared is not needed for it.

Files beside the shards come from their copies in `spare/`, raw shards from the recordings by the data-bin's own
manifest and settings, shards of cached streams from the raw ones by the pretrained file that `stream.json` names. What
is made anew takes its place only with the bytes that were written at first; features may differ by the device.
"""

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ..atomic import locked, open_atomic
from ..backbones import unsafe_checkpoints
from ..databin import DataBin, StreamReader, complete, remove_shard, sums
from ..databin.contents import check_contents
from ..databin.features import cached_stream
from ..databin.folder import META
from ..databin.format import parse_receipt, shard_paths
from ..databin.joined import ABOUT
from ..databin.lookup import MANIFEST
from ..databin.streams import Fault, compare
from ..databin.verify import beside
from ..errors import MMFairseqError
from ..manifest import Manifest
from ..media.faces import single_threaded
from . import extract
from .disk import disk_errors
from .engines import run_shards
from .items import RAW, Form, Settings, feature_form
from .job import Job
from .prepared import Prepared

SCRATCH = ".repair"
_RESUME = "`mm-fairseq binarize PREPARED DATA_BIN --resume`"
_SHARD = re.compile(r"shard-(\d+)\.(?:bin|idx|json)")


class Rebuild(Job):
    """The raw shards of a data-bin that is there, made anew from what it says of itself.

    Args:
        data_bin: the folder.
        meta: its meta data.
    """

    def __init__(self, data_bin: Path, meta: dict[str, Any]) -> None:
        manifest = Manifest.read(data_bin / MANIFEST)
        self.data_bin, self.corpus, self.meta = data_bin, Prepared(manifest, [], [], {}, {}), meta
        try:
            told = {key: meta[key] for key in ("fps", "frame_size", "faces", "shard_size")}
            chosen = meta["settings"] | {"modalities": tuple(meta["settings"]["modalities"])}
            self.rows, self.settings, self.size = manifest.utterances, Settings(**told, **chosen), meta["shard_size"]
            self.streams: dict[str, Form] = {
                name: feature_form(form["dim"]) if form["dim"] else RAW[name] for name, form in meta["streams"].items()
            }
        except (KeyError, TypeError) as error:
            raise MMFairseqError(f"{META} does not say how the shards were made ({error}); binarize anew") from error
        self.budget = None  # nothing is decided anew
        self.sizes = [min(self.size, len(self.rows) - first) for first in range(0, len(self.rows), self.size)]
        self._open()
        self.data_bin = data_bin / SCRATCH  # what items are made with is read from the data-bin itself


def repair(data_bin: Path, faults: Sequence[Fault], workers: int = 1, unsafe: bool = False) -> list[str]:
    """Mend what can be mended.

    Args:
        data_bin: the folder.
        faults: of its files.
        workers: processes.
        unsafe: pretrained files may hold more than plain types.

    Returns:
        What was done and what could not be, in lines.

    Raises:
        MMFairseqError: another process is writing there.
    """
    by_stream: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        folder = fault.path.partition("/")[0]
        if folder not in (sums.SPARE, "splits", "labels"):
            by_stream[folder].append(Fault(fault.path[len(folder) + 1 :], fault.reason))
    lines: list[str] = []
    with disk_errors(data_bin), unsafe_checkpoints(unsafe):
        with locked(data_bin):
            lines += _restore(data_bin)
            meta = _meta(data_bin)
            if meta is None:
                return [*lines, f"{META} cannot be mended; binarize anew"]
            for name in meta["streams"]:
                if name in by_stream:
                    lines += _attempt(name, _raw(data_bin, meta, name, by_stream[name], workers))
            lines += _attempt(sums.NAME, _seal(data_bin, meta))
        for name in sorted(name for name in by_stream if "@" in name):
            lines += _attempt(name, _cached(data_bin, name, by_stream[name], workers))
    return lines


def _attempt(what: str, done: Iterator[str]) -> list[str]:
    lines = []
    try:
        for line in done:
            lines.append(line)
    except MMFairseqError as error:
        lines.append(f"{what} cannot be mended: {error}")
    return lines


# Files beside the shards


def _restore(folder: Path) -> Iterator[str]:
    """Put copies in the place of small files that are not what was written, and the other way round."""
    try:
        listed, whole = sums.parse((folder / sums.NAME).read_bytes())
    except OSError:
        listed, whole = {}, False
    copies = {path.relative_to(folder / sums.SPARE).as_posix() for path in (folder / sums.SPARE).rglob("*")}
    names = {name.removeprefix(f"{sums.SPARE}/") for name in listed if name.startswith(f"{sums.SPARE}/")} | copies
    for name in sorted(names):
        pair = (name, f"{sums.SPARE}/{name}")
        if (folder / pair[0]).is_dir() or (folder / pair[1]).is_dir():
            continue
        known = listed.get(pair[0]) or listed.get(pair[1])
        if known is None:
            continue
        good = [each for each in pair if not compare(folder / each, known)]
        if len(good) == 1:
            target = folder / next(each for each in pair if each not in good)
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(folder / good[0], "rb") as source, open_atomic(target) as out:
                shutil.copyfileobj(source, out)
            yield f"{target.relative_to(folder)}: taken from {good[0]}"
        elif not good and whole:
            again = "`mm-fairseq extract --resume`" if "@" in folder.name else _RESUME
            yield f"{name} and its copy are both broken; {again} writes it anew"


def _meta(data_bin: Path) -> dict[str, Any] | None:
    try:
        meta = json.loads((data_bin / META).read_bytes())
        return meta if meta["complete"] and meta["streams"] else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _seal(data_bin: Path, meta: dict[str, Any]) -> Iterator[str]:
    """Write the list of the data-bin anew where it is missing or damaged, and nothing else is."""
    faults = list(beside(data_bin))
    if not faults:
        return
    lists = {sums.NAME, *(f"{name}/{sums.NAME}" for name in meta["streams"])}
    if other := [fault for fault in faults if fault.path not in lists]:
        raise MMFairseqError(f"{other[0].path}: {other[0].reason}, and nobody knows which is right; {_RESUME}")
    for fault in check_contents(data_bin, meta):
        raise MMFairseqError(f"{fault.path}: {fault.reason}; {_RESUME}")
    for name in meta["streams"]:
        StreamReader(data_bin / name, meta["rows"])
    complete(data_bin, meta)
    yield f"{sums.NAME}: written anew"


# Raw streams


def _raw(data_bin: Path, meta: dict[str, Any], name: str, faults: Sequence[Fault], workers: int) -> Iterator[str]:
    folder = data_bin / name
    rebuild = Rebuild(data_bin, meta)
    there = range(len(rebuild.sizes))
    shards, further = _broken(folder, faults, there)
    for shard in further:
        remove_shard(folder, shard)
        yield f"{name}: shard {shard} does not belong there, removed"
    if shards:
        rebuild.streams = {name: rebuild.streams[name]}
        shutil.rmtree(rebuild.data_bin, ignore_errors=True)
        try:
            single_threaded()  # before workers are forked
            total = sum(rebuild.sizes[shard] for shard in shards)
            run_shards(rebuild.process_shard, shards, workers, total, what=f"repair {name}")
            known = _known(folder)
            compared = [_check_same(rebuild.data_bin / name, folder, shard, known) for shard in shards]
            if not all(compared):
                _check_list(rebuild.data_bin / name, folder, meta["rows"])
            for shard in shards:
                _move(rebuild.data_bin / name, folder, shard)
                yield f"{name}: shard {shard} made anew from the recordings"
        finally:
            shutil.rmtree(rebuild.data_bin, ignore_errors=True)
    yield from _index(folder, meta["rows"])


def _broken(folder: Path, faults: Iterable[Fault], there: range) -> tuple[list[int], list[int]]:
    """The shards that have a fault or are missing, and those that are too many."""
    named = {int(found[1]) for fault in faults if (found := _SHARD.fullmatch(fault.path))}
    missing = {shard for shard in there if not all(path.is_file() for path in shard_paths(folder, shard))}
    return sorted((named & set(there)) | missing), sorted(named - set(there))


def _known(folder: Path) -> dict[str, sums.Sum]:
    try:
        return sums.read(folder) or {}
    except MMFairseqError:
        return {}


def _check_same(made: Path, folder: Path, shard: int, known: dict[str, sums.Sum]) -> bool:
    """See that a shard made anew has the bytes of the first one; returns whether these are known.

    Raises:
        MMFairseqError: it has not.
    """
    paths = shard_paths(folder, shard)
    expected = {path.name: known[path.name] for path in paths if path.name in known}
    try:
        receipt = parse_receipt(paths[2].read_bytes(), paths[2].name)
        told = (receipt["bytes"], (made / paths[1].name).stat().st_size)
        for path, size in zip(paths, told, strict=False):
            expected.setdefault(path.name, sums.Sum(size, receipt["sha256"][path.suffix[1:]]))
    except (OSError, MMFairseqError):
        pass
    for name, entry in expected.items():
        if compare(made / name, entry):
            raise _changed(f"{name} made anew is not what it was")
    return all(path.name in expected for path in paths[:2])


def _check_list(made: Path, folder: Path, rows: int) -> None:
    """The same by the list of a stream, of which the data-bin has the checksum; for where the list itself is damaged.

    Raises:
        MMFairseqError: with the shards made anew it is not the one of then, or nobody knows that one.
    """
    expected = sums.parse(_bytes(folder.parent / sums.NAME))[0].get(f"{folder.name}/{sums.NAME}")
    if expected is None:
        raise MMFairseqError(f"neither {sums.NAME} nor that of the data-bin tells what was there; {_RESUME}")
    for path in folder.glob("shard-*.*"):
        if not (made / path.name).exists():
            (made / path.name).symlink_to(path.resolve())
    StreamReader(made, rows, anew=True).index.write(made)
    if compare(made / sums.NAME, expected):
        raise _changed("with the shards made anew it is not what it was")


def _changed(what: str) -> MMFairseqError:
    return MMFairseqError(
        f"{what}: recordings have changed, or libraries (those of then are in {META} under `versions`); binarize anew "
        "with --overwrite"
    )


def _move(made: Path, folder: Path, shard: int) -> None:
    """Put a shard into its place, which may be on another disk; the receipt goes first and comes last."""
    folder.mkdir(exist_ok=True)
    places = shard_paths(folder, shard)
    places[2].unlink(missing_ok=True)
    for source, place in zip(shard_paths(made, shard), places, strict=True):
        with open(source, "rb") as file, open_atomic(place) as out:
            shutil.copyfileobj(file, out)


def _index(folder: Path, rows: int) -> Iterator[str]:
    """Index and list of a stream, anew where they are not those of its shards."""
    before = {name: _bytes(folder / name) for name in ("joined.idx", sums.NAME)}
    StreamReader(folder, rows, anew=True).index.write(folder)
    for name, content in before.items():
        if _bytes(folder / name) != content:
            yield f"{folder.name}/{name}: written anew"


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


# Cached streams


def _cached(data_bin: Path, name: str, faults: Sequence[Fault], workers: int) -> Iterator[str]:
    folder = data_bin / name
    yield from (f"{name}/{line}" for line in _restore(folder))
    stream, data = cached_stream(folder / ABOUT), DataBin(data_bin)
    raw = len(list((data_bin / stream.modality).glob("shard-*.json")))
    shards, further = _broken(folder, faults, range(raw))
    if shards or further:
        option, frames = stream.made.get("backbone"), stream.made.get("frames")
        if not isinstance(option, str) or not isinstance(frames, int):
            raise MMFairseqError(f"{ABOUT} does not say with which file it was made; extract it anew with --overwrite")
        limits = {stream.modality: frames}
        settings = extract.Settings(limits, dtype=str(stream.made.get("dtype")), workers=workers, resume=True)
        made = extract.plan(data, [option], settings, torch.device("cpu"))[0].stream
        if made.name != stream.name:
            raise MMFairseqError(f"{option}: not what it was made with; extract anew")
        for shard in [*shards, *further]:
            remove_shard(folder, shard)
        extract.extract(data_bin, [option], settings)
        yield from (f"{name}: shard {shard} made anew by {option}" for shard in shards)
    yield from _index(folder, len(data.manifest))

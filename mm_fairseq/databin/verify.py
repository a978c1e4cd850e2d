"""Everything of a data-bin that can be checked, and all of its faults by file."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from ..atomic import locked
from ..errors import MMFairseqError
from . import sums
from .contents import check_contents, vocabulary
from .features import cached_stream
from .folder import META
from .joined import ABOUT
from .streams import Advance, Fault, StreamCheck, compare

Begin = Callable[[int], Advance]


class Verified(NamedTuple):
    """What was seen.

    Args:
        faults: of all files, sorted by path.
        files: number of files.
        bytes: of all files.
    """

    faults: list[Fault]
    files: int
    bytes: int


def verify(data_bin: Path, workers: int = 1, begin: Begin = lambda size: lambda read: None) -> Verified:
    """Check every byte of a data-bin by its checksums, and what its files say against each other.

    Args:
        data_bin: the folder.
        workers: threads; they do not hold each other up.
        begin: told how many bytes will be read; gives what is told how many were.

    Raises:
        MMFairseqError: it is no data-bin, or another process is writing there.
    """
    if not (data_bin / META).is_file() and not (data_bin / sums.SPARE / META).is_file():
        raise MMFairseqError(f"{data_bin}: not a data-bin (no {META}); `mm-fairseq binarize` writes one")
    with locked(data_bin, shared=True, wait=0):
        faults = list(beside(data_bin))
        meta = _meta(data_bin, faults)
        streams = _streams(data_bin, meta, faults)
        advance = begin(sum(check.size for check in streams.values()))
        broken = _shards(streams, workers, advance, faults)
        for name, check in streams.items():
            faults += [_within(name, fault) for fault in check.beside(name not in broken)]
        by_path = {fault.path: fault.reason for fault in reversed(faults)}  # the first of each, which is of its bytes
        files = [path for path in data_bin.rglob("*") if path.is_file()]
        return Verified(
            [Fault(path, reason) for path, reason in sorted(by_path.items())],
            len(files),
            sum(path.stat().st_size for path in files),
        )


def _within(stream: str, fault: Fault) -> Fault:
    return Fault(f"{stream}/{fault.path}".rstrip("/"), fault.reason)


def beside(data_bin: Path) -> Iterator[Fault]:
    """Faults of the files beside the streams, by their checksums."""
    try:
        raw: bytes | None = (data_bin / sums.NAME).read_bytes()
    except OSError:
        raw = None
    listed, whole = sums.parse(raw or b"")
    if not whole:  # any line may be the wrong one
        yield Fault(sums.NAME, sums.ABSENT if raw is None else "damaged or cut short")
        for path in sorted(path for path in (data_bin / sums.SPARE).rglob("*") if path.is_file()):
            name = path.relative_to(data_bin / sums.SPARE).as_posix()
            if compare(data_bin / name, sums.Sum.of_file(path)):
                yield Fault(name, f"missing, or not the same as its copy in {sums.SPARE}")
        return
    for name, expected in listed.items():
        if reason := compare(data_bin / name, expected):
            yield Fault(name, reason)
    for pattern in ("splits/*/*/*.npy", "labels/*.npy"):
        for path in data_bin.glob(pattern):
            if (name := path.relative_to(data_bin).as_posix()) not in listed:
                yield Fault(name, f"{sums.NAME} does not know it")


def _meta(data_bin: Path, faults: list[Fault]) -> dict[str, Any] | None:
    """The meta data, where they can be used; what the other files say is checked where their bytes are whole."""
    try:
        meta = json.loads((data_bin / META).read_bytes())
        usable = isinstance(meta["rows"], int) and all(isinstance(form, dict) for form in meta["streams"].values())
        if not usable or not all(isinstance(entry["name"], str) and entry["folds"] for entry in meta["protocols"]):
            raise ValueError("rows, streams or protocols are none")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        faults.append(Fault(META, f"cannot be used: {error!s:.200}"))
        return None
    if not meta.get("complete"):
        faults.append(Fault(META, "binarizing was not finished; go on with `mm-fairseq binarize --resume`"))
    elif not any(fault.path.partition("/")[0] not in (sums.NAME, sums.SPARE, *meta["streams"]) for fault in faults):
        faults += check_contents(data_bin, meta)
    return meta


def _streams(data_bin: Path, meta: dict[str, Any] | None, faults: list[Fault]) -> dict[str, StreamCheck]:
    """The checks of all streams, by name."""
    raw = list(meta["streams"]) if meta else [path.parent.name for path in data_bin.glob("*/shard-00000.json")]
    found: dict[str, StreamCheck] = {}
    rows, symbols = meta["rows"] if meta else None, vocabulary(data_bin)
    for name in (name for name in raw if "@" not in name):
        form = (
            {key: meta["streams"][name][key] for key in ("dtype", "dim") if key in meta["streams"][name]}
            if meta
            else {}
        )
        plain = not form.get("dim")
        tokens = symbols if name.startswith("text") and plain else None
        if not (data_bin / name).is_dir():
            faults.append(Fault(name, "missing: meta.json has this stream"))
            continue
        found[name] = StreamCheck(data_bin / name, form, rows, name == "video" and plain, tokens)
    for path in sorted(data_bin.glob(f"*@*/{ABOUT}")) + sorted(data_bin.glob(f"*@*/{sums.SPARE}/{ABOUT}")):
        folder = path.parent if path.parent.name != sums.SPARE else path.parent.parent
        if (name := folder.name) in found:
            continue
        form = {}
        try:
            stream = cached_stream(folder / ABOUT)
            form = {"dtype": stream.dtype, "dim": stream.dim}
        except MMFairseqError as error:
            faults.append(Fault(f"{name}/{ABOUT}", str(error).removeprefix(f"{folder / ABOUT}: ").partition("; ")[0]))
        found[name] = StreamCheck(folder, form, rows, raw=data_bin / name.partition("@")[0])
    return found


def _shards(streams: dict[str, StreamCheck], workers: int, advance: Advance, faults: list[Fault]) -> set[str]:
    """Check all shards; returns the streams that have a fault."""
    broken = set()
    pool = ThreadPoolExecutor(workers)
    try:
        jobs = {
            pool.submit(check.shard, shard, advance): name for name, check in streams.items() for shard in check.shards
        }
        for job in as_completed(jobs):
            for fault in job.result():
                broken.add(jobs[job])
                faults.append(_within(jobs[job], fault))
    finally:
        pool.shutdown(cancel_futures=True)
    return broken

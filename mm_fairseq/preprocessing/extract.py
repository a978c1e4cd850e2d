"""Features of pretrained backbones, cached in a data-bin.

Each backbone gets a stream of its own (`databin.features`). Its shards are shared among processes, ranks and runs: the
one that holds the lock file of a shard makes it, and the data-bin itself is held so that nobody rewrites it meanwhile.
What is killed is taken up with `resume` and ends with the same bytes.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..atomic import HeldError, held, locked
from ..backbones import (
    ANY,
    BACKBONES,
    SAMPLE_RATE,
    BackboneSet,
    Spec,
    check_vocabulary,
    resolve,
    unsafe_checkpoints,
)
from ..databin import CachedStream, DataBin, Ids, StreamReader, joined, remove_shard, sums
from ..databin.features import ABOUT
from ..databin.format import shard_paths
from ..datasets import Limits, load_dictionary
from ..errors import MMFairseqError
from ..manifest import MODALITIES
from .cluster import Engine, Todo, make_by_jobs
from .disk import disk_errors
from .encoding import Encoding, Inputs
from .engines import cores
from .share import Share
from .work import in_the_making, make, pending

DTYPES = ("float16", "float32")
CODE_DTYPE = "int16"
CODE_FRAMES = 2046  # of codes, where no limit is given: those of the BERT of 2048 tokens over them
MOST_FRAMES = 10**9
LOCK = ".stream.tmp"  # held by who writes what stands beside the shards
UNITS = {"audio": "samples", "text": "tokens", "video": "frames"}


@dataclass(frozen=True)
class Settings:
    """What is asked for, beside the backbones.

    Args:
        frames: modality to the number of output frames that inputs are cut at, where one is asked for.
        usual_frames: the same, where none is.
        dtype: of features, one of `DTYPES`.
        device: "auto", "cpu", "cuda" or "cuda:K".
        workers: processes; None for the cores of a CPU, shared by the ranks on it, and 1 for a GPU.
        share: of the shards.
        resume: keep what is done.
        overwrite: make it anew.
    """

    frames: Mapping[str, int] = field(default_factory=dict)
    usual_frames: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(MODALITIES, 1000))
    dtype: str = DTYPES[0]
    device: str = "auto"
    workers: int | None = None
    share: Share = field(default_factory=Share)
    resume: bool = False
    overwrite: bool = False


def extract(
    data_bin: str | os.PathLike,
    backbones: Sequence[str],
    settings: Settings,
    engine: Engine | None = None,
    unsafe: bool = False,
) -> list[str]:
    """Cache what backbones make of a data-bin.

    Args:
        data_bin: the folder that `binarize` wrote.
        backbones: `MODALITY=SPECIFICATION` each.
        settings: how.
        engine: runs jobs that share the work, followed from here.
        unsafe: pretrained files may hold more than plain types.

    Returns:
        The summary, in lines.

    Raises:
        MMFairseqError: the data-bin, a backbone or an option is not usable.
    """
    _check(settings)
    with unsafe_checkpoints(unsafe), disk_errors(data_bin):
        if engine:
            return _by_jobs(Path(os.path.abspath(data_bin)), backbones, settings, engine, unsafe)
        return _here(data_bin, backbones, settings)


def _here(
    data_bin: str | os.PathLike, backbones: Sequence[str], settings: Settings, todo: Todo | None = None
) -> list[str]:
    device = _device(settings.device, settings.share.local_rank)
    workers = _workers(settings, device)
    found = DataBin(data_bin)
    meta = found.meta
    with locked(found.path, shared=True), _one_thread():
        if DataBin(data_bin).meta != meta:
            raise MMFairseqError(f"{data_bin}: was binarized anew just now; try again")
        encodings = plan(found, backbones, settings, device)
        lines = []
        for place, encoding in enumerate(encodings):
            own = None if todo is None else [shard for which, shard in settings.share.own(todo) if which == place]
            try:
                lines += run(encoding, settings, workers, own)
            except MMFairseqError:
                if todo is None and settings.share.ranks == 1:  # else another may be about to write there
                    _abandon(encoding)
                raise
        return lines


def _by_jobs(data_bin: Path, backbones: Sequence[str], settings: Settings, engine: Engine, unsafe: bool) -> list[str]:
    """Check everything here, without a GPU, then have jobs make what is not done."""
    began = time.monotonic()
    with locked(data_bin, shared=True), _one_thread():
        encodings = plan(DataBin(data_bin), backbones, settings, torch.device("cpu"))
        for encoding in encodings:
            _begin(encoding, settings)
        task = partial(_job, data_bin, backbones, settings, engine.cpus, unsafe)
        try:
            fresh = make_by_jobs(engine, task, encodings, data_bin, "extract")
            for encoding in encodings:
                _complete(encoding)
        except MMFairseqError:
            for encoding in encodings:
                _abandon(encoding)
            raise
        seconds = time.monotonic() - began
        return [
            line
            for encoding, utterances in zip(encodings, fresh, strict=True)
            for line in _summary(encoding, range(len(encoding.sizes)), "", utterances, seconds)
        ]


def _job(
    data_bin: Path, backbones: Sequence[str], settings: Settings, cpus: int, unsafe: bool, todo: Todo, share: Share
) -> list[str]:
    """What one of the jobs does; what is not to be kept is gone already."""
    workers = settings.workers
    if workers is None and _device(settings.device, share.local_rank).type == "cpu":
        workers = cpus
    settings = replace(settings, workers=workers, share=share, resume=True, overwrite=False)
    with unsafe_checkpoints(unsafe), disk_errors(data_bin):
        return _here(data_bin, backbones, settings, todo)


def plan(data_bin: DataBin, backbones: Sequence[str], settings: Settings, device: torch.device) -> list[Encoding]:
    """Read the pretrained files and check that all is fit; writes nothing.

    Raises:
        MMFairseqError: it is not, or a stream is there already and neither `resume` nor `overwrite` says what to do.
    """
    encodings = [_plan(data_bin, text, settings, device) for text in backbones]
    names = [encoding.stream.name for encoding in encodings]
    if twice := [text for text, name in zip(backbones, names, strict=True) if names.count(name) > 1]:
        raise MMFairseqError(f"--backbone {' and '.join(twice)}: the same stream {names[0]!r} twice")
    for encoding in encodings:
        own = _own(encoding, settings.share)
        there = [shard for shard in own if shard_paths(encoding.folder, shard)[2].exists()]
        if there and not (settings.resume or settings.overwrite):
            _refuse_if_busy(encoding, own)
            raise MMFairseqError(
                f"{encoding.folder}: there already, with {len(there)} shards; keep what is done of it with --resume or "
                "make it anew with --overwrite"
            )
    return encodings


def run(encoding: Encoding, settings: Settings, workers: int, own: Sequence[int] | None = None) -> list[str]:
    """Make the shards of one stream that are still to be made; returns the summary, in lines.

    Args:
        encoding: the stream.
        settings: with the share.
        workers: number of processes.
        own: the shards; None for those of the share.
    """
    began, share = time.monotonic(), settings.share
    own = _own(encoding, share) if own is None else own
    _begin(encoding, settings)
    what = f"extract {encoding.stream.modality}@{encoding.stream.backbone}"
    fresh = make(encoding, own, workers, share, what)
    _complete(encoding)
    return list(_summary(encoding, own, share.told, fresh, time.monotonic() - began))


def _check(settings: Settings) -> None:
    if settings.dtype not in DTYPES:
        raise MMFairseqError(f"--dtype {settings.dtype!r}; allowed: {', '.join(DTYPES)}")
    _cuda_number(settings.device)
    if settings.resume and settings.overwrite:
        raise MMFairseqError("--resume and --overwrite: one or the other")
    for modality, frames in settings.frames.items():
        if not 1 <= frames <= MOST_FRAMES:
            raise MMFairseqError(f"--max-positions-{modality[0]} {frames}: allowed are 1 to {MOST_FRAMES}")


def _cuda_number(device: str) -> str | None:
    """K of cuda:K, "" for any of the GPUs; None for a CPU."""
    kind, _, number = device.partition(":")
    if device == "cpu":
        return None
    if device not in ("auto", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise MMFairseqError(f"--device {device!r}; allowed: auto, cpu, cuda and cuda:K")
    return number


def _device(name: str, local_rank: int) -> torch.device:
    number = _cuda_number(name)
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if number is None or (name == "auto" and not there):
        return torch.device("cpu")
    index = int(number) if number else local_rank % max(1, there)
    if index >= there:
        raise MMFairseqError(f"--device {name}: there are {there} CUDA devices here")
    return torch.device("cuda", index)


def _workers(settings: Settings, device: torch.device) -> int:
    workers = settings.workers
    if workers is None:
        return max(1, cores() // settings.share.local_ranks) if device.type == "cpu" else 1
    if workers < 1:
        raise MMFairseqError(f"--workers {workers}: at least 1")
    if workers > 1 and device.type != "cpu":
        raise MMFairseqError(f"--workers {workers}: one process a GPU; for several GPUs use torchrun, or --nshard")
    return workers


@contextmanager
def _one_thread() -> Iterator[None]:
    """Bytes must not depend on the number of threads; processes that use none can be forked safely."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)


def _plan(data_bin: DataBin, option: str, settings: Settings, device: torch.device) -> Encoding:
    modality, _, text = option.partition("=")
    if modality not in MODALITIES or not text:
        raise MMFairseqError(f"--backbone {option!r}: expected MODALITY=BACKBONE, with {', '.join(MODALITIES)}")
    if modality not in data_bin.meta["streams"]:
        there = ", ".join(sorted(data_bin.meta["streams"]))
        raise MMFairseqError(f"--backbone {option!r}: {data_bin} has no {modality}; it has {there}")
    if data_bin.dim(modality) or BACKBONES.get(Spec.parse(modality, text).name).modality == ANY:
        raise MMFairseqError(
            f"--backbone {option!r}: nothing to extract: features that come with a corpus are in the data-bin already "
            "and train with the backbone `features`; other backbones read raw data"
        )
    if modality == "audio":
        data_bin.check_sample_rate(SAMPLE_RATE)
    dictionary = load_dictionary(data_bin.path)
    if BACKBONES.get(Spec.parse(modality, text).name).learns and not Spec.parse(modality, text).files:
        raise MMFairseqError(
            f"--backbone {option!r}: without a pretrained file it learns in training, so nothing of it can be cached; "
            "name one, NAME:FILE"
        )
    found = resolve({modality: text}, set(), {"text": {"vocabulary": len(dictionary)}})
    check_vocabulary(found, text, dictionary.symbols, data_bin.path)
    model = BackboneSet(found.entries)
    model.load_pretrained(found)
    encoder, entry = model.encoders[modality], found.entries[modality]
    usual = CODE_FRAMES if encoder.code_groups else settings.usual_frames[modality]
    limits = Limits(*model.input_limits(modality, settings.frames.get(modality, usual)))
    ends: tuple[int, ...] = (dictionary.bos(), dictionary.eos()) if modality == "text" else ()
    dtype, dim = settings.dtype, encoder.dim * encoder.states
    if encoder.code_groups:
        dtype, dim = CODE_DTYPE, encoder.code_groups
    lasting = f"{modality}={Spec.parse(modality, text).absolute()}"
    made = {"backbone": lasting, "dtype": settings.dtype, "frames": settings.frames.get(modality, usual)}
    stream = CachedStream(
        *(modality, entry["name"], entry["args"], entry["sha256"], limits.longest, ends, dtype, dim), made=made
    )
    reader = StreamReader(data_bin.path / modality, len(data_bin.manifest))
    every = (dictionary.bos(), dictionary.pad(), dictionary.eos())
    inputs = Inputs(reader, Ids(data_bin.manifest.utterances), limits, every, len(dictionary))
    return Encoding(data_bin.path, stream, encoder.eval().to(device), inputs, device)


def _own(encoding: Encoding, share: Share) -> Sequence[int]:
    return share.own(range(len(encoding.sizes)))


def _begin(encoding: Encoding, settings: Settings) -> None:
    """The folder with its description, without what does not belong there; other ranks may be at the same."""
    encoding.folder.mkdir(exist_ok=True)
    with held(encoding.folder / LOCK):
        encoding.stream.write(encoding.data_bin)
        if settings.overwrite:
            _refuse_if_busy(encoding, range(len(encoding.sizes)))
            (encoding.folder / joined.NAME).unlink(missing_ok=True)  # it has the sums of the old ones
            for shard in _own(encoding, settings.share):
                remove_shard(encoding.folder, shard)
        for path in encoding.folder.glob("shard-*.json"):  # of raw data that had more shards
            number = path.stem.removeprefix("shard-")
            if number.isdecimal() and int(number) >= len(encoding.sizes):
                remove_shard(encoding.folder, int(number))


def _refuse_if_busy(encoding: Encoding, own: Sequence[int]) -> None:
    if busy := [shard for shard in in_the_making(encoding) if shard in own]:
        raise HeldError(
            f"{encoding.folder}: another process is writing there, at shard {busy[0]}; wait for it or end it"
        )


def _complete(encoding: Encoding) -> None:
    """Write what stands beside the shards once all of them are done, whoever has made the last one."""
    if not pending(encoding):
        with held(encoding.folder / LOCK):
            reader = encoding.stream.open(encoding.data_bin, len(encoding.inputs.ids))
            if not (encoding.folder / sums.NAME).is_file():
                reader.index.write(encoding.folder)


def _abandon(encoding: Encoding) -> None:
    """Remove the folder again where it has nothing but its description."""
    with held(encoding.folder / LOCK):
        if {path.name for path in encoding.folder.iterdir()} == {ABOUT, LOCK}:
            for name in (ABOUT, LOCK):
                (encoding.folder / name).unlink()
            encoding.folder.rmdir()


def _summary(encoding: Encoding, own: Sequence[int], told: str, fresh: int, seconds: float) -> Iterator[str]:
    modality = encoding.stream.modality
    rows = np.concatenate([np.arange(0), *(np.array(encoding.shards[shard]) for shard in own)]).astype(np.int64)
    lengths, before = encoding.lengths[rows], encoding.inputs.lengths(modality)[rows]
    paths = [path for shard in own for path in shard_paths(encoding.folder, shard)]
    size, total = sum(path.stat().st_size for path in paths) / 1e6, int(lengths.sum())
    amount = _duration(total / SAMPLE_RATE) + " of audio" if modality == "audio" else f"{total} {UNITS[modality]}"
    rate = f", {fresh / seconds:.1f} utterances/s" if fresh else ", nothing was left to do"
    yield f"{told}{encoding.stream.name}: {len(rows)} utterances, {amount}, {size:.1f} MB in {seconds:.1f} s{rate}"
    limits = encoding.inputs.limits
    notes: dict[str, Any] = {
        f"without {modality}": before == 0,
        f"shorter than {limits.shortest} {UNITS[modality]}, taken as without": (before > 0) & (lengths == 0),
        f"longer than {limits.longest} {UNITS[modality]}, cut at the end": (lengths > 0) & (lengths < before),
    }
    for what, hit in notes.items():
        if hit.any():
            first = ", ".join(encoding.inputs.ids[row] for row in rows[hit][:5])
            yield f"  {hit.sum()} {what}: {first}" + (" ..." if hit.sum() > 5 else "")


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.2f} hours" if seconds >= 3600 else f"{seconds:.1f} s"

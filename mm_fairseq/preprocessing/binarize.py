"""A prepared corpus to a data-bin.

Each shard is made by one pure function and appears whole or not at all, so that a killed run is taken up with `resume`
and ends with the same bytes, on any number of workers.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..databin import ShardWriter, locked, remove_leftovers
from ..databin.format import open_shard
from ..errors import MMFairseqError
from ..manifest import MODALITIES, Utterance
from ..media import MediaError
from ..media.faces import FACES, single_threaded
from ..media.text import tokenizer_files
from .description import begin, finish
from .engines import run_shards
from .items import Form, Items, Settings
from .prepared import Prepared
from .quarantine import Problem
from .streams import choose_streams


class Job:
    """Everything `process_shard` needs.

    Args:
        items: makes them.
        rows: of the manifest.
        data_bin: the folder written to.
        streams: name to how it is stored.
    """

    def __init__(self, items: Items, rows: list[Utterance], data_bin: Path, streams: dict[str, Form]) -> None:
        self.items, self.rows, self.data_bin, self.streams = items, rows, data_bin, streams
        self.size = items.settings.shard_size or 256
        self.shards = -(-len(rows) // self.size)

    def part(self, shard: int) -> list[Utterance]:
        """The rows of a shard."""
        return self.rows[shard * self.size : (shard + 1) * self.size]

    def is_done(self, shard: int) -> bool:
        """Whether every stream has this shard, whole."""
        try:
            counts = [len(open_shard(self.data_bin / stream, shard)[0]) for stream in self.streams]
        except MMFairseqError:
            return False
        return set(counts) == {len(self.part(shard))}

    def process_shard(self, shard: int, advance: Callable[[], Any] = lambda: None) -> None:
        """Write one shard of every stream. Its bytes depend on the corpus and the settings alone."""
        single_threaded()
        with ExitStack() as stack:
            writers: dict[str, ShardWriter] = {}
            for stream, (dtype, dim, told, _) in self.streams.items():
                notes: dict[str, Any] = {"problems": []}
                writers[stream] = stack.enter_context(
                    ShardWriter(self.data_bin / stream, shard, dtype, dim, own_lengths=told, notes=notes)
                )
            for row in self.part(shard):
                for stream, writer in writers.items():
                    self._add(writer, stream, row)
                advance()

    def _add(self, writer: ShardWriter, stream: str, row: Utterance) -> None:
        dtype, dim, told, _ = self.streams[stream]
        try:
            item, length = self.items.make(stream, row)
        except MMFairseqError as error:
            if not isinstance(error, MediaError):
                raise
            problem = Problem(row.id, self.items.path(stream, row), stream, error.code, str(error))
            writer.notes["problems"].append(asdict(problem))
            item, length = np.empty((0, dim) if dim else 0, dtype), 0
        writer.add(item, length if told else None)

    def told(self, fresh: int, seconds: float) -> str:
        """The last line of the summary.

        Args:
            fresh: utterances that were not there before.
            seconds: that they took.
        """
        rate = f", {fresh / seconds:.1f} utterances/s" if fresh else ", nothing was left to do"
        return f"{self.data_bin}: {self.shards} shards in {seconds:.1f} s{rate}"

    def problems(self) -> list[Problem]:
        """Of all shards, in manifest order."""
        found: dict[str, list[Problem]] = {}
        for shard in range(self.shards):
            for stream in self.streams:
                for entry in open_shard(self.data_bin / stream, shard)[1]["notes"]["problems"]:
                    found.setdefault(entry["id"], []).append(Problem(**entry))
        return [problem for row in self.rows for problem in found.get(row.id, ())]


def binarize(
    prepared: str | os.PathLike,
    data_bin: str | os.PathLike,
    settings: Settings | None = None,
    workers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
) -> list[str]:
    """Make a data-bin.

    Args:
        prepared: the folder that `prepare` wrote.
        data_bin: the folder to write.
        settings: how; the default where None.
        workers: number of processes.
        resume: take up a run that was interrupted.
        overwrite: remove a data-bin that is there already.

    Returns:
        The summary, in lines.

    Raises:
        MMFairseqError: the corpus, an option or `data_bin` is not usable, or no utterance of the corpus is.
    """
    settings, began, data_bin = settings or Settings(), time.monotonic(), Path(data_bin)
    _check_settings(settings)
    corpus = Prepared.read(prepared)
    settings = settings.for_rows(len(corpus.manifest))
    if workers < 1:
        raise MMFairseqError(f"--workers {workers}: at least 1")
    streams = choose_streams(corpus.manifest, settings)
    _make_folder(data_bin, resume, overwrite)
    with locked(data_bin):
        remove_leftovers(data_bin)
        meta = begin(data_bin, corpus, settings, streams)
        dims = {name: form.dim for name, form in streams.items() if form.dim}
        items = Items(corpus.manifest.root, data_bin, settings, meta["tokenizer"], dims)
        job = Job(items, corpus.manifest.utterances, data_bin, streams)
        todo = [shard for shard in range(job.shards) if not job.is_done(shard)]
        done = len(job.rows) - sum(len(job.part(shard)) for shard in todo)
        single_threaded()  # before workers are forked: OpenCV's threads would not live on in them
        try:
            run_shards(job.process_shard, todo, workers, len(job.rows), done)
        finally:
            remove_leftovers(data_bin)
        summary = finish(data_bin, corpus, meta, streams, job.problems())
        return [*summary, job.told(len(job.rows) - done, time.monotonic() - began)]


def _check_settings(settings: Settings) -> None:
    if unknown := [name for name in settings.modalities if name not in MODALITIES]:
        raise MMFairseqError(f"--modalities: unknown {unknown[0]!r}; known: {', '.join(MODALITIES)}")
    if settings.faces not in FACES:
        raise MMFairseqError(f"--faces {settings.faces!r}: known are {', '.join(FACES)}")
    limits = {"vocab_size": (8, 1e6), "fps": (0.01, 1000), "frame_size": (8, 4096), "max_seconds": (0.1, 1e6)}
    if settings.shard_size is not None:
        limits["shard_size"] = (1, 1e6)
    for name, (least, most) in limits.items():
        if not least <= getattr(settings, name) <= most:
            option = f"--{name.replace('_', '-')}"
            raise MMFairseqError(f"{option} {getattr(settings, name):g}: must be {least:g} to {most:g}")
    if "text" in settings.modalities:
        tokenizer_files(settings.tokenizer)


def _make_folder(data_bin: Path, resume: bool, overwrite: bool) -> None:
    """Make the folder, or see that what is there may be taken up or removed."""
    if data_bin.exists() and not data_bin.is_dir():
        raise MMFairseqError(f"{data_bin}: not a folder")
    filled = data_bin.is_dir() and any(entry.suffix != ".tmp" for entry in data_bin.iterdir())
    if filled and not (data_bin / "meta.json").is_file():
        raise MMFairseqError(
            f"{data_bin}: the folder holds something else than a data-bin (no meta.json); name another one"
        )
    if filled and overwrite:
        with locked(data_bin):
            old = data_bin.with_name(f".{data_bin.name}.{os.getpid()}.old")
            data_bin.rename(old)
        shutil.rmtree(old)
    elif filled and not resume:
        raise MMFairseqError(
            f"{data_bin}: there is a data-bin already; take it up with --resume or replace it with --overwrite"
        )
    data_bin.mkdir(parents=True, exist_ok=True)

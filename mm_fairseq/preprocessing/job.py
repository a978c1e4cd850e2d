"""A data-bin in the making: its shards, each by one pure function, and what comes before and after them."""

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import write_atomic
from ..databin import ShardWriter
from ..databin.format import open_shard, shard_paths
from ..databin.lookup import QUARANTINE
from ..errors import MMFairseqError
from ..manifest import MODALITIES, Utterance
from ..media import MediaError
from ..media.bounds import Limits
from ..media.child import reader
from ..media.dictionary import TokenIds
from ..media.faces import FACES, single_threaded
from ..media.text import tokenizer_files
from .budget import Budget
from .description import begin, compare, describe, finish
from .disk import disk_errors
from .items import RANGES, READERS, Items, Settings
from .prepared import Prepared
from .quarantine import Account, Problem, labelled_in
from .streams import choose_streams

LOCK = ".data-bin.tmp"  # held by who writes what stands beside the shards


class Job:
    """A data-bin in the making; reads the corpus and checks everything, writes nothing yet.

    Args:
        prepared: the folder that `prepare` wrote.
        data_bin: the folder written to.
        settings: how.
        budget: stop where too many utterances cannot be used, see `budget`.

    Raises:
        MMFairseqError: the corpus or an option is not usable.
    """

    def __init__(self, prepared: str | os.PathLike, data_bin: Path, settings: Settings, budget: bool = True) -> None:
        _check_settings(settings)
        self.data_bin, self.corpus = data_bin, Prepared.read(prepared, as_text=True)
        self.rows = self.corpus.manifest.utterances
        self.budget = Budget(self.corpus) if budget else None
        self.settings = settings.for_rows(len(self.rows))
        self.streams = choose_streams(self.corpus.manifest, self.settings)
        self.size = self.settings.shard_size or 256
        self.sizes = [min(self.size, len(self.rows) - first) for first in range(0, len(self.rows), self.size)]

    @property
    def folder(self) -> Path:
        """The data-bin."""
        return self.data_bin

    @property
    def folders(self) -> list[Path]:
        """Of the streams."""
        return [self.data_bin / stream for stream in self.streams]

    def begin(self) -> None:
        """Write, or compare, what is known before the shards. `data_bin` must be held."""
        self.meta = begin(self.data_bin, self.corpus, self.settings, self.streams)
        self._open()

    def take_up(self) -> None:
        """Go on with what another process has begun for this one; writes nothing.

        Raises:
            MMFairseqError: it is of another corpus, or made by other libraries than are installed here.
        """
        self.meta = json.loads((self.data_bin / "meta.json").read_bytes())
        for name, key in (("manifest.tsv", "manifest_sha256"), ("targets.json", "targets_sha256")):
            if self.meta[key] != self.corpus.sha256[name]:
                raise MMFairseqError(f"{self.data_bin}: {name} of the prepared corpus was changed meanwhile")
        compare(self.data_bin / "meta.json", describe(self.corpus, self.settings, self.streams))
        self._open()

    def _open(self) -> None:
        dims = {name: form.dim for name, form in self.streams.items() if form.dim}
        root = self.corpus.manifest.root
        self._check_root()
        limits = Limits(memory=int(Limits().memory * self.settings.scale))
        read = reader(READERS, limits, own=False)
        texts = partial(TokenIds.load, self.meta["tokenizer"], self.data_bin)
        self.items = Items(root, self.settings, texts, dims, read)

    def _check_root(self) -> None:
        """See that the recordings are there: one machine that lacks their disk would set aside all that it is given."""
        root = self.corpus.manifest.root
        if any(form.dim or stream in ("audio", "video") for stream, form in self.streams.items()) and not root.is_dir():
            raise MMFairseqError(
                f"{root}: the folder of the corpus's recordings is not there on this machine ({os.uname().nodename}); "
                "mount it, or prepare the corpus anew where it is"
            )

    def finish(self) -> list[str]:
        """Write what is known once all shards are there; returns the summary, in lines. `data_bin` must be held."""
        return finish(self.data_bin, self.corpus, self.meta, self.streams, self.problems(), self.budget)

    def part(self, shard: int) -> list[Utterance]:
        """The rows of a shard."""
        return self.rows[shard * self.size : (shard + 1) * self.size]

    def is_done(self, shard: int) -> bool:
        """Whether every stream has this shard, whole."""
        try:
            counts = [len(open_shard(self.data_bin / stream, shard)[0]) for stream in self.streams]
        except MMFairseqError:
            return False
        return set(counts) == {self.sizes[shard]}

    def process_shard(self, shard: int, advance: Callable[[], Any] = lambda: None) -> None:
        """Write one shard of every stream. Its bytes depend on the corpus and the settings alone."""
        single_threaded()
        self._check_root()
        with ExitStack() as stack:
            writers: dict[str, ShardWriter] = {}
            for stream, (dtype, dim, told, _) in self.streams.items():
                notes: dict[str, Any] = {"problems": []}
                stack.enter_context(disk_errors(self.data_bin, self._path(stream, shard)))
                writers[stream] = stack.enter_context(
                    ShardWriter(self.data_bin / stream, shard, dtype, dim, own_lengths=told, notes=notes)
                )
            for row in self.items.ahead(self.part(shard), self.streams):
                for stream, writer in writers.items():
                    item, length = self._item(writer, stream, row)
                    with disk_errors(self.data_bin, self._path(stream, shard)):
                        writer.add(item, length)
                advance()
            if any(writer.notes["problems"] for writer in writers.values()):
                self._check_root()  # or it has gone meanwhile

    def _path(self, stream: str, shard: int) -> Path:
        return shard_paths(self.data_bin / stream, shard)[0]

    def _item(self, writer: ShardWriter, stream: str, row: Utterance) -> tuple[np.ndarray, int | None]:
        dtype, dim, told, _ = self.streams[stream]
        try:
            with disk_errors(self.data_bin, self.items.root / self.items.path(stream, row)):
                item, length = self.items.make(stream, row)
        except MMFairseqError as error:
            if not isinstance(error, MediaError):
                raise
            path, root = self.items.path(stream, row), self.items.root
            problem = Problem.found(row.id, root, path, stream, error.code, str(error), bool(dim))
            writer.notes["problems"].append(asdict(problem))
            item, length = error.kept or (np.empty((0, dim) if dim else 0, dtype), 0)
        return item, length if told else None

    def clear(self) -> None:
        """Remove all that killed processes left beside the shards; nobody may be at one."""
        for folder in (self.folder, *self.folders):
            for path in folder.glob(".*.tmp"):
                if path.name != LOCK:
                    path.unlink(missing_ok=True)

    def problems(self) -> list[Problem]:
        """Of all shards, in manifest order."""
        return [problem for shard in range(len(self.sizes)) for problem in self.problems_of(shard)]

    def problems_of(self, shard: int) -> list[Problem]:
        """Of a shard, in manifest order."""
        found: dict[str, list[Problem]] = {}
        for stream in self.streams:
            for entry in open_shard(self.data_bin / stream, shard)[1]["notes"]["problems"]:
                found.setdefault(entry["id"], []).append(Problem(**entry))
        return [problem for row in self.part(shard) for problem in found.get(row.id, ())]

    def check_budget(self, shard: int) -> None:
        """Count what was found in a shard, where it is there.

        Raises:
            MMFairseqError: it is too much, together with what was counted before; that is written down.
        """
        if not self.budget or not self.is_done(shard):
            return
        try:
            self.budget.add(self._numbers(shard), self.problems_of(shard))
        except MMFairseqError as error:
            shards = [each for each in range(len(self.sizes)) if self.is_done(each)]
            kept = np.ones(len(self.rows), bool)
            for each in shards:
                items = [open_shard(folder, each)[0].item_lengths() for folder in self.folders]
                kept[self._numbers(each)] = np.any(items, axis=0)
            problems = [problem for each in shards for problem in self.problems_of(each)]
            account = Account([row.id for row in self.rows], kept, problems, labelled_in(self.corpus, kept))
            write_atomic(self.data_bin / QUARANTINE, account.to_jsonl())
            told = f"The {len(problems)} problems until then stand in {self.data_bin / QUARANTINE}"
            raise MMFairseqError(f"{error}. {told}") from error

    def _numbers(self, shard: int) -> range:
        return range(shard * self.size, shard * self.size + self.sizes[shard])


def _check_settings(settings: Settings) -> None:
    if unknown := [name for name in settings.modalities if name not in MODALITIES]:
        raise MMFairseqError(f"--modalities: unknown {unknown[0]!r}; known: {', '.join(MODALITIES)}")
    if settings.faces not in FACES:
        raise MMFairseqError(f"--faces {settings.faces!r}: known are {', '.join(FACES)}")
    limits = dict(RANGES)
    if settings.shard_size is not None:
        limits["shard_size"] = (1, 1e6)
    for name, (least, most) in limits.items():
        if not least <= getattr(settings, name) <= most:
            option = f"--{name.replace('_', '-')}"
            raise MMFairseqError(f"{option} {getattr(settings, name):g}: must be {least:g} to {most:g}")
    if "text" in settings.modalities:
        tokenizer_files(settings.tokenizer)

"""A prepared corpus to a data-bin.

meta.json is written first, unfinished, and last, with `"complete": true`. In between each shard is made by one pure
function and appears whole or not at all, so that a killed run is taken up with `resume` and ends with the same bytes,
on any number of workers.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..databin import ShardWriter, StreamReader, locked, remove_leftovers, write_atomic
from ..databin.format import open_shard
from ..errors import MMFairseqError
from ..manifest import MODALITIES, Manifest, Utterance
from ..media import MediaError
from ..media.faces import FACES, single_threaded
from ..media.text import (
    build_dictionary,
    load_tokenizer,
    read_dictionary,
    tokenizer_contents,
    tokenizer_files,
    tokenizer_spec,
    train_sentencepiece,
)
from ..targets import write_targets
from ..versions import installed
from .engines import run_shards
from .items import RAW, SAMPLE_RATE, Form, Items, Settings
from .prepared import Prepared
from .quarantine import Account, Problem
from .streams import choose_streams

FORMAT = 1
logger = logging.getLogger(__name__)

_TOOLS = (
    "numpy",
    "soundfile",
    "soxr",
    "av",
    "opencv-python-headless",
    "sentencepiece",
    "fastBPE",
    "fairseq-fixed",
    "tokenizers",
)


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
        meta = _begin(data_bin, corpus, settings, streams)
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
        return _finish(job, corpus, meta, len(job.rows) - done, time.monotonic() - began)


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


def _begin(data_bin: Path, corpus: Prepared, settings: Settings, streams: dict[str, Form]) -> dict[str, Any]:
    """Compare with an earlier meta.json or write the first; then all that is no shard. Returns the meta data."""
    spec = tokenizer_spec(settings.tokenizer) if streams.get("text") == RAW["text"] else None
    meta = {
        "format": FORMAT,
        "complete": False,
        "sample_rate": SAMPLE_RATE,
        "fps": settings.fps,
        "frame_size": settings.frame_size,
        "faces": settings.faces,
        "tokenizer": spec,
        "protocols": corpus.protocols,
        "streams": {
            name: {"dtype": form.dtype, "dim": form.dim, "length": form.unit} for name, form in streams.items()
        },
        "shard_size": settings.shard_size,
        "rows": len(corpus.manifest),
        "settings": {
            "modalities": list(settings.modalities),
            "vocab_size": settings.vocab_size,
            "max_seconds": settings.max_seconds,
        },
        "versions": installed(_TOOLS),
        "manifest_sha256": corpus.sha256["manifest.tsv"],
        "targets_sha256": corpus.sha256["targets.json"],
        "splits_sha256": corpus.sha256["splits"],
    }
    path = data_bin / "meta.json"
    if path.is_file():
        _compare(path, meta)
    else:
        write_atomic(path, _json(meta))
    manifest = Manifest(Path(os.path.abspath(corpus.manifest.root)), corpus.manifest.extra, corpus.manifest.utterances)
    manifest.write(data_bin / "manifest.tsv")
    write_targets(data_bin / "targets.json", corpus.targets)
    if spec:
        _keep_text(data_bin, corpus, settings, spec)
    return meta


def _keep_text(data_bin: Path, corpus: Prepared, settings: Settings, spec: dict[str, Any]) -> None:
    """Tokeniser and dictionary, copied or made from the training transcripts; the dictionary last."""
    if not (data_bin / "dict.txt").is_file():
        texts = _train_texts(corpus)
        dictionary = tokenizer_files(settings.tokenizer)[2]
        contents = tokenizer_contents(settings.tokenizer)
        for content, name in zip(contents, spec["files"], strict=False):
            write_atomic(data_bin / name, content)
        if spec["files"] and not contents:
            write_atomic(data_bin / spec["files"][0], train_sentencepiece(texts, settings.vocab_size))
        tokenizer = load_tokenizer(spec, data_bin)
        if dictionary:
            symbols = dictionary.read_bytes()
        else:
            symbols = (tokenizer.dictionary() or build_dictionary(tokenizer, texts)).encode()
        write_atomic(data_bin / "dict.txt", symbols)
    read_dictionary(data_bin / "dict.txt")


def _compare(path: Path, meta: dict[str, Any]) -> None:
    try:
        begun = json.loads(path.read_bytes())
        differing = [key for key in meta if key != "complete" and begun[key] != meta[key]]
    except (ValueError, KeyError, TypeError) as error:
        raise MMFairseqError(f"{path}: not the meta data of a data-bin of format {FORMAT} ({error!r})") from error
    if differing:
        changes = "; ".join(f"{key} was {_short(begun[key])}, is {_short(meta[key])}" for key in differing)
        raise MMFairseqError(
            f"{path.parent}: begun with another corpus or other options: {changes}; use the same, another folder, "
            "or --overwrite"
        )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _train_texts(corpus: Prepared) -> list[str]:
    """Transcripts of the default protocol's train split; of all rows where it has none."""
    rows = corpus.manifest.utterances
    texts = [rows[number].text for number in corpus.default_train() if rows[number].text.strip()]
    return texts or [row.text for row in rows if row.text.strip()]


def _finish(job: Job, corpus: Prepared, meta: dict[str, Any], fresh: int, seconds: float) -> list[str]:
    """Quarantine, splits, then the meta data that makes the data-bin complete. Returns the summary."""
    readers = {stream: StreamReader(job.data_bin / stream, len(job.rows)) for stream in job.streams}
    own = {stream: reader for stream, reader in readers.items() if stream in MODALITIES}
    kept = np.any([reader.lengths > 0 for reader in own.values()], axis=0)
    account = Account([row.id for row in job.rows], kept, job.problems())
    write_atomic(job.data_bin / "quarantine.jsonl", account.to_jsonl())
    if not kept.any():
        first = account.problems[0]
        raise MMFairseqError(
            f"no utterance is left of {len(job.rows)}; see {job.data_bin / 'quarantine.jsonl'}. The first: "
            f"{first.id}: {first.stage}: {first.error}"
        )
    for stream, reader in own.items():
        if not reader.lengths.any():
            first = next(problem for problem in account.problems if problem.stage == stream)
            raise MMFairseqError(
                f"{stream}: none of {len(job.rows)} utterances has any that is usable; the first: {first.id}: "
                f"{first.error}. Mend that (is the corpus's root right?), or leave {stream} out of --modalities"
            )
    emptied = []
    for (protocol, fold, split), rows in corpus.splits.items():
        left = np.array([row for row in rows if kept[row]], np.int64)
        folder = job.data_bin / "splits" / protocol / fold
        folder.mkdir(parents=True, exist_ok=True)
        raw = BytesIO()
        np.save(raw, left, allow_pickle=False)
        write_atomic(folder / f"{split}.npy", raw.getvalue())
        if rows and not len(left):
            emptied.append(f"warning: nothing is left of {protocol}/{fold}/{split}")
    write_atomic(job.data_bin / "meta.json", _json(meta | {"complete": True, "verdicts": account.verdicts()}))
    return [*account.lines(), *emptied, *_totals(job, readers, fresh, seconds)]


def _totals(job: Job, readers: dict[str, StreamReader], fresh: int, seconds: float) -> Iterator[str]:
    sums = {stream: int(reader.lengths.sum()) for stream, reader in readers.items()}
    for stream in dict.fromkeys([*job.items.settings.modalities, *job.streams]):
        form = job.streams.get(stream)
        if form is None:
            yield f"{stream}: none in this corpus, so no stream" + (" and no dict.txt" if stream == "text" else "")
        elif form.dim:
            yield f"{stream}: {sums[stream]} {form.unit} of {form.dim} features"
        elif stream == "audio":
            yield f"audio: {sums[stream] / SAMPLE_RATE:.1f} s at {SAMPLE_RATE} Hz"
        else:
            yield f"{stream}: {sums[stream]} {form.unit}"
    rate = f", {fresh / seconds:.1f} utterances/s" if fresh else ", nothing was left to do"
    yield f"{job.data_bin}: {job.shards} shards in {seconds:.1f} s{rate}"


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()

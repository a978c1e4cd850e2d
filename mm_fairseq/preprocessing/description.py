"""What a data-bin says of itself beside its shards.

meta.json is written first, unfinished, and last, with `"complete": true`; in between stand the manifest, the targets,
tokeniser and dictionary, and, once the shards are there, the quarantine, the rows of every split, an index of each
stream, what rows and labels are found by, and the checksums of all that.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import save_array, write_atomic
from ..databin import StreamReader, meta_bytes, write_lookup
from ..databin import complete as mark_complete
from ..databin.lookup import MANIFEST, QUARANTINE
from ..errors import MMFairseqError
from ..manifest import MODALITIES, Manifest
from ..media.dictionary import build_dictionary, read_dictionary
from ..media.text import (
    load_tokenizer,
    tokenizer_contents,
    tokenizer_files,
    tokenizer_spec,
    train_tokenizer,
)
from ..targets import write_targets
from ..versions import installed
from .budget import Budget
from .items import RAW, SAMPLE_RATE, Form, Settings
from .prepared import Prepared
from .quarantine import Account, Problem, labelled_in

FORMAT = 1

_CORPUS = {  # of the meta data: what is compared by checksums, or follows from the corpus
    "manifest_sha256": "its rows",
    "targets_sha256": "its targets",
    "splits_sha256": "its splits",
    "rows": "its number of rows",
    "protocols": "its protocols",
}

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


def describe(corpus: Prepared, settings: Settings, streams: Mapping[str, Form]) -> dict[str, Any]:
    """The meta data of a data-bin that is not finished, made here and now."""
    spec = tokenizer_spec(settings.tokenizer) if streams.get("text") == RAW["text"] else None
    return {
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
            "follow_links": settings.follow_links,
        },
        "versions": installed(_TOOLS),
        "manifest_sha256": corpus.sha256["manifest.tsv"],
        "targets_sha256": corpus.sha256["targets.json"],
        "splits_sha256": corpus.sha256["splits"],
    }


def begin(data_bin: Path, corpus: Prepared, settings: Settings, streams: Mapping[str, Form]) -> dict[str, Any]:
    """Compare with an earlier meta.json or write the first; then all that is known before the shards.

    Returns:
        The meta data.

    Raises:
        MMFairseqError: the data-bin was begun with another corpus or other options.
    """
    meta = describe(corpus, settings, streams)
    path = data_bin / "meta.json"
    if path.is_file():
        compare(path, meta)
    else:
        write_atomic(path, meta_bytes(meta))
    if not (data_bin / MANIFEST).is_file():  # many ranks may come here one after the other; `finish` compares
        _manifest(corpus).write(data_bin / MANIFEST)
        write_targets(data_bin / "targets.json", corpus.targets)
    if meta["tokenizer"]:
        _keep_text(data_bin, corpus, settings, meta["tokenizer"])
    return meta


def _manifest(corpus: Prepared) -> Manifest:
    """That of the data-bin, which may be elsewhere."""
    return Manifest(Path(os.path.abspath(corpus.manifest.root)), corpus.manifest.extra, corpus.manifest.utterances)


def _keep_text(data_bin: Path, corpus: Prepared, settings: Settings, spec: dict[str, Any]) -> None:
    """Tokeniser and dictionary, copied or made from the training transcripts; the dictionary last."""
    if not (data_bin / "dict.txt").is_file():
        texts = _train_texts(corpus)
        dictionary = tokenizer_files(settings.tokenizer)[2]
        contents = tokenizer_contents(settings.tokenizer)
        for content, name in zip(contents, spec["files"], strict=False):
            write_atomic(data_bin / name, content)
        if spec["files"] and not contents:
            write_atomic(data_bin / spec["files"][0], train_tokenizer(spec["name"], texts, settings.vocab_size))
        tokenizer = load_tokenizer(spec, data_bin)
        if dictionary:
            symbols = dictionary.read_bytes()
        else:
            symbols = (tokenizer.dictionary() or build_dictionary(tokenizer, texts)).encode()
        write_atomic(data_bin / "dict.txt", symbols)
    read_dictionary(data_bin / "dict.txt")


def compare(path: Path, meta: dict[str, Any]) -> None:
    """See that a data-bin was begun just so.

    Raises:
        MMFairseqError: by another corpus, other options or other libraries; it names what differs.
    """
    try:
        begun = json.loads(path.read_bytes())
        differing = [key for key in meta if key != "complete" and begun[key] != meta[key]]
    except (ValueError, KeyError, TypeError) as error:
        raise MMFairseqError(f"{path}: not the meta data of a data-bin of format {FORMAT} ({error!r})") from error
    if changed := [_CORPUS[key] for key in differing if key in _CORPUS]:
        raise MMFairseqError(
            f"{path.parent}: the prepared corpus has changed since it was begun ({', '.join(changed)}); name another "
            "folder, or make it anew with --overwrite"
        )
    if differing:
        changes = "; ".join(f"{key} was {_short(begun[key])}, is {_short(meta[key])}" for key in differing)
        raise MMFairseqError(
            f"{path.parent}: begun with other options or libraries: {changes}; use the same, another folder, "
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


def finish(
    data_bin: Path,
    corpus: Prepared,
    meta: dict[str, Any],
    streams: Mapping[str, Form],
    problems: list[Problem],
    budget: Budget | None,
) -> list[str]:
    """Quarantine, splits, what rows and items are found by, then the meta data that makes the data-bin complete.

    Args:
        data_bin: the folder, with every shard of every stream.
        corpus: what was binarized.
        meta: as `begin` gave it.
        streams: name to how it is stored.
        problems: of all shards, in manifest order.
        budget: knows which of them were counted already; None where any number will do.

    Returns:
        The summary, in lines.

    Raises:
        MMFairseqError: no utterance is left, none of a modality, or fewer than the budget allows.
    """
    rows = corpus.manifest.utterances
    readers = {stream: StreamReader(data_bin / stream, len(rows), anew=True) for stream in streams}
    for reader in readers.values():
        reader.index.write(reader.folder)
    own = {stream: reader for stream, reader in readers.items() if stream in MODALITIES}
    kept = np.any([reader.lengths > 0 for reader in own.values()], axis=0)
    account = Account([row.id for row in rows], kept, problems, labelled_in(corpus, kept))
    write_atomic(data_bin / QUARANTINE, account.to_jsonl())
    if not kept.any():
        first = account.problems[0]
        raise MMFairseqError(
            f"no utterance is left of {len(rows)}; see {data_bin / QUARANTINE}. The first: "
            f"{first.id}: {first.stage}: {first.error}"
        )
    for stream, reader in own.items():
        if not reader.lengths.any():
            first = next(problem for problem in account.problems if problem.stage == stream)
            raise MMFairseqError(
                f"{stream}: none of {len(rows)} utterances has any that is usable; the first: {first.id}: "
                f"{first.error}. Mend that (is the corpus's root right?), or leave {stream} out of --modalities"
            )
    if budget:
        try:
            budget.add(range(len(rows)), problems)
        except MMFairseqError as error:
            raise MMFairseqError(f"{error}. All of them stand in {data_bin / QUARANTINE}") from error
    emptied = []
    for (protocol, fold, split), members in corpus.splits.items():
        left = np.array([row for row in members if kept[row]], np.int64)
        folder = data_bin / "splits" / protocol / fold
        folder.mkdir(parents=True, exist_ok=True)
        save_array(folder / f"{split}.npy", left)
        if members and not len(left):
            emptied.append(f"warning: nothing is left of {protocol}/{fold}/{split}")
    manifest = _manifest(corpus)
    if not manifest.stands_in(data_bin / MANIFEST):  # it is damaged, or the corpus was moved meanwhile
        manifest.write(data_bin / MANIFEST)
    write_targets(data_bin / "targets.json", corpus.targets)
    write_lookup(data_bin, corpus.targets, rows)
    mark_complete(data_bin, meta | {"verdicts": account.verdicts()})
    return [*account.lines(), *emptied, *_totals(meta, streams, readers)]


def _totals(meta: dict[str, Any], streams: Mapping[str, Form], readers: Mapping[str, StreamReader]) -> Iterator[str]:
    sums = {stream: int(reader.lengths.sum()) for stream, reader in readers.items()}
    for stream in dict.fromkeys([*meta["settings"]["modalities"], *streams]):
        form = streams.get(stream)
        if form is None:
            yield f"{stream}: none in this corpus, so no stream" + (" and no dict.txt" if stream == "text" else "")
        elif form.dim:
            yield f"{stream}: {sums[stream]} {form.unit} of {form.dim} features"
        elif stream == "audio":
            yield f"audio: {sums[stream] / SAMPLE_RATE:.1f} s at {SAMPLE_RATE} Hz"
        else:
            yield f"{stream}: {sums[stream]} {form.unit}"

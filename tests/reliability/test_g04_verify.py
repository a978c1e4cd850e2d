"""G4: `verify` finds every flipped bit and every truncation of every kind of file; opening finds every truncation."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from databin_factory import EVERY_KIND, reshard, write_data_bin

from mm_fairseq import checkpoints
from mm_fairseq.cli.verify import checkpoint_faults
from mm_fairseq.databin import CachedStream, DataBin, StreamReader, cached_streams, complete, write_shard
from mm_fairseq.databin.verify import verify
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.targets import kind_of


def cache(data_bin, modality, dtype):
    """A cached stream of random features."""
    raw = StreamReader(data_bin / modality)
    stream = CachedStream(modality, "made_up", {"layer": 1}, {"file": "ab"}, 100, (), dtype, 2)
    rng = np.random.default_rng(0)
    stream.write(data_bin)
    for shard, rows in enumerate(raw.shards):
        items = [rng.normal(size=(int(raw.lengths[row] > 0) * 3, 2)).astype(dtype) for row in rows]
        source = raw.index.table[shard]["bin"].tobytes().hex()
        write_shard(data_bin / stream.name, shard, items, dtype, 2, notes={"source": source})
    stream.open(data_bin, len(raw))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A data-bin with raw and cached streams, and a checkpoint beside it."""
    folder = tmp_path_factory.mktemp("written")
    data_bin = write_data_bin(folder / "data-bin", 3, frame_size=16, missing={"audio": {2}}, every_kind=True)
    reshard(data_bin, 7)
    (data_bin / "quarantine.jsonl").write_text('{"id": "utt002", "error": "made up"}\n')
    complete(data_bin, DataBin(data_bin).meta | {"tokenizer": {}})
    cache(data_bin, "audio", "float16")
    cache(data_bin, "text", "float32")
    state = {"model": {"weight": torch.randn(40, 40)}, "optimizer_history": [{"num_updates": 3}], "extra_state": {}}
    checkpoints.save(state, folder / "checkpoint_last.pt")
    return folder


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def found_by_verify(folder, path=None):
    """The faults of what a file belongs to; of all where none is given."""
    within = path is None or "data-bin" in path.relative_to(folder).parts
    faults = [f"data-bin/{fault.path}" for fault in verify(folder / "data-bin").faults] if within else []
    return faults + ([] if path and within else checkpoint_faults(folder / "checkpoint_last.pt"))


def opened(folder):
    """What a training opens."""
    data = DataBin(folder / "data-bin")
    rows = len(data.manifest)
    for target in EVERY_KIND:
        data.labels(kind_of(target, soft=bool(target.votes))).truths(np.arange(rows))
    for fold in data.protocols["official"]:
        for split in ("train", "valid", "test"):
            data.split(data.place(fold=fold), split)[:]
    for name in data.meta["streams"]:
        StreamReader(data.path / name, rows)
        for stream in cached_streams(data.path, name):
            stream.open(data.path, rows)
    if fault := checkpoints.damage(folder / "checkpoint_last.pt"):
        raise MMFairseqError(fault)


def chosen(paths, count, rng):
    """As many places as asked for, every file about equally often."""
    order = [paths[place % len(paths)] for place in range(count)]
    return [order[place] for place in rng.permutation(count)]


def flips(folder, count):
    rng = np.random.default_rng(4)
    assert found_by_verify(folder) == []
    for path in chosen(files(folder), count, rng):
        place, bit = int(rng.integers(path.stat().st_size)), 1 << int(rng.integers(8))
        before = path.read_bytes()
        path.write_bytes(before[:place] + bytes([before[place] ^ bit]) + before[place + 1 :])
        yield path, place, bit
        path.write_bytes(before)
    assert found_by_verify(folder) == []


def truncations(folder, count):
    rng = np.random.default_rng(5)
    for number, path in enumerate(chosen(files(folder), count, rng)):
        before = path.read_bytes()
        size = len(before) - 1 if number % 2 else int(rng.integers(len(before)))
        os.truncate(path, size)
        yield path, size
        path.write_bytes(before)
    assert found_by_verify(folder) == []
    opened(folder)


def check_flips(written, tmp_path, count):
    own = shutil.copytree(written, tmp_path / "own")
    missed = [flip for flip in flips(own, count) if not named(found_by_verify(own, flip[0]), own, flip[0])]
    assert missed == []


def check_truncations(written, tmp_path, count):
    own = shutil.copytree(written, tmp_path / "own")
    missed = []
    for path, size in truncations(own, count):
        if not named(found_by_verify(own, path), own, path):
            missed.append((path, size, "verify"))
        if path.suffix == ".sha256":
            continue  # a checkpoint is opened without it
        try:
            opened(own)
            missed.append((path, size, "open"))
        except MMFairseqError:
            pass
    assert missed == []


def named(faults, folder, path):
    """Whether the file that was damaged is among those that are named."""
    name = path.relative_to(folder).as_posix()
    return any(fault == name for fault in faults) if name.startswith("data-bin") else bool(faults)


def test_flips(written, tmp_path):
    check_flips(written, tmp_path, 100)


def test_truncations(written, tmp_path):
    check_truncations(written, tmp_path, 100)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_1000_flips(written, tmp_path):
    check_flips(written, tmp_path, 1000)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_1000_truncations(written, tmp_path):
    check_truncations(written, tmp_path, 1000)


def test_every_kind_of_file_is_among_them(written):
    kinds = {re.sub(r"\d+", "N", path.name) for path in files(written)}
    wanted = "SHANSUMS meta.json manifest.tsv targets.json dict.txt quarantine.jsonl rows.npy lookup.json emotion.npy"
    wanted += " emotion.votes.npy train.npy shard-N.bin shard-N.idx shard-N.json joined.idx stream.json"
    assert kinds >= {*wanted.split(), "checkpoint_last.pt", "checkpoint_last.pt.shaN"}
    assert Path("data-bin/spare/manifest.tsv") in {path.relative_to(written) for path in files(written)}

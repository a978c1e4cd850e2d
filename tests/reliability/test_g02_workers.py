"""G2: the bytes of a data-bin and of cached streams do not depend on workers, ranks, jobs, threads or order."""

import random
import shutil

import cv2
import pytest
import torch
from databin_factory import reshard, write_data_bin
from engine_here import Here
from extract_factory import GAPS, settings
from small_corpus import Corpus, tree

from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.media.faces import single_threaded
from mm_fairseq.preprocessing import cluster, work
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.extract import extract
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.preprocessing.share import Share
from mm_fairseq.targets import Target, write_targets
from mm_fairseq.toy import iemocap

SMALL = Settings(shard_size=2, vocab_size=60)
BACKBONES = ["audio=mfcc", "audio=logmel"]
WAYS = {
    "8 workers": [{"workers": 8}],
    "2 workers": [{"workers": 2}],
    "ranks, the last one first": [{"share": Share(3, rank), "workers": 1 + rank} for rank in (2, 0, 1)],
    "more ranks than shards": [{"share": Share(9, rank)} for rank in range(9)],
    "jobs": [{"engine": Here(4)}],
}


@pytest.fixture
def any_order(monkeypatch):
    """Shards are made in another order at each call."""
    dice, original = random.Random(0), work.run_shards

    def run_shards(process, shards, *args):
        original(process, dice.sample(shards, len(shards)), *args)

    monkeypatch.setattr(work, "run_shards", run_shards)
    monkeypatch.setattr(cluster, "POLL", 0.01)


@pytest.fixture
def threads():
    """torch and OpenCV use several, which are lost in workers."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    cv2.setNumThreads(3)
    yield
    torch.set_num_threads(before)
    single_threaded()


@pytest.mark.usefixtures("any_order", "threads")
def test_binarize(tmp_path):
    prepared = Corpus(tmp_path, 12).write()
    binarize(prepared, tmp_path / "reference", SMALL, 1)
    for way, runs in WAYS.items():
        for options in runs:
            binarize(prepared, tmp_path / way, SMALL, **options)
        assert tree(tmp_path / way) == tree(tmp_path / "reference"), way


@pytest.mark.usefixtures("any_order", "threads")
def test_extract(tmp_path):
    raw = reshard(write_data_bin(tmp_path / "raw", missing=GAPS), 4)
    reference = shutil.copytree(raw, tmp_path / "reference")
    extract(reference, BACKBONES, settings())
    for way, runs in WAYS.items():
        out = shutil.copytree(raw, tmp_path / way)
        for options in runs:
            rest = {key: value for key, value in options.items() if key != "engine"}
            extract(out, BACKBONES, settings(**rest), options.get("engine"))
        assert tree(out) == tree(reference), way


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_films(tmp_path):
    """Faces are looked for and followed, sound is taken out of films."""
    raw, prepared, rows = tmp_path / "raw", tmp_path / "prepared", []
    iemocap.write(raw, 20, 0)
    prepared.mkdir()
    for film in sorted(path.relative_to(raw) for path in raw.rglob("*.avi"))[:3]:
        for side, start in [(side, start) for side in (0, 360) for start in (0.5, 1.0)]:
            name = f"{film.stem}-{side}-{start}"
            rows.append(Utterance(name, "train", start=start, end=start + 0.8, video=f"{film}#xywh={side},112,360,256"))
    Manifest(raw, ["emotion"], rows).write(prepared / "manifest.tsv")
    write_targets(prepared / "targets.json", [Target("emotion", "single", ("sad", "glad"))])
    options = Settings(shard_size=2, frame_size=64)
    told = binarize(prepared, tmp_path / "reference", options, 1)
    assert told[0] == f"{len(rows)} utterances: {len(rows)} ok, 0 repaired, 0 quarantined"
    for workers in (2, 8):
        binarize(prepared, tmp_path / f"{workers}", options, workers)
        assert tree(tmp_path / f"{workers}") == tree(tmp_path / "reference")

"""G1: a second start on an output that is being written: one wins, the other says so, or both share the work."""

import shutil

import pytest
from databin_factory import reshard, write_data_bin
from extract_factory import settings
from killing import FORK
from small_corpus import Corpus, tree

from mm_fairseq import atomic
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.encoding import Encoding
from mm_fairseq.preprocessing.extract import extract
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.preprocessing.job import Job
from mm_fairseq.preprocessing.share import Share

SMALL = Settings(shard_size=2, tokenizer="words")
BACKBONES = ["audio=mfcc"]


class Halfway:
    """A function in another process, which stands still in its second shard until it is told to go on."""

    def __init__(self, work, function, *args, **options):
        self.there, self.onward, self.shards = FORK.Event(), FORK.Event(), 0
        original = work.process_shard

        def process_shard(this, shard, *args):
            self.shards += 1
            if self.shards == 2:
                self.there.set()
                assert self.onward.wait(1000)
            original(this, shard, *args)

        def run():
            work.process_shard = process_shard
            function(*args, **options)

        self.process = FORK.Process(target=run, daemon=True)
        self.process.start()
        assert self.there.wait(1000)

    def end(self):
        self.onward.set()
        self.process.join()
        assert self.process.exitcode == 0


def said(function, *args, **options):
    """What it says that is refused."""
    with pytest.raises(MMFairseqError) as error:
        function(*args, **options)
    return str(error.value)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(atomic, "LOCK_WAIT", 0.1)


def test_binarize(tmp_path):
    prepared, out = Corpus(tmp_path, 12).write(), tmp_path / "bin"
    binarize(prepared, tmp_path / "reference", SMALL)
    first = Halfway(Job, binarize, prepared, out, SMALL)
    ways = [{}, {"resume": True}, {"overwrite": True}, {"share": Share(2, 0)}, {"workers": 2, "resume": True}]
    for options in ways:
        assert said(binarize, prepared, out, SMALL, **options).endswith("wait for it or end it")
    first.end()
    assert tree(out) == tree(tmp_path / "reference")


def test_ranks_keep_a_run_alone_out_and_share_with_each_other(tmp_path):
    prepared, out = Corpus(tmp_path, 12).write(), tmp_path / "bin"
    binarize(prepared, tmp_path / "reference", SMALL)
    first = Halfway(Job, binarize, prepared, out, SMALL, share=Share(2, 0))
    for options in ({}, {"resume": True}, {"overwrite": True}):
        assert "another process is writing there" in said(binarize, prepared, out, SMALL, **options)
    assert "are still with others, by rank: 0 (2)" in binarize(prepared, out, SMALL, share=Share(2, 1))[1]
    first.end()
    assert tree(out) == tree(tmp_path / "reference")


def test_extract(tmp_path):
    raw = reshard(write_data_bin(tmp_path / "raw"), 4)
    out = shutil.copytree(raw, tmp_path / "out")
    extract(raw, BACKBONES, settings())
    first = Halfway(Encoding, extract, out, BACKBONES, settings())
    for options in ({}, {"overwrite": True}):
        assert "another process is writing there, at shard 1" in said(extract, out, BACKBONES, settings(**options))
    second = FORK.Process(target=extract, args=(out, BACKBONES, settings(resume=True)))
    second.start()  # it makes the other shards, and waits for the one that is being made
    first_done = [out / path.parent.name / "shard-00005.json" for path in raw.glob("audio@*/stream.json")]
    while second.is_alive() and not all(path.exists() for path in first_done):
        second.join(0.01)
    first.end()
    second.join()
    assert second.exitcode == 0
    assert tree(out) == tree(raw)


def test_a_data_bin_is_not_binarized_under_an_extraction(tmp_path):
    prepared, out = Corpus(tmp_path, 12).write(), tmp_path / "bin"
    binarize(prepared, out, SMALL)
    before = tree(out)
    first = Halfway(Encoding, extract, out, BACKBONES, settings())
    for options in ({"resume": True}, {"overwrite": True}):
        assert "another process is writing there" in said(binarize, prepared, out, SMALL, **options)
    first.end()
    assert {name: checksum for name, checksum in tree(out).items() if "@" not in name} == before

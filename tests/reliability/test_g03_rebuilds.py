"""G3: what a reader has open stays as it was through rebuilds; what is opened later is the new one, or is told."""

import hashlib
import random
import shutil

import pytest
from databin_factory import reshard, write_data_bin
from extract_factory import settings
from killing import FORK, Killed, settle
from small_corpus import Corpus, tree

from mm_fairseq.databin import StreamReader, cached_streams
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.extract import extract
from mm_fairseq.preprocessing.items import Settings

REBUILDS = [20, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]


class Mapped:
    """A process that holds all items of streams by memory map; a file that shrinks under it would kill it."""

    def __init__(self, *folders):
        self.pipe, other = FORK.Pipe()
        self.process = FORK.Process(target=self._serve, args=(folders, other), daemon=True)
        self.process.start()
        other.close()

    def _serve(self, folders, pipe):
        self.pipe.close()
        items = [item for folder in folders for item in StreamReader(folder)]
        while pipe.recv():
            pipe.send(hashlib.sha256(b"".join(item.tobytes() for item in items)).hexdigest())

    def sum(self):
        """Over all bytes that it has mapped, read now."""
        self.pipe.send(True)
        assert self.pipe.poll(600), f"the reader has ended: {self.process.exitcode}"
        return self.pipe.recv()

    def close(self):
        self.pipe.send(False)
        self.process.join()
        assert self.process.exitcode == 0


@pytest.mark.parametrize("rebuilds", REBUILDS)
def test_binarize(tmp_path, rebuilds):
    """Each rebuild has other shards, and another vocabulary, than the one before."""
    prepared, out = Corpus(tmp_path, 12).write(), tmp_path / "bin"
    binarize(prepared, out, Settings(shard_size=5, tokenizer="words"))
    oldest, late = Mapped(out / "audio", out / "text"), StreamReader(out / "audio")
    before, sums = oldest.sum(), set()
    for number in range(rebuilds):
        held = Mapped(out / "audio", out / "text")
        first = held.sum()
        options = Settings(shard_size=2 + number % 3, tokenizer=("chars", "words")[number % 2])
        binarize(prepared, out, options, 1 + number % 2, overwrite=True)
        assert held.sum() == first
        assert oldest.sum() == before
        held.close()
        sums.add(first)
        assert [len(item) for item in StreamReader(out / "audio")] == [4000 + 100 * row for row in range(12)]
    assert len(sums) == 2  # of words and of characters
    oldest.close()
    with pytest.raises(MMFairseqError, match="changed since"):
        late[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "prepared", "raw"]


@pytest.mark.parametrize("rebuilds", REBUILDS)
def test_extract(tmp_path, rebuilds):
    out = reshard(write_data_bin(tmp_path / "bin"), 6)
    extract(out, ["audio=mfcc"], settings())
    (stream,) = cached_streams(out, "audio")
    reader, wanted = Mapped(out / stream.name), tree(out)
    before = reader.sum()
    for number in range(rebuilds):
        if number % 5 == 4:
            shutil.rmtree(out / stream.name)
        extract(out, ["audio=mfcc"], settings(overwrite=True, workers=1 + number % 2))
        assert reader.sum() == before
        assert tree(out) == wanted
    reader.close()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_kill_of_a_rebuild_leaves_the_old_one(tmp_path, workers):
    """Until the new one takes its place, which `resume` sees to."""
    prepared, out, dice = Corpus(tmp_path, 12).write(), tmp_path / "bin", random.Random(workers)
    old, new = (Settings(shard_size=size, tokenizer="words") for size in (5, 2))
    for place, options in ((out, old), (tmp_path / "new", new)):
        binarize(prepared, place, options)
    before, wanted = tree(out), tree(tmp_path / "new")
    run = Killed(tmp_path, tmp_path / "log", binarize, prepared, out, new, workers, overwrite=True)
    assert not run.end()
    steps, seen = run.steps.value, set()
    for at in [*(dice.randrange(3, steps) for _ in range(3)), *range(steps - 4, steps + 1)]:
        binarize(prepared, out, old, overwrite=True)
        assert tree(out) == before
        run = Killed(tmp_path, tmp_path / "log", binarize, prepared, out, new, workers, at=at, overwrite=True)
        killed = run.end()
        settle(tmp_path / ".bin.new")
        there = tree(out)
        seen.add("old" if there == before else "new" if there == wanted else "none")
        assert there in (before, wanted, {})
        if killed and (tmp_path / ".bin.new").is_dir():
            with pytest.raises(
                MMFairseqError, match=r"\.bin\.new: what was to take the place of .*bin is not finished"
            ):
                binarize(prepared, out, new)
        binarize(prepared, out, new, workers, resume=True)
        assert tree(out) == wanted
        assert {path.name for path in tmp_path.iterdir()} == {"bin", "log", "new", "prepared", "raw"}
    assert "old" in seen

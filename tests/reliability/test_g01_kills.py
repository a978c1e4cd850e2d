"""G1: a kill at any moment of binarize or extract loses at most one shard a worker; --resume mends all."""

import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from databin_factory import reshard, write_data_bin
from extract_factory import GAPS, settings
from killing import Killed, is_done, settle, started
from small_corpus import Corpus, tree

from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.extract import extract
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.preprocessing.share import Share

SMALL = Settings(shard_size=2, tokenizer="words")
BACKBONES = ["audio=mfcc", "audio=logmel"]
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


class Binarizing:
    """What is tried with binarize: 6 shards of sound and text."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.prepared = folder, Corpus(folder, 12).write()

    def new(self, name):
        """An output to write to."""
        return self.folder / name

    def make(self, out, workers=1, share=None):
        """Make it, or take it up."""
        return binarize(self.prepared, out, SMALL, workers, resume=True, share=share)

    def folders(self, out):
        """That it writes."""
        return [out, out / "audio", out / "text"]

    def words(self, out):
        """Of the command."""
        return ["binarize", str(self.prepared), str(out), "--shard-size", "2", "--tokenizer", "words"]


class Extracting:
    """What is tried with extract: two streams of 6 shards."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.raw = folder, reshard(write_data_bin(folder / "raw", missing=GAPS), 4)

    def new(self, name):
        return shutil.copytree(self.raw, self.folder / name)

    def make(self, out, workers=1, share=None):
        return extract(out, BACKBONES, settings(resume=True, workers=workers, share=share or Share()))

    def folders(self, out):
        return list(out.glob("audio@*"))

    def words(self, out):
        backbones = [word for backbone in BACKBONES for word in ("--backbone", backbone)]
        return ["extract", str(out), *backbones, "--max-positions-a", "25", "--device", "cpu"]


@pytest.fixture(params=[Binarizing, Extracting])
def work(request, tmp_path):
    return request.param(tmp_path / "work")


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1500)])])
def test_a_kill_loses_at_most_one_shard_a_worker(work, kills, tmp_path):
    dice, killed, attempt = random.Random(kills), 0, 0
    out = work.new("whole")
    whole = Killed(out, tmp_path / "log", work.make, out)
    assert not whole.end()
    steps, reference = whole.steps.value, tree(out)
    assert started(tmp_path / "log")
    while killed < kills:
        attempt += 1
        out, done, seen = work.new(f"{attempt}"), set(), set()
        for again in range(dice.randint(1, 3)):
            log, workers, ranks = tmp_path / f"{attempt}-{again}", dice.choice((1, 1, 2, 3)), dice.choice((1, 1, 2))
            at, how, first = dice.randint(1, steps // workers // ranks), dice.choice(SIGNALS), dice.randrange(ranks)
            runs = [
                Killed(out, log, work.make, out, workers, Share(ranks, rank), at=at * (rank == first), how=how)
                for rank in range(ranks)
            ]
            killed += sum([run.end() for run in runs])
            settle(out)
            new = started(log)
            assert not new & done, "made twice"
            assert sum(not is_done(shard) for shard in new) <= workers
            seen |= new
            done = {shard for shard in seen if is_done(shard)}
        work.make(out, dice.choice((1, 2)))
        assert tree(out) == reference
        shutil.rmtree(out)
    assert attempt <= 2 * kills


def test_what_kills_leave_goes(work):
    """Locks of shards that are done, and files of shards that are not."""
    out, wanted = work.new("out"), work.new("whole")
    work.make(wanted)
    work.make(out)
    for folder in work.folders(out):
        (folder / "shard-00001.json").unlink(missing_ok=True)
        for name in (".shard-00000.tmp", ".shard-00001.tmp", ".shard-00001.bin.tmp", ".shard-00001.json.tmp"):
            (folder / name).touch()
    work.make(out)
    assert tree(out) == tree(wanted)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_real_command(work, how):
    reference = work.new("whole")
    work.make(reference)
    out, began = work.new("out"), time.monotonic()
    command = [sys.executable, "-m", "mm_fairseq", *work.words(out), "--workers", "2"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while run.poll() is None and not [*out.glob("audio*/shard-*.idx"), *out.glob("audio@*/.*.tmp")]:
        assert time.monotonic() - began < 200
        time.sleep(0.001)
    run.send_signal(how)
    told = run.communicate(timeout=100)[1]
    assert run.returncode in (-how, 130, 0)
    assert ("run again with --resume" in told) == (run.returncode == 130)
    settle(out)
    subprocess.run([*command, "--resume"], check=True, stdout=subprocess.DEVNULL)
    assert tree(out) == tree(reference)

"""A full disk: one error that names file, folder and remedy, no half shard, and a run that is taken up."""

import errno
import multiprocessing
import os
import resource
import time

import pytest
from extract_factory import make

from mm_fairseq.databin.format import open_shard
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.media import audio, bounds
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.disk import disk_errors
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.preprocessing.share import Share

SMALL = Settings(shard_size=2, tokenizer="words")


def limited(size, function, *args, **options):
    """What a process is told that may write no larger files than this; "" if nothing."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(False)

    def call():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
            function(*args, **options)
        except MMFairseqError as error:
            sender.send(str(error))
        else:
            sender.send("")

    process = context.Process(target=call)
    process.start()
    told = receiver.recv()
    process.join()
    return told


@pytest.mark.parametrize(
    ("workers", "share"), [(1, Share()), (2, Share()), (1, Share(2, 1))], ids=["one", "two", "a rank"]
)
def test_binarize(corpus, tmp_path, tree, workers, share):
    """Shards of sound are 16 to 21 kB."""
    binarize(corpus.write(), tmp_path / "reference", SMALL)
    out = tmp_path / "bin"
    told = limited(18500, binarize, corpus.out, out, SMALL, workers, share=share)
    assert told.startswith(f"{out}/audio/shard-0000")
    assert f"the largest size allowed to a file is reached; make room there, what is finished in {out} is kept" in told
    assert told.endswith("run again with --resume")
    assert not list(out.rglob(".*"))
    done = [int(path.stem[-5:]) for path in out.glob("audio/*.json")]
    assert done
    for shard in done:
        open_shard(out / "audio", shard)
    binarize(corpus.out, out, SMALL, resume=True)
    assert tree(out) == tree(tmp_path / "reference")


def test_what_stands_beside_the_shards(corpus, tmp_path, tree):
    binarize(corpus.write(), tmp_path / "reference", SMALL)
    told = limited(600, binarize, corpus.out, tmp_path / "bin", SMALL)
    assert told.startswith(f"{tmp_path}/bin/meta.json: the largest size allowed to a file is reached")
    assert not list((tmp_path / "bin").rglob("*"))
    binarize(corpus.out, tmp_path / "bin", SMALL)
    assert tree(tmp_path / "bin") == tree(tmp_path / "reference")


def test_extract(own, tree):
    before = tree(own)
    told = limited(9000, make, own, {"audio": "mfcc"})
    assert f"{own}/audio@mfcc-" in told
    assert told.endswith("run again with --resume")
    assert {name: checksum for name, checksum in tree(own).items() if "@" not in name} == before
    assert not list(own.glob("*@*/.*"))
    make(own, {"audio": "mfcc"}, resume=True)
    assert sum(name.endswith(".bin") for name in tree(own)) - sum(name.endswith(".bin") for name in before) == 5


def test_errors_of_the_system(tmp_path):
    with (
        pytest.raises(MMFairseqError, match=r"^bin: no space is left on its disk; .*in bin is kept.*--resume$"),
        disk_errors("bin"),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"x")
    with (
        pytest.raises(MMFairseqError, match=r"^bin/a: Stale file handle; look at its disk"),
        disk_errors("bin", "bin/a"),
    ):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    with pytest.raises(MMFairseqError, match=r"^bin/a: its file system keeps no locks"), disk_errors("bin"):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), "bin/a")
    with pytest.raises(FileNotFoundError), disk_errors("bin"):
        (tmp_path / "none").read_bytes()
    with (
        pytest.raises(MMFairseqError, match=r"^bin/a: this process may open no more files; .*ulimit.*--resume$"),
        disk_errors("bin"),
    ):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "bin/a")


@pytest.mark.parametrize(("workers", "late"), [(1, False), (2, False), (2, True)])
def test_recordings_that_cannot_be_read_for_a_while(corpus, tmp_path, tree, monkeypatch, workers, late):
    """Binarizing stops, and is taken up; no recording is set aside. Nor does what is late in beginning stay behind."""

    def fails(path):
        if str(path).endswith("u05.wav"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return original(path)

    def begins(*args):
        try:
            (tmp_path / "begun").touch(exist_ok=False)
        except FileExistsError:
            time.sleep(2)
        bind(*args)

    original, bind, out = audio.check_file, bounds._bind, tmp_path / "bin"
    binarize(corpus.write(), tmp_path / "reference", SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(audio, "check_file", fails)
        if late:
            patch.setattr(bounds, "_bind", begins)
        with pytest.raises(MMFairseqError, match=r"raw/u05\.wav: Stale file handle; look at its disk, .*--resume$"):
            binarize(corpus.out, out, SMALL, workers)
    assert not list(out.rglob(".*"))
    binarize(corpus.out, out, SMALL, resume=True)
    assert tree(out) == tree(tmp_path / "reference")

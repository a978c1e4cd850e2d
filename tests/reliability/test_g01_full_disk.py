"""G1: a full disk ends binarize and extract with its name, leaves nothing half written, and --resume goes on."""

import ctypes
import os
import subprocess

import pytest
from databin_factory import write_data_bin
from extract_factory import settings
from killing import FORK
from small_corpus import Corpus, tree

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.extract import extract
from mm_fairseq.preprocessing.items import Settings

SMALL = Settings(shard_size=2, tokenizer="words")
CLONE_NEWNS = 0x20000  # a view of the file systems of one's own, which goes with the process


def mount(place, *options):
    return subprocess.run(["mount", *options, place], capture_output=True, check=False).returncode == 0


@pytest.fixture
def on_a_disk(tmp_path):
    """Calls a function with a folder on a disk of so many kilobytes, and a function that makes it larger."""
    place = tmp_path / "disk"
    place.mkdir()

    def call(kilobytes, function):
        receiver, sender = FORK.Pipe(False)

        def run():
            alone = ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0 and mount("/", "--make-rprivate")
            if not (alone and mount(place, "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs")):
                sender.send(None)
                return
            sender.send(function(place, lambda size: mount(place, "-o", f"remount,size={size}k")))

        process = FORK.Process(target=run)
        process.start()
        sender.close()
        answer = receiver.recv()
        process.join()
        if answer is None:
            pytest.skip("no disk can be mounted here")
        return answer

    return call


def told(function, *args):
    try:
        function(*args)
    except MMFairseqError as error:
        return str(error)
    return ""


def hidden(folder):
    return [name for name in tree(folder) if os.path.basename(name).startswith(".")]


@pytest.mark.parametrize("workers", [1, 2])
def test_binarize(on_a_disk, tmp_path, workers):
    prepared, reference = Corpus(tmp_path, 12).write(), tmp_path / "reference"
    binarize(prepared, reference, SMALL)
    wanted = tree(reference)

    def fill(disk, grow):
        said, left = [], []
        for size in (20, 64, 100, 140, 180):
            assert grow(size)
            said.append(told(binarize, prepared, disk / "bin", SMALL, workers, True))
            left.append(hidden(disk))
        assert grow(4000)
        binarize(prepared, disk / "bin", SMALL, workers, resume=True)
        return said, left, tree(disk / "bin")

    said, left, made = on_a_disk(20, fill)
    assert all("no space is left on its disk; make room there, what is finished in " in line for line in said), said
    assert all(line.endswith("run again with --resume") for line in said)
    assert not any(left), left
    assert made == wanted


def test_extract(on_a_disk, tmp_path):
    raw, backbones = write_data_bin(tmp_path / "raw"), ["audio=mfcc", "audio=logmel"]
    extract(raw, backbones, settings())
    wanted = {name: checksum for name, checksum in tree(raw).items() if "@" in name}
    size = sum((raw / name).stat().st_size for name in wanted) // 1024

    def fill(disk, grow):
        said, left = [], []
        for place in raw.iterdir():
            if "@" not in place.name:
                subprocess.run(["cp", "-r", place, disk], check=True)
        used = (os.statvfs(disk).f_blocks - os.statvfs(disk).f_bfree) * 4
        for room in (0.01, 0.3, 0.7):
            assert grow(int(used + room * size))
            said.append(told(extract, disk, backbones, settings(resume=True)))
            left.append(hidden(disk))
        assert grow(100000)
        extract(disk, backbones, settings(resume=True))
        return said, left, tree(disk)

    said, left, made = on_a_disk(100000, fill)
    assert all("no space is left on its disk; make room there, " in line for line in said), said
    assert not any(left), left
    assert {name: checksum for name, checksum in made.items() if "@" in name} == wanted

"""`mm-fairseq verify`: all that is broken is named, `--repair` makes anew what is broken and nothing else."""

import json
import os
import re
import shutil

import numpy as np
import pytest
import soundfile
import torch

from mm_fairseq import checkpoints
from mm_fairseq.cli import main
from mm_fairseq.databin import DataBin, ShardWriter, StreamReader, cached_streams, complete
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.targets import Target, write_targets

WORDS = ("red", "green", "blue", "one", "two", "three", "now", "then")
ROWS = 12


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus of sound and text, its data-bin of three shards with a cached stream; the prepared folder is gone."""
    folder = tmp_path_factory.mktemp("made")
    raw, prepared = folder / "raw", folder / "prepared"
    raw.mkdir()
    prepared.mkdir()
    rng, rows = np.random.default_rng(0), []
    for number in range(ROWS):
        name = f"u{number:02d}"
        if number != 5:  # which is told in the receipt
            soundfile.write(raw / f"{name}.wav", rng.integers(-3000, 3000, 4000).astype(np.int16), 16000)
        split = ("train", "train", "valid", "test")[number % 4]
        label = {"emotion": "sad" if number % 2 else "glad"}
        rows.append(Utterance(name, split, audio=f"{name}.wav", text=" ".join(rng.choice(WORDS, 4)), labels=label))
    Manifest(raw, ["emotion"], rows).write(prepared / "manifest.tsv")
    write_targets(prepared / "targets.json", [Target("emotion", "single", ("sad", "glad"))])
    options = ["--shard-size", "4", "--vocab-size", "60", "--workers", "1", "--tokenizer", "words"]
    assert main(["binarize", str(prepared), str(folder / "bin"), *options]) == 0
    shutil.rmtree(prepared)
    assert main(["extract", str(folder / "bin"), "--backbone", "audio=mfcc", "--device", "cpu", "--workers", "1"]) == 0
    return folder / "bin"


@pytest.fixture
def own(made, tmp_path):
    return shutil.copytree(made, tmp_path / "bin")


@pytest.fixture
def verify(capsys):
    def call(*words):
        capsys.readouterr()
        status = main(["verify", *map(str, words), "--workers", "2"])
        told = capsys.readouterr()
        assert told.err == "" or status == 2
        return status, told.out.splitlines() + told.err.splitlines()

    return call


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def flip(path):
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 4]) + raw[len(raw) // 2 + 1 :])


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def remove(path):
    path.unlink()


def test_a_whole_one(made, verify):
    status, lines = verify(made)
    assert status == 0
    assert len(lines) == 1
    assert lines[0].startswith(f"{made}: {len(content(made))} files, 0.000 GB in ")
    assert lines[0].endswith(": whole")


def test_all_faults_are_named(own, verify):
    flip(own / "audio/shard-00001.bin")
    cut(own / "text/shard-00000.idx")
    remove(own / "manifest.tsv")
    cached = own / cached_streams(own, "audio")[0].name
    cut(cached / "shard-00002.json")
    flip(cached / "joined.idx")
    status, lines = verify(own)
    assert status == 1
    assert [line.partition(": ")[0] for line in lines[:-1]] == [
        *(f"{own}/audio/shard-00001.bin", f"{cached}/joined.idx", f"{cached}/shard-00002.json"),
        *(f"{own}/manifest.tsv", f"{own}/text/shard-00000.idx"),
    ]
    assert lines[0].endswith("shard-00001.bin: damaged: its bytes are not those that were written")
    assert lines[3].endswith("manifest.tsv: missing")
    assert ": cut short: " in lines[4]
    assert lines[-1].endswith("5 of them broken")


EVERY = ["audio/shard-00001.bin", "audio/shard-00001.json", "text/shard-00000.idx", "audio/joined.idx"]
EVERY += ["audio/SHA256SUMS", "SHA256SUMS", "manifest.tsv", "targets.json", "dict.txt", "meta.json", "lookup.json"]
EVERY += ["splits/official/1/train.npy", "labels/emotion.npy", "rows.npy", "quarantine.jsonl", "spare/meta.json"]
EVERY += ["@/shard-00002.bin", "@/shard-00002.json", "@/joined.idx", "@/stream.json", "@/SHA256SUMS"]


@pytest.mark.parametrize("name", EVERY)
def test_each_is_mended(made, own, verify, name):
    cached = cached_streams(own, "audio")[0].name
    for damage in (flip, cut, remove):
        path = own / name.replace("@", cached)
        damage(path)
        assert verify(own)[0] == 1
        status, lines = verify(own, "--repair")
        assert (status, lines[-1].rpartition(" ")[2]) == (0, "whole"), lines
        assert content(own) == content(made)


def test_only_what_is_broken_is_made_anew(made, own, verify):
    files = {path: path.stat().st_mtime_ns for path in own.rglob("shard-*")}
    flip(own / "audio/shard-00001.bin")
    flip(own / "text/shard-00002.bin")
    assert verify(own, "--repair")[0] == 0
    assert {path.relative_to(own).as_posix() for path, time in files.items() if path.stat().st_mtime_ns != time} == {
        f"{name}.{ending}" for name in ("audio/shard-00001", "text/shard-00002") for ending in ("bin", "idx", "json")
    }
    assert content(own) == content(made)
    assert not list(own.rglob(".*"))


def test_several_at_once(made, own, verify):
    for name in ("audio/shard-00000.bin", "audio/shard-00002.idx", "text/SHA256SUMS", "manifest.tsv", "meta.json"):
        flip(own / name)
    shutil.rmtree(own / cached_streams(own, "audio")[0].name / "spare")
    assert verify(own, "--repair")[0] == 0
    assert content(own) == content(made)


def test_other_recordings_are_not_taken(own, verify, tmp_path, monkeypatch):
    """A broken shard is kept rather than made of something else."""
    root = tmp_path / "raw"
    shutil.copytree(DataBin(own).manifest.root, root)
    samples, rate = soundfile.read(root / "u06.wav", dtype="int16")
    soundfile.write(root / "u06.wav", samples[::-1], rate)
    monkeypatch.setattr(Manifest, "read", redirected(Manifest.read, root))
    flip(own / "audio/shard-00001.bin")
    before = content(own)
    status, lines = verify(own, "--repair")
    assert status == 1
    assert any(
        "audio cannot be mended: shard-00001.bin made anew is not what it was: recordings" in line for line in lines
    )
    assert content(own) == before


def redirected(read, root):
    def other(path):
        manifest = read(path)
        manifest.root = root
        return manifest

    return other


def test_both_copies_broken(own, verify):
    flip(own / "targets.json")
    flip(own / "spare/targets.json")
    status, lines = verify(own, "--repair")
    assert status == 1
    assert any("targets.json and its copy are both broken; `mm-fairseq binarize PREPARED" in line for line in lines)


def test_a_backbone_that_is_gone(own, verify):
    gone = cached_streams(own, "audio")[0]
    path = own / gone.name / "stream.json"
    about = json.loads(path.read_bytes())
    path.write_text(json.dumps(about | {"made": about["made"] | {"backbone": "audio=wav2vec:/gone.pt"}}))
    (own / gone.name / "SHA256SUMS").unlink()
    shutil.rmtree(own / gone.name / "spare")
    flip(own / gone.name / "shard-00001.bin")
    before = content(own)
    status, lines = verify(own, "--repair")
    assert status == 1
    assert any(f"{gone.name} cannot be mended: " in line and "/gone.pt" in line for line in lines)
    assert content(own) == before


def test_numbers_that_are_not_finite(own, verify, monkeypatch):
    """What a writer would have let through."""
    stream = cached_streams(own, "audio")[0]
    with monkeypatch.context() as patch:
        patch.setattr(np, "isfinite", lambda item: np.ones(1, bool))
        raw = StreamReader(own / "audio").index.table[1]["bin"].tobytes().hex()
        with ShardWriter(own / stream.name, 1, "float16", stream.dim, notes={"source": raw}) as writer:
            for item in range(4):
                writer.add(np.full((2, stream.dim), np.nan if item == 3 else 1, np.float16))
    StreamReader(own / stream.name, anew=True).index.write(own / stream.name)
    status, lines = verify(own)
    assert status == 1
    assert lines[0] == f"{own}/{stream.name}/shard-00001.bin: item 3 has a number that is not finite"


def rewritten(own, name, change):
    """With right checksums."""
    array = np.load(own / name)
    np.save(own / name, change(array))
    return DataBin(own).meta


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("splits/official/1/train.npy", lambda rows: rows + ROWS, "rows 12 to 21, there are 12"),
        ("splits/official/1/train.npy", lambda rows: rows * 0, "a row stands twice"),
        ("splits/official/1/train.npy", lambda rows: rows / 2, r"float64 \(6,\), expected whole numbers"),
        ("labels/emotion.npy", lambda labels: 1 - labels, "not the labels of manifest.tsv"),
        ("rows.npy", lambda rows: rows + 1, "not where the rows of manifest.tsv begin"),
    ],
)
def test_what_was_written_wrong_is_told(own, verify, name, change, reason):
    complete(own, rewritten(own, name, change))
    status, (first, *_) = verify(own)
    assert status == 1
    assert first.startswith(f"{own}/{name}: ")
    assert re.search(reason, first)


def test_an_older_form_is_told_and_taken_up(made, own, verify):
    for path in own.rglob("SHA256SUMS"):
        path.unlink()
    for path in list(own.rglob("spare")):
        shutil.rmtree(path)
    for path in own.rglob("shard-*.json"):
        receipt = json.loads(path.read_bytes())
        del receipt["crc32"]
        path.write_text(json.dumps(receipt) + "\n")
    assert StreamReader(own / "audio", ROWS).index.stored
    status, lines = verify(own)
    assert status == 1
    assert [line.partition(": ")[0] for line in lines[:-1]] == [
        f"{own}/{name}SHA256SUMS" for name in ("", "audio/", f"{cached_streams(own, 'audio')[0].name}/", "text/")
    ]
    assert verify(own, "--repair")[0] == 0
    assert set(content(own)) == set(content(made))


def test_a_list_that_was_deleted(made, own, verify):
    """What stands in the copies is compared; without a list nobody knows which of two is the right one."""
    (own / "SHA256SUMS").unlink()
    status, lines = verify(own)
    assert status == 1
    assert lines[0].startswith(f"{own}/SHA256SUMS: missing: it was deleted, ")
    assert "`mm-fairseq verify --repair` writes it where nothing else is broken" in lines[0]
    assert len(lines) == 2
    flip(own / "targets.json")
    assert verify(own)[1][1] == f"{own}/targets.json: missing, or not the same as its copy in spare"
    status, lines = verify(own, "--repair")
    assert status == 1
    assert any("SHA256SUMS cannot be mended: targets.json: " in line and "nobody knows" in line for line in lines)
    shutil.copyfile(own / "spare/targets.json", own / "targets.json")
    assert verify(own, "--repair")[0] == 0
    assert content(own) == content(made)


def test_the_folder_of_a_training(tmp_path, verify):
    for name in ("checkpoint_last.pt", "checkpoint_best.pt", *(f"checkpoint{epoch}.pt" for epoch in range(1, 6))):
        checkpoints.save({"model": {}}, tmp_path / name)
    status, (line,) = verify(tmp_path)
    assert status == 2
    assert "the folder of a training, not a data-bin; name one of its checkpoints: checkpoint_" in line
    assert line.endswith("checkpoint_last.pt, checkpoint5.pt, checkpoint4.pt, checkpoint3.pt and 2 more")


def test_a_checkpoint(tmp_path, verify):
    path = tmp_path / "checkpoint_best.pt"
    checkpoints.save({"model": {"weight": torch.randn(9)}, "extra_state": {}}, path)
    assert verify(path) == (0, [f"{path}: whole"])
    assert verify(path, "--repair")[0] == 2
    beside = checkpoints.sum_file(path)
    others = "".join(f"{digit * 64}  {path.name}\n" for digit in "12")  # two kills between a checkpoint and its sum
    beside.write_text(others + beside.read_text())
    assert verify(path)[0] == 0
    beside.write_text(others + beside.read_text()[:-9])
    assert verify(path)[0] == 1
    flip(path)
    status, lines = verify(path)
    assert status == 1
    assert lines[0].startswith(f"{path}: ")
    checkpoints.save({"model": {"weight": torch.full((9,), torch.nan)}, "extra_state": {}}, path)
    assert verify(path)[0] == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["/no/such"], "no such data-bin or checkpoint"),
        (["."], "not a data-bin"),
        ([".", "--workers", "0"], "--workers"),
    ],
)
def test_what_cannot_be_checked(tmp_path, monkeypatch, capsys, words, reason):
    monkeypatch.chdir(tmp_path)
    assert main(["verify", *words]) == 2
    assert reason in capsys.readouterr().err

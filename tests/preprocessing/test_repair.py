"""What `verify --repair` makes anew of recordings and by pretrained files: the bytes of the first time, or nothing."""

import json
import os
import shutil

import numpy as np
import pytest
from extract_factory import make

from mm_fairseq.databin import DataBin, cached_streams, complete, write_lookup
from mm_fairseq.databin.verify import verify
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.preprocessing.repair import repair
from mm_fairseq.targets import Target, write_targets
from mm_fairseq.toy.clips import write_clip


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A data-bin of eight short films with sound, in four shards; what it was prepared from is gone."""
    folder, rng, rows = tmp_path_factory.mktemp("films"), np.random.default_rng(0), []
    (folder / "prepared").mkdir()
    (folder / "raw").mkdir()
    for number in range(8):
        frames = [np.full((48, 64, 3), 20 * number + 9 * place, np.uint8) for place in range(10)]
        write_clip(folder / f"raw/{number}.mp4", frames, rng.integers(-3000, 3000, 16000).astype(np.int16), 10, 16000)
        rows.append(
            Utterance(f"u{number}", "train", video=f"{number}.mp4", text="now and then", labels={"e": "ab"[number % 2]})
        )
    Manifest(folder / "raw", ["e"], rows).write(folder / "prepared/manifest.tsv")
    write_targets(folder / "prepared/targets.json", [Target("e", "single", ("a", "b"))])
    settings = Settings(shard_size=2, faces="center", frame_size=32, tokenizer="chars")
    binarize(folder / "prepared", folder / "data-bin", settings)
    shutil.rmtree(folder / "prepared")
    return folder / "data-bin"


def mended(folder, workers=1):
    """Its faults after repair."""
    found = verify(folder).faults
    assert found
    lines = repair(folder, found, workers)
    return lines, [fault.path for fault in verify(folder).faults]


def damage(path):
    raw = path.read_bytes()
    path.write_bytes(raw[:-3] + b"xyz")


@pytest.mark.parametrize("workers", [1, 2])
def test_shards_of_every_stream(films, tmp_path, tree, workers):
    own = shutil.copytree(films, tmp_path / "own")
    for name in ("audio/shard-00001", "text/shard-00003", "video/shard-00000", "video/shard-00002"):
        damage(own / f"{name}.bin")
    os.truncate(own / "video/shard-00002.idx", 9)
    lines, left = mended(own, workers)
    assert left == []
    assert tree(own) == tree(films)
    assert sum("made anew from the recordings" in line for line in lines) == 4
    assert not list(own.rglob(".*"))


def test_recordings_behind_links(films, tmp_path, tree):
    """A data-bin of --follow-links is mended through them, as it was made."""
    raw, prepared, own = tmp_path / "raw", tmp_path / "prepared", tmp_path / "own"
    raw.mkdir()
    prepared.mkdir()
    for number in range(4):
        (raw / f"{number}.mp4").symlink_to(films.parent / f"raw/{number}.mp4")
    rows = [Utterance(f"u{number}", "train", video=f"{number}.mp4", labels={"e": "a"}) for number in range(4)]
    Manifest(raw, ["e"], rows).write(prepared / "manifest.tsv")
    write_targets(prepared / "targets.json", [Target("e", "single", ("a", "b"))])
    settings = Settings(shard_size=2, faces="none", frame_size=32, follow_links=True)
    binarize(prepared, own, settings)
    before = tree(own)
    for stream in ("audio", "video"):
        damage(own / stream / "shard-00001.bin")
    lines, left = mended(own)
    assert left == []
    assert tree(own) == before
    assert sum("made anew from the recordings" in line for line in lines) == 2


def test_a_whole_stream_and_one_on_another_disk(films, tmp_path, tree):
    own = shutil.copytree(films, tmp_path / "own")
    shutil.move(own / "video", tmp_path / "disk")
    (own / "video").symlink_to(tmp_path / "disk")
    damage(own / "video/shard-00001.bin")
    shutil.rmtree(own / "audio")
    assert mended(own)[1] == []
    assert (own / "video").is_symlink()
    assert tree(own) | {f"video/{name}": value for name, value in tree(tmp_path / "disk").items()} == tree(films)


def test_recordings_that_are_gone(films, tmp_path, tree):
    """The damaged shard stays: most of it may be read yet."""
    own = shutil.copytree(films, tmp_path / "own")
    manifest = own / "manifest.tsv"
    for path in (manifest, own / "spare/manifest.tsv"):
        path.write_text(path.read_text().replace(str(films.parent / "raw"), "/no/such/folder"))
    damage(own / "audio/shard-00001.bin")
    meta = DataBin(films).meta
    write_lookup(own, [Target("e", "single", ("a", "b"))], Manifest.read(manifest).utterances)
    complete(own, meta)
    before = tree(own)
    lines, left = mended(own)
    assert left == ["audio/shard-00001.bin"]
    assert any(
        "audio cannot be mended: /no/such/folder: the folder of the corpus's recordings is not there" in line
        for line in lines
    )
    assert tree(own) == before


def test_one_recording_that_is_gone(films, tmp_path, tree):
    own = shutil.copytree(films, tmp_path / "own")
    film = films.parent / "raw/2.mp4"
    film.rename(tmp_path / "2.mp4")
    try:
        damage(own / "audio/shard-00001.bin")
        before = tree(own)
        lines, left = mended(own)
        assert left == ["audio/shard-00001.bin"]
        assert any("is not what it was: recordings have changed" in line for line in lines)
        assert tree(own) == before
    finally:
        (tmp_path / "2.mp4").rename(film)


@pytest.mark.parametrize("gone", [False, True])
def test_neither_list_nor_receipt(films, tmp_path, tree, gone):
    """The data-bin's own list still tells what the stream's one was."""
    own = shutil.copytree(films, tmp_path / "own")
    film = films.parent / "raw/2.mp4"
    for name in ("SHA256SUMS", "shard-00001.json", "shard-00001.bin"):
        damage(own / "audio" / name)
    before = tree(own)
    if gone:
        film.rename(tmp_path / "2.mp4")
    try:
        lines, left = mended(own)
    finally:
        if gone:
            (tmp_path / "2.mp4").rename(film)
    assert bool(left) == gone
    assert tree(own) == (before if gone else tree(films))
    assert any("made anew it is not what it was: recordings have changed" in line for line in lines) == gone


def test_nobody_knows_what_was_there(films, tmp_path, tree):
    own = shutil.copytree(films, tmp_path / "own")
    shutil.rmtree(own / "audio")
    (own / "SHA256SUMS").unlink()
    lines, left = mended(own)
    assert left
    assert not (own / "audio").exists()
    assert any("audio cannot be mended: neither SHA256SUMS nor that of the data-bin tells" in line for line in lines)


def test_features_by_the_file_they_were_made_with(own, specs, checkpoints, tmp_path, tree, monkeypatch):
    """Wherever it is called from; a file that was moved is named."""
    (tmp_path / "here").mkdir()
    shutil.copyfile(checkpoints / "wav2vec/wav2vec.pt", tmp_path / "here/wav2vec.pt")
    monkeypatch.chdir(tmp_path / "here")
    make(own, {"audio": "wav2vec:wav2vec.pt", "text": specs["text"]})
    monkeypatch.chdir(tmp_path)
    before = tree(own)
    audio, text = (cached_streams(own, name)[0].name for name in ("audio", "text"))
    damage(own / audio / "shard-00001.bin")
    damage(own / text / "shard-00004.idx")
    lines = repair(own, verify(own).faults)
    assert f"{audio}: shard 1 made anew by audio=wav2vec:{tmp_path}/here/wav2vec.pt" in lines
    assert {name: value for name, value in tree(own).items() if "@" in name} == {
        name: value for name, value in before.items() if "@" in name
    }
    (tmp_path / "here/wav2vec.pt").unlink()
    damage(own / audio / "shard-00001.bin")
    told = [line for line in repair(own, verify(own).faults) if line.startswith(f"{audio} cannot be mended: ")]
    assert len(told) == 1
    assert "here/wav2vec.pt" in told[0]


def test_a_stream_that_was_not_finished(own, tree):
    make(own, {"audio": "mfcc"})
    stream = cached_streams(own, "audio")[0]
    before = tree(own / stream.name)
    for path in (own / stream.name).glob("shard-0000[34].*"):
        path.unlink()
    for name in ("joined.idx", "SHA256SUMS"):
        (own / stream.name / name).unlink()
    assert [fault.path for fault in verify(own).faults if stream.name in fault.path]
    repair(own, verify(own).faults)
    assert tree(own / stream.name) == before


def test_paths_in_stream_json_hold_anywhere(own, specs):
    make(own, {"audio": specs["audio"]})
    (stream,) = cached_streams(own, "audio")
    assert stream.made == {"backbone": f"audio={specs['audio']}", "dtype": "float16", "frames": 25}
    about = json.loads((own / stream.name / "stream.json").read_bytes())
    assert about["made"] == stream.made


def test_an_older_form_is_taken_up_by_resume(corpus, tmp_path, tree):
    """Without sums, copies and the CRC of receipts; shards stay as they are."""
    settings = Settings(shard_size=4, vocab_size=60)
    binarize(corpus.write(), tmp_path / "bin", settings)
    own, new = tmp_path / "bin", tree(tmp_path / "bin")
    for path in own.rglob("SHA256SUMS"):
        path.unlink()
    shutil.rmtree(own / "spare")
    for path in own.rglob("shard-*.json"):
        receipt = json.loads(path.read_bytes())
        del receipt["crc32"]
        path.write_text(json.dumps(receipt) + "\n")
    assert DataBin(own).meta["rows"] == 12
    times = {path: path.stat().st_mtime_ns for path in own.rglob("shard-*")}
    binarize(corpus.out, own, settings, resume=True)
    assert {path: path.stat().st_mtime_ns for path in own.rglob("shard-*")} == times
    assert verify(own).faults == []
    assert set(tree(own)) == set(new)
    same = {name for name, value in tree(own).items() if new[name] == value}
    assert {name for name in new if "SHA256SUMS" not in name and not name.endswith("json")} <= same


def test_a_data_bin_in_the_making_is_told(corpus, tmp_path):
    settings = Settings(shard_size=4, vocab_size=60)
    binarize(corpus.write(), tmp_path / "bin", settings)
    meta = tmp_path / "bin/meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"complete": False}))
    told = {fault.path: fault.reason for fault in verify(tmp_path / "bin").faults}
    assert set(told) == {"meta.json"}
    lines = repair(tmp_path / "bin", verify(tmp_path / "bin").faults)
    assert lines == ["meta.json: taken from spare/meta.json"]
    assert verify(tmp_path / "bin").faults == []

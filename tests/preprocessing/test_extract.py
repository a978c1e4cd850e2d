"""Cached features are those of training; bytes depend on data-bin and backbone alone; a kill loses nothing."""

import json
import multiprocessing
import os
import shutil

import cv2
import numpy as np
import pytest
import torch
from databin_factory import reshard
from extract_factory import FRAMES, GAPS, make

from mm_fairseq.atomic import HeldError, locked
from mm_fairseq.backbones import BackboneSet, FeatureSeq, resolve
from mm_fairseq.backbones.mfcc import Mfcc
from mm_fairseq.databin import DataBin, StreamReader, cached_streams, fingerprint
from mm_fairseq.datasets import Limits, RawAudioTextVideoDataset
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing import encoding
from mm_fairseq.preprocessing.encoding import Encoding
from mm_fairseq.preprocessing.extract import CODE_FRAMES, Share
from mm_fairseq.tasks._backbones import Sources

BOS, PAD, EOS = 0, 1, 2


def cached(tree, folder):
    """Checksums of everything below the cached streams."""
    return {name: checksum for name, checksum in tree(folder).items() if "@" in name.split("/")[0]}


@pytest.fixture(scope="module")
def reference(raw, specs, tmp_path_factory):
    """The streams of one worker."""
    folder = shutil.copytree(raw, tmp_path_factory.mktemp("reference") / "data-bin")
    make(folder, specs)
    return folder


def both(data_bin, specs, stream_limits=FRAMES):
    """Each utterance by itself, as the model sees it: from the raw streams and from the cached ones."""
    found = resolve(specs, set(), {})
    model = BackboneSet(found.entries)
    model.load_pretrained(found)
    model.eval()
    limits = {name: Limits(*model.input_limits(name, frames)) for name, frames in stream_limits.items()}
    folder = DataBin(data_bin)
    cached = Sources("cached", folder, found.entries, limits, (BOS, EOS)).readers
    rows = np.arange(len(folder.manifest))
    for features in ({}, cached):
        data = RawAudioTextVideoDataset(
            data_bin, "train", rows, folder.manifest.utterances, list(specs), {}, limits, (BOS, PAD, EOS), False,
            features=features,
        )  # fmt: skip
        with torch.no_grad():
            yield [model(**data.collater([data[row]])["net_input"]) for row in rows.tolist()]


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(("dtype", "rtol", "atol"), [("float16", 1e-3, 1e-5), ("float32", 0, 1e-6)])
def test_cached_features_are_those_of_training(own, specs, reference, dtype, rtol, atol):
    if dtype == "float16":
        own = reference
    else:
        make(own, specs, dtype=dtype)
    plain, cached = both(own, specs)
    for row, (wanted, found) in enumerate(zip(plain, cached, strict=True)):
        for name in specs:
            missing = row in GAPS[name]
            assert wanted[name].padding_mask.all() == found[name].padding_mask.all() == missing
            if not missing:
                assert found[name].x.shape == wanted[name].x.shape
                scale = wanted[name].x.abs().max().clamp(min=1)
                torch.testing.assert_close(found[name].x, wanted[name].x, rtol=rtol, atol=atol * scale.item())


def test_inputs_are_cut_as_in_training(reference):
    for name, frames in FRAMES.items():
        (stream,) = cached_streams(reference, name)
        lengths = stream.open(reference, 24).lengths
        assert (lengths == 0).nonzero()[0].tolist() == sorted(GAPS[name])
        assert lengths.max() == frames


def test_summary_says_how_much_and_what_is_left_out(raw, own, specs):
    audio, *told = make(own, {"audio": specs["audio"]}, frames={"audio": 3})
    lengths = StreamReader(raw / "audio").lengths
    (stream,) = cached_streams(own, "audio")
    assert stream.longest < lengths[lengths > 0].min()
    assert audio.startswith(f"{stream.name}: 24 utterances, {22 * stream.longest / 16000:.1f} s of audio, 0.0 MB in ")
    assert audio.endswith(" utterances/s")
    assert told == [
        "  2 without audio: utt001, utt004",
        f"  22 longer than {stream.longest} samples, cut at the end: utt000, utt002, utt003, utt005, utt006 ...",
    ]
    again = make(own, {"audio": specs["audio"]}, frames={"audio": 3}, resume=True)
    assert again[0].endswith(", nothing was left to do")


def test_an_utterance_that_is_too_short_is_taken_as_missing(raw, own, tree):
    told = make(own, {"audio": "mfcc:n_fft=4096"})
    lengths = StreamReader(raw / "audio").lengths
    short = ((lengths > 0) & (lengths < 4096)).nonzero()[0]
    assert 0 < len(short) < 22
    (stream,) = cached_streams(own, "audio")
    assert set((stream.open(own, 24).lengths == 0).nonzero()[0]) == {*short, *GAPS["audio"]}
    assert f"  {len(short)} shorter than 4096 samples, taken as without: utt{short[0]:03d}" in told[2]


def test_layers_stand_side_by_side_and_identify_the_stream(own):
    make(own, {"audio": "mfcc:n_mfcc=8"})
    make(own, {"audio": "mfcc:n_mfcc=13"})
    assert sorted(stream.dim for stream in cached_streams(own, "audio")) == [8, 13]


# Same bytes


def use_threads():
    """Threads of torch and OpenCV are there when workers are forked, and lost in them."""
    assert (torch.ones(500, 500) @ torch.ones(500, 500)).sum() == 500**3
    cv2.setNumThreads(3)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)


def test_bytes_do_not_depend_on_workers_threads_and_ranks(raw, specs, reference, tmp_path, tree):
    wanted = cached(tree, reference)
    assert sum(name.endswith(".bin") for name in wanted) == 15
    ways = {
        "workers": [{"workers": 2}],
        "threads": [{}],
        "ranks": [{"share": Share(2, 1)}, {"share": Share(2, 0), "workers": 2}],
        "more ranks than shards": [{"share": Share(7, rank)} for rank in range(7)],
    }
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    use_threads()
    try:
        for way, runs in ways.items():
            own = shutil.copytree(raw, tmp_path / way)
            for options in runs:
                make(own, specs, **options)
            assert cached(tree, own) == wanted, way
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_many_features_go_through_a_file(own, specs, reference, tree, monkeypatch):
    monkeypatch.setattr(encoding, "KEPT_IN_MEMORY", 100)
    make(own, specs)
    assert cached(tree, own) == cached(tree, reference)


def test_the_raw_data_stays(raw, own, specs, tree):
    before = fingerprint(own)
    make(own, specs)
    assert fingerprint(own) == before
    assert {name: checksum for name, checksum in tree(own).items() if "@" not in name} == tree(raw)


def fork(function, *args, **options):
    process = multiprocessing.get_context("fork").Process(target=function, args=args, kwargs=options)
    process.start()
    return process


@pytest.mark.parametrize("shares", [(Share(2, 0), Share(2, 1)), (Share(), Share())], ids=["ranks", "the same twice"])
def test_two_at_once_do_not_disturb_each_other(own, specs, reference, tree, shares):
    runs = [fork(make, own, specs, share=share, resume=shares[0] == shares[1]) for share in shares]
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    assert cached(tree, own) == cached(tree, reference)


@pytest.mark.parametrize("damage", ["truncate", "receipt", "index", "raw data"])
def test_resume_mends_what_is_damaged_and_keeps_the_rest(own, specs, reference, tree, damage):
    make(own, {"text": specs["text"]})
    (stream,) = cached_streams(own, "text")
    before, wanted = cached(tree, own), {key: value for key, value in cached(tree, reference).items() if "text" in key}
    assert before == wanted
    shard = own / stream.name / "shard-00003"
    others = {path: path.stat().st_mtime_ns for path in shard.parent.glob("shard-*") if path.stem != shard.name}
    if damage == "truncate":
        os.truncate(shard.with_suffix(".bin"), 100)
    elif damage == "receipt":
        shard.with_suffix(".json").unlink()
    elif damage == "index":
        shard.with_suffix(".idx").write_bytes(b"x")
    else:
        receipt = json.loads(shard.with_suffix(".json").read_bytes())
        shard.with_suffix(".json").write_text(json.dumps(receipt | {"notes": {"source": "0" * 64}}))
    (own / stream.name / "joined.idx").unlink()  # with which nobody would look
    with pytest.raises(MMFairseqError, match="1 of 5 shards are missing, damaged or of other raw data"):
        stream.open(own, 24)
    make(own, {"text": specs["text"]}, resume=True)
    assert cached(tree, own) == before
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_shards_that_the_raw_data_no_longer_has_go(raw, tmp_path, specs, tree):
    audio = {"audio": specs["audio"]}
    many, few = (shutil.copytree(raw, tmp_path / f"{size}") for size in (3, 12))
    reshard(many, 3)
    make(many, audio)
    make(reshard(few, 12), audio)
    make(reshard(many, 12), audio, resume=True)
    assert cached(tree, many) == cached(tree, few)


# What is there already


def test_a_stream_that_is_there_needs_a_word(own, specs, tree):
    text = {"text": specs["text"]}
    make(own, text, share=Share(2, 1))
    before = tree(own)
    with pytest.raises(MMFairseqError, match=r"text@roberta-\w+: there already, with 2 shards.*--resume.*--overwrite"):
        make(own, specs)
    with pytest.raises(MMFairseqError, match="one or the other"):
        make(own, text, resume=True, overwrite=True)
    assert tree(own) == before
    make(own, text, share=Share(2, 0))
    (stream,) = cached_streams(own, "text")
    assert len(stream.open(own, 24)) == 24


def test_overwrite_makes_one_stream_anew(own, specs, tree):
    make(own, specs)
    before = cached(tree, own)
    reader = cached_streams(own, "audio")[0].open(own, 24)
    first = np.array(reader[0])
    times = {path: path.stat().st_mtime_ns for path in own.glob("*@*/*.bin")}
    make(own, {"audio": specs["audio"]}, overwrite=True)
    assert cached(tree, own) == before
    fresh = {path for path in times if path.stat().st_mtime_ns != times[path]}
    assert fresh == set(own.glob("audio@*/*.bin"))
    assert np.array_equal(reader[0], first)  # who has it mapped keeps the old one


def test_the_data_bin_is_held_meanwhile(own, specs, monkeypatch):
    def rewrite(*args):
        with locked(own, wait=0):
            raise AssertionError("binarize came in between")

    monkeypatch.setattr(Encoding, "process_shard", rewrite)
    with pytest.raises(HeldError, match="another process is writing there"):
        make(own, specs)


# Codes


@pytest.fixture
def codes(monkeypatch):
    """MFCC as a backbone that stores numbers of codes."""

    def stored(self, x, padding_mask):
        out = self(x, padding_mask)
        return FeatureSeq((out.x[..., :2] * 100).long() + self.shift_by, out.padding_mask)

    monkeypatch.setattr(Mfcc, "code_groups", 2)
    monkeypatch.setattr(Mfcc, "shift_by", 0, raising=False)
    monkeypatch.setattr(Mfcc, "stored", stored)
    return monkeypatch


def test_codes_are_stored_as_integers(own, codes):
    make(own, {"audio": "mfcc:n_mfcc=8"}, frames={})
    (stream,) = cached_streams(own, "audio")
    assert (stream.dtype, stream.dim, stream.longest) == ("int16", 2, 400 + (CODE_FRAMES - 1) * 160)
    reader = stream.open(own, 24)
    assert (reader.dtype, reader[0].shape[1]) == (np.int16, 2)
    assert len(reader[0]) > FRAMES["audio"]


def test_codes_of_vq_wav2vec_are_taken_for_what_they_are_made_of(own, checkpoints):
    specs = {"audio": f"vq_wav2vec:{checkpoints}/vq_wav2vec/vq-wav2vec_kmeans.pt"}
    make(own, specs)
    plain, cached = both(own, specs, {"audio": FRAMES["audio"]})
    for row, (wanted, found) in enumerate(zip(plain, cached, strict=True)):
        if row not in GAPS["audio"]:
            torch.testing.assert_close(found["audio"], wanted["audio"])


def test_codes_beyond_the_type_are_named(own, codes):
    codes.setattr(Mfcc, "shift_by", 40000)
    with pytest.raises(MMFairseqError, match=r"'mfcc', utterance 'utt\d+': 4\d+ is too large for int16$"):
        make(own, {"audio": "mfcc:n_mfcc=8"})


def test_reading_ahead_changes_nothing(own, specs, reference, tree, monkeypatch):
    monkeypatch.setitem(encoding.READERS, "cpu", 3)
    make(own, specs)
    assert cached(tree, own) == cached(tree, reference)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_features(own, specs, reference, tree):
    make(own, specs, device="cuda", workers=None)
    for name in specs:
        (found,), (wanted,) = (cached_streams(folder, name) for folder in (own, reference))
        for one, other in zip(found.open(own, 24), wanted.open(reference, 24), strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3)

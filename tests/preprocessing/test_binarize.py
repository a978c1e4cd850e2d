"""Every utterance is accounted for; what is there already is taken up, refused or made anew."""

import json
import os
import time
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from mm_fairseq.databin import StreamReader, unpack_frames
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.media.dictionary import TokenIds, read_dictionary
from mm_fairseq.media.faces import decode_jpeg
from mm_fairseq.media.text import load_tokenizer
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.targets import Target, read_targets, write_targets
from mm_fairseq.toy import iemocap

SMALL = Settings(shard_size=2, vocab_size=60)


def meta(folder):
    return json.loads((folder / "meta.json").read_text())


def problems(folder):
    return [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]


def test_everything_is_stored_in_order(corpus, tmp_path):
    out = tmp_path / "bin"
    summary = binarize(corpus.write(), out, SMALL)
    sound = StreamReader(out / "audio", 12)
    for item, row in zip(sound, corpus.rows, strict=True):
        assert np.array_equal(item, soundfile.read(corpus.raw / row.audio, dtype="int16")[0])
    tokenizer, numbers = load_tokenizer(meta(out)["tokenizer"], out), read_dictionary(out / "dict.txt")
    for item, row in zip(StreamReader(out / "text"), corpus.rows, strict=True):
        assert item.tolist() == TokenIds(tokenizer, numbers)(row.text).tolist()
    assert "12 utterances: 12 ok, 0 repaired, 0 quarantined" in summary
    assert f"audio: {sound.lengths.sum() / 16000:.1f} s at 16000 Hz" in summary
    assert "video: none in this corpus, so no stream" in summary
    assert Manifest.read(out / "manifest.tsv").utterances == corpus.rows
    assert [target.name for target in read_targets(out / "targets.json")] == ["emotion"]
    assert {key: meta(out)[key] for key in ("format", "complete", "rows", "shard_size", "sample_rate")} == {
        "format": 1,
        "complete": True,
        "rows": 12,
        "shard_size": 2,
        "sample_rate": 16000,
    }
    assert sorted(meta(out)["streams"]) == ["audio", "text"]


def test_splits_of_the_column_and_of_lists(corpus, tmp_path):
    binarize(corpus.write(), tmp_path / "column", SMALL)
    assert np.load(tmp_path / "column/splits/official/1/test.npy").tolist() == [3, 7, 11]
    corpus.lists = {"by_hand/2/train": ["u05", "u01"], "by_hand/2/test": [], "by_hand/10/train": ["u00"]}
    corpus.write()
    (corpus.out / "account.json").write_text('{"protocols": [{"name": "by_hand", "folds": ["2"]}]}')
    binarize(corpus.out, tmp_path / "lists", SMALL)
    rows = np.load(tmp_path / "lists/splits/by_hand/2/train.npy")
    assert (rows.tolist(), rows.dtype) == ([5, 1], np.int64)
    assert len(np.load(tmp_path / "lists/splits/by_hand/2/test.npy")) == 0
    assert meta(tmp_path / "lists")["protocols"] == [{"name": "by_hand", "folds": ["2", "10"]}]


def test_bad_input_of_every_kind(corpus, tmp_path):
    rows = corpus.rows
    (corpus.raw / "u00.wav").unlink()
    (corpus.raw / "u01.wav").write_bytes(b"RIFF nonsense")
    raw = (corpus.raw / "u02.wav").read_bytes()
    (corpus.raw / "u02.wav").write_bytes(raw[:-3000])
    rows[3] = replace(rows[3], text="  ")
    soundfile.write(corpus.raw / "u04.wav", np.zeros(399), 16000)
    soundfile.write(corpus.raw / "u05.wav", np.full(4000, np.nan, np.float32), 16000, subtype="FLOAT")
    rows[6] = replace(rows[6], start=5.0, end=6.0)
    rows[7] = replace(rows[7], audio="", text="")
    rows[8] = replace(rows[8], audio="")
    rows[9] = replace(rows[9], labels={"emotion": ""})
    (corpus.raw / "u10.wav").unlink()
    rows[10] = replace(rows[10], text="")
    summary = binarize(corpus.write(), tmp_path / "bin", SMALL, workers=2)
    found = [(line["id"], line["stage"], line["verdict"], line["code"]) for line in problems(tmp_path / "bin")]
    assert found == [
        ("u00", "audio", "repaired", "missing_file"),
        ("u01", "audio", "repaired", "unreadable"),
        ("u02", "audio", "repaired", "truncated"),
        ("u03", "text", "repaired", "empty_transcript"),
        ("u04", "audio", "repaired", "too_short"),
        ("u05", "audio", "repaired", "non_finite"),
        ("u06", "audio", "repaired", "span_outside"),
        ("u07", "audio", "quarantined", "empty_audio"),
        ("u07", "text", "quarantined", "empty_transcript"),
        ("u08", "audio", "repaired", "empty_audio"),
        ("u10", "audio", "quarantined", "missing_file"),
        ("u10", "text", "quarantined", "empty_transcript"),
    ]
    assert [line["path"] for line in problems(tmp_path / "bin")][:4] == ["u00.wav", "u01.wav", "u02.wav", ""]
    assert summary[0] == "12 utterances: 2 ok, 8 repaired, 2 quarantined"
    assert all(any(name in line for line in summary) for name in ("u00", "u07", "u10"))
    assert StreamReader(tmp_path / "bin/audio", 12).lengths[[0, 7, 8, 10]].tolist() == [0] * 4
    kept = [np.load(path).tolist() for path in sorted((tmp_path / "bin/splits/official/1").glob("*.npy"))]
    assert kept == [[3, 11], [0, 1, 4, 5, 8, 9], [2, 6]]


def test_a_modality_that_is_wholly_lost_is_an_error(corpus, tmp_path):
    corpus.rows = [replace(row, audio=f"no/{row.audio}", text="hello") for row in corpus.rows]
    with pytest.raises(
        MMFairseqError, match=r"audio: none of 12 .*u00: .*no such file.*leave audio out of --modalities"
    ):
        binarize(corpus.write(), tmp_path / "bin", Settings(), budget=False)


def test_nothing_left(corpus, tmp_path):
    corpus.rows = [replace(row, audio=f"no/{row.audio}", text="") for row in corpus.rows]
    with pytest.raises(MMFairseqError, match=r"no utterance is left of 12.*u00: audio: .*no such file"):
        binarize(corpus.write(), tmp_path / "bin", SMALL, budget=False)
    assert not meta(tmp_path / "bin")["complete"]
    assert len(problems(tmp_path / "bin")) == 12


def test_a_split_that_empties_is_told(corpus, tmp_path):
    corpus.lists = {"p/1/train": ["u00"], "p/1/test": ["u01"]}
    corpus.rows[1] = replace(corpus.rows[1], audio="", text="")
    assert "warning: nothing is left of p/1/test" in binarize(corpus.write(), tmp_path / "bin", SMALL)


def test_no_text_in_the_corpus(corpus, tmp_path):
    corpus.rows = [replace(row, text="") for row in corpus.rows]
    summary = binarize(corpus.write(), tmp_path / "bin", SMALL)
    assert "text: none in this corpus, so no stream and no dict.txt" in summary
    assert not (tmp_path / "bin/dict.txt").exists()
    assert not problems(tmp_path / "bin")
    assert meta(tmp_path / "bin")["tokenizer"] is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"modalities": ("audio", "smell")}, "unknown 'smell'; known: audio, text, video"),
        ({"modalities": ("video",)}, "no utterance has video"),
        ({"faces": "guess"}, "'guess': known are detect, center, none"),
        ({"fps": 0.0}, "--fps 0: must be 0.01 to 1000"),
        ({"fps": float("nan")}, "--fps nan"),
        ({"shard_size": 0}, "--shard-size 0"),
        ({"tokenizer": "gpt3:x"}, "unknown tokenizer"),
    ],
)
def test_options_that_are_none(corpus, tmp_path, change, reason):
    with pytest.raises(MMFairseqError, match=reason):
        binarize(corpus.write(), tmp_path / "bin", replace(SMALL, **change))
    assert not (tmp_path / "bin").exists()


def test_folders_that_are_taken(corpus, tmp_path, tree):
    out = tmp_path / "bin"
    out.mkdir()
    (out / "thesis.txt").touch()
    for options in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(MMFairseqError, match="something else than a data-bin"):
            binarize(corpus.write(), out, SMALL, **options)
    (out / "thesis.txt").unlink()
    binarize(corpus.out, out, SMALL)
    before = tree(out)
    with pytest.raises(MMFairseqError, match="already; take it up with --resume or replace it with --overwrite"):
        binarize(corpus.out, out, SMALL)
    assert any("nothing was left to do" in line for line in binarize(corpus.out, out, SMALL, resume=True))
    assert tree(out) == before
    reader = StreamReader(out / "audio")
    assert len(reader[11]) == 5100
    binarize(corpus.out, out, replace(SMALL, shard_size=5), overwrite=True)
    assert len(list((out / "audio").glob("*.bin"))) == 3
    assert len(reader[11]) == 5100
    with pytest.raises(MMFairseqError, match="changed since"):
        reader[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "prepared", "raw"]


def test_streams_may_lie_on_other_disks(corpus, tmp_path, tree):
    """Links made before, or when all is there."""
    binarize(corpus.write(), tmp_path / "reference", SMALL)
    out = tmp_path / "bin"
    out.mkdir()
    (tmp_path / "disk").mkdir()
    (out / "audio").symlink_to(tmp_path / "disk")
    binarize(corpus.out, out, SMALL)
    assert tree(out) | {f"audio/{name}": checksum for name, checksum in tree(tmp_path / "disk").items()} == tree(
        tmp_path / "reference"
    )
    (tmp_path / "elsewhere.bin").write_bytes((out / "text/shard-00002.bin").read_bytes())
    (out / "text/shard-00002.bin").unlink()
    (out / "text/shard-00002.bin").symlink_to(tmp_path / "elsewhere.bin")
    (tmp_path / "disk/.shard-00001.bin.tmp").touch()
    assert any("nothing was left to do" in line for line in binarize(corpus.out, out, SMALL, resume=True))
    assert not (tmp_path / "disk/.shard-00001.bin.tmp").exists()
    assert [len(item) for item in StreamReader(out / "audio")] == [4000 + 100 * number for number in range(12)]
    assert len(list(StreamReader(out / "text"))) == 12


def test_resume_refuses_other_settings_and_another_corpus(corpus, tmp_path):
    out = tmp_path / "bin"
    binarize(corpus.write(), out, SMALL)
    with pytest.raises(MMFairseqError, match=r"shard_size was 2, is 3"):
        binarize(corpus.out, out, replace(SMALL, shard_size=3), resume=True)
    corpus.rows[0] = replace(corpus.rows[0], text="other words")
    with pytest.raises(MMFairseqError, match=r"the prepared corpus has changed since it was begun \(its rows\)"):
        binarize(corpus.write(), out, SMALL, resume=True)


@pytest.mark.parametrize("damage", ["truncate", "receipt", "index"])
def test_resume_mends_a_damaged_shard(corpus, tmp_path, tree, damage):
    out = tmp_path / "bin"
    binarize(corpus.write(), out, SMALL)
    before = tree(out)
    shard = out / "audio/shard-00003"
    if damage == "truncate":
        os.truncate(shard.with_suffix(".bin"), 100)
    elif damage == "receipt":
        shard.with_suffix(".json").unlink()
    else:
        shard.with_suffix(".idx").write_bytes(b"x")
    binarize(corpus.out, out, SMALL, resume=True)
    assert tree(out) == before


def test_video_with_faces_and_its_sound(tmp_path):
    """Toy IEMOCAP: the left or right half of a dialogue's picture; its sound where there is no wav."""
    iemocap.write(tmp_path / "raw", 20, 0)
    film = sorted((tmp_path / "raw").rglob("*.avi"))[0].relative_to(tmp_path / "raw")
    rows = [
        Utterance("left", "train", start=0.5, end=1.5, video=f"{film}#xywh=0,112,360,256"),
        Utterance("right", "train", start=1.0, end=2.6, video=f"{film}#xywh=360,112,360,256"),
        Utterance("wall", "train", start=0.5, end=1.5, video=f"{film}#xywh=0,0,60,60"),
        Utterance("no film", "train", start=0.5, end=1.5, audio=str(film)),
    ]
    (tmp_path / "prepared").mkdir()
    Manifest(tmp_path / "raw", ["emotion"], rows).write(tmp_path / "prepared/manifest.tsv")
    write_targets(tmp_path / "prepared/targets.json", [Target("emotion", "single", ("sad", "glad"))])
    out = tmp_path / "bin"
    summary = binarize(tmp_path / "prepared", out, Settings(frame_size=64))
    assert StreamReader(out / "audio").lengths.tolist() == [16000, 25600, 16000, 16000]
    video = StreamReader(out / "video")
    assert video.lengths.tolist() == [5, 8, 5, 0]
    pictures = [decode_jpeg(frame) for frame in unpack_frames(video[1])]
    assert [picture.shape for picture in pictures] == [(64, 64, 3)] * 8
    found = [(line["id"], line["verdict"], line["code"]) for line in problems(out)]
    assert found == [("wall", "repaired", "no_face"), ("no film", "repaired", "empty_video")]
    assert str(film) in problems(out)[0]["error"]
    assert summary[0] == "4 utterances: 2 ok, 2 repaired, 0 quarantined"
    assert summary[1] == "problems: 1 empty_video, 1 no_face"


@pytest.mark.real
def test_grid_has_all_three(real_data, tmp_path):
    films = sorted(path.name for path in (real_data / "grid").glob("*.mpg"))
    rows = [Utterance(name, "train", video=name, text="bin blue at f two now") for name in films]
    (tmp_path / "prepared").mkdir()
    Manifest(real_data / "grid", ["emotion"], rows).write(tmp_path / "prepared/manifest.tsv")
    write_targets(tmp_path / "prepared/targets.json", [Target("emotion", "single", ("sad", "glad"))])
    summary = binarize(tmp_path / "prepared", tmp_path / "bin", workers=2)
    assert summary[0] == "10 utterances: 10 ok, 0 repaired, 0 quarantined"
    assert StreamReader(tmp_path / "bin/video").lengths.tolist() == [15] * 10
    assert (np.abs(StreamReader(tmp_path / "bin/audio").lengths - 2.98 * 16000) < 800).all()


@pytest.mark.real
def test_nemo_is_quick(real_data, tmp_path):
    sounds = sorted((real_data / "nemo/audio").glob("*.flac"))
    rows = [Utterance(path.stem, "train", audio=f"audio/{path.name}", text=path.stem) for path in sounds]
    (tmp_path / "prepared").mkdir()
    Manifest(real_data / "nemo", ["emotion"], rows).write(tmp_path / "prepared/manifest.tsv")
    write_targets(tmp_path / "prepared/targets.json", [Target("emotion", "single", ("sad", "glad"))])
    began = time.monotonic()
    summary = binarize(tmp_path / "prepared", tmp_path / "bin", workers=2)
    assert time.monotonic() - began < 40
    assert summary[0] == f"{len(sounds)} utterances: {len(sounds)} ok, 0 repaired, 0 quarantined"
    assert abs(StreamReader(tmp_path / "bin/audio").lengths.sum() / 16000 - 3698.2) < 1

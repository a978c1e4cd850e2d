"""Features that a corpus brings become float streams; what a recogniser heard becomes a stream of tokens."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from extract_factory import make

from mm_fairseq.databin import DataBin, StreamReader
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.media.dictionary import TokenIds, read_dictionary
from mm_fairseq.media.text import load_tokenizer
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.targets import Target, write_targets

SMALL = Settings(shard_size=3, vocab_size=40)
WORDS = ("red", "green", "blue", "one", "two", "three", "now", "then")


class Features:
    """Eight utterances with audio (T, 4) and video (T, 2) features; a test may change rows and arrays."""

    def __init__(self, folder):
        self.raw, self.out = folder / "raw", folder / "prepared"
        self.raw.mkdir()
        rng = np.random.default_rng(0)
        self.rows, self.arrays, self.extra = [], [], ["emotion"]
        for number in range(8):
            labels = {"emotion": "sad" if number % 2 else "glad"}
            text = " ".join(rng.choice(WORDS, 4))
            split = ("train", "train", "valid", "test")[number % 4]
            self.rows.append(Utterance(f"u{number}", split, text=text, features=f"u{number}.npz", labels=labels))
            self.arrays.append(
                {"audio": rng.normal(size=(3 + number, 4)), "video": rng.normal(size=(1 + number % 3, 2))}
            )

    def write(self):
        self.out.mkdir()
        for row, arrays in zip(self.rows, self.arrays, strict=True):
            np.savez(self.raw / f"{row.id}.npz", **arrays)
        Manifest(self.raw, self.extra, self.rows).write(self.out / "manifest.tsv")
        write_targets(self.out / "targets.json", [Target("emotion", "single", ("sad", "glad"))])
        return self.out


@pytest.fixture
def features(tmp_path):
    return Features(tmp_path)


def streams(folder):
    return json.loads((folder / "meta.json").read_text())["streams"]


def problems(folder):
    return [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]


def test_arrays_are_stored_as_they_are(features, tmp_path):
    out = tmp_path / "bin"
    summary = binarize(features.write(), out, SMALL)
    assert streams(out)["audio"] == {"dtype": "float32", "dim": 4, "length": "frames"}
    assert streams(out)["text"] == {"dtype": "int32", "dim": 0, "length": "tokens"}
    for name, dim in (("audio", 4), ("video", 2)):
        for item, arrays in zip(StreamReader(out / name, 8), features.arrays, strict=True):
            assert item.shape[1] == dim
            assert np.array_equal(item, arrays[name].astype(np.float32))
        assert DataBin(out).dim(name) == dim
    assert DataBin(out).dim("text") == 0
    assert f"audio: {sum(range(3, 11))} frames of 4 features" in summary
    assert "8 utterances: 8 ok, 0 repaired, 0 quarantined" in summary


def test_workers_and_resuming_give_the_same_bytes(features, tmp_path, tree):
    prepared = features.write()
    for name, workers in (("one", 1), ("two", 2)):
        binarize(prepared, tmp_path / name, SMALL, workers)
    (tmp_path / "two" / "audio" / "shard-00001.json").unlink()
    binarize(prepared, tmp_path / "two", SMALL, resume=True)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_text_features_come_before_transcripts(features, tmp_path):
    for arrays in features.arrays:
        arrays["text"] = np.ones((2, 3))
    out = tmp_path / "bin"
    binarize(features.write(), out, SMALL)
    assert streams(out)["text"]["dim"] == 3
    assert not (out / "dict.txt").exists()
    assert json.loads((out / "meta.json").read_text())["tokenizer"] is None


def test_what_is_missing_or_wrong_is_named_by_file_and_row(features, tmp_path):
    del features.arrays[0]["audio"]
    features.arrays[1]["audio"] = np.zeros((4, 5))
    features.arrays[2]["video"][0, 1] = np.nan
    features.rows[3] = replace(features.rows[3], features="")
    out = tmp_path / "bin"
    binarize(features.write(), out, SMALL)
    found = {(each["id"], each["stage"]): each for each in problems(out)}
    assert {key: each["code"] for key, each in found.items()} == {
        ("u0", "audio"): "empty_audio",
        ("u1", "audio"): "other_width",
        ("u2", "video"): "non_finite",
        ("u3", "audio"): "empty_audio",
        ("u3", "video"): "empty_video",
    }
    assert "audio: 5 features a frame, most others have 4" in found["u1", "audio"]["error"]
    assert "nan in frame 0, column 1" in found["u2", "video"]["error"]
    assert found["u2", "video"]["path"] == "u2.npz"
    assert StreamReader(out / "audio").lengths.tolist() == [0, 0, 5, 0, 7, 8, 9, 10]


def test_recordings_and_features_of_one_modality_do_not_mix(features, tmp_path):
    features.rows[5] = replace(features.rows[5], features="", audio="u5.wav")
    with pytest.raises(
        MMFairseqError,
        match=r"manifest.tsv:8: utterance 'u5' has audio in 'u5.wav', utterance 'u0' features of audio in 'u0.npz'",
    ):
        binarize(features.write(), tmp_path / "bin", SMALL)
    binarize(features.out, tmp_path / "bin", replace(SMALL, modalities=("text", "video")), overwrite=True)
    assert sorted(streams(tmp_path / "bin")) == ["text", "video"]


def test_features_are_taken_where_there_are_both(features, tmp_path, caplog):
    features.rows[5] = replace(features.rows[5], audio="u5.wav")
    with caplog.at_level(logging.WARNING):
        binarize(features.write(), tmp_path / "bin", SMALL)
    assert streams(tmp_path / "bin")["audio"]["dim"] == 4
    assert "audio: features are taken, the recordings of 1 utterances are not read" in caplog.text


def test_there_is_nothing_to_extract(features, tmp_path):
    binarize(features.write(), tmp_path / "bin", SMALL)
    for spec in ({"audio": "mfcc"}, {"audio": "features"}, {"text": "features"}):
        with pytest.raises(MMFairseqError, match="nothing to extract"):
            make(tmp_path / "bin", spec)


def test_what_was_recognised_is_a_stream_of_the_same_symbols(corpus, tmp_path):
    for number, row in enumerate(corpus.rows):
        heard = "" if number % 3 == 0 else row.text.replace("red", "read")
        corpus.rows[number] = replace(row, labels={**row.labels, "text_asr": heard})
    plain, out = tmp_path / "plain", tmp_path / "bin"
    binarize(corpus.write(), plain, SMALL)
    manifest = corpus.out / "manifest.tsv"
    Manifest(corpus.raw, ["emotion", "text_asr"], corpus.rows).write(manifest)
    summary = binarize(corpus.out, out, SMALL)
    assert list(streams(out)) == ["audio", "text", "text_asr"]
    assert "text_asr" not in streams(plain)
    spec = json.loads((out / "meta.json").read_text())["tokenizer"]
    tokenizer = load_tokenizer(spec, out)
    numbers = read_dictionary(out / "dict.txt")
    for item, row in zip(StreamReader(out / "text_asr", 12), corpus.rows, strict=True):
        expected = TokenIds(tokenizer, numbers)(row.labels["text_asr"])
        assert item.tolist() == expected.tolist()
        assert bool(len(item)) == bool(row.labels["text_asr"])
    for name in ("dict.txt", *spec["files"], "text/shard-00000.bin"):
        assert (out / name).read_bytes() == (plain / name).read_bytes()
    assert problems(out) == []
    assert any(line.startswith("text_asr: ") for line in summary)


def test_what_was_recognised_does_not_keep_an_utterance(corpus, tmp_path):
    corpus.rows[4] = replace(corpus.rows[4], audio="", text="", labels={**corpus.rows[4].labels, "text_asr": "red"})
    corpus.write()
    Manifest(corpus.raw, ["emotion", "text_asr"], corpus.rows).write(corpus.out / "manifest.tsv")
    binarize(corpus.out, tmp_path / "bin", SMALL)
    assert {each["verdict"] for each in problems(tmp_path / "bin")} == {"quarantined"}

"""The toy Korean corpus: the form of the real one, the same bytes each time, an emotion that needs voice and words."""

import csv
import hashlib
from collections import Counter, defaultdict

import av
import numpy as np
import pandas as pd
import pytest

from mm_fairseq.corpora import korean_vat as corpus
from mm_fairseq.corpora._vat_frames import EMOTIONS
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.media.audio import read_audio
from mm_fairseq.media.video import read_frames
from mm_fairseq.toy import korean_vat as toy


def sums(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy") / "vat"
    toy.write(out, 70, seed=3)
    return {path.stem: pd.read_pickle(path) for path in out.iterdir()}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy") / "vat"
    toy.write(out, 28, seed=3, recordings=True)
    return out


def test_what_the_parser_expects_is_what_the_toy_writes():
    assert toy.EMOTIONS == EMOTIONS
    assert (toy.BLOCKS, toy.BLOCK) == (corpus.BLOCKS, corpus.BLOCK)


@pytest.mark.parametrize("recordings", [False, True])
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path, recordings):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        toy.write(tmp_path / name, 28, seed, recordings)
    first, second, third = (sums(tmp_path / name) for name in "abc")
    assert first == second
    assert first.keys() != third.keys() or first != third


def test_frames_have_the_columns_of_the_real_ones(frames):
    assert sorted(frames) == ["dev", "test", "test_stt", "train"]
    for frame in frames.values():
        assert list(frame.columns) == ["person_ix", "audio", "Sentence", "Emotion"]
        assert set(frame["Emotion"]) == set(EMOTIONS)
        assert all(audio.dtype == np.int16 and len(audio) > 0.9 * toy.RATE for audio in frame["audio"])
    assert [len(frames[name]) for name in ("train", "dev", "test")] == [42, 14, 14]


def test_no_sentence_is_in_two_parts(frames):
    texts = [set(frames[name]["Sentence"]) for name in ("train", "dev", "test")]
    assert len(set.union(*texts)) == sum(map(len, texts))


def test_an_emotion_needs_voice_and_words():
    voices, words = defaultdict(set), defaultdict(set)
    for emotion in EMOTIONS:
        voices[toy._VOICES[emotion]].add(emotion)
        words[toy._WORDS[emotion]].add(emotion)
    for emotion in EMOTIONS:
        assert voices[toy._VOICES[emotion]] & words[toy._WORDS[emotion]] == {emotion}
    assert len(voices) == len(words) == 4  # of 7 at best by one of them


def test_recognised_text_is_of_the_same_recordings_and_has_errors(frames):
    key = lambda frame: {audio.tobytes(): row for audio, row in zip(frame["audio"], frame.itertuples(), strict=True)}  # noqa: E731
    test, heard = key(frames["test"]), key(frames["test_stt"])
    assert test.keys() == heard.keys()
    assert list(frames["test"].index) != list(frames["test_stt"].index)
    wrong = 0
    for samples, row in test.items():
        assert heard[samples].Emotion == row.Emotion
        wrong += heard[samples].Sentence != row.Sentence.rstrip(".!?")
    assert 0.3 * len(test) < wrong <= len(test)
    assert any(set(heard[s].Sentence.split()) & set(test[s].Sentence.split()) for s in test)


def test_recordings_have_picture_and_sound(recordings):
    with open(recordings / "sentences.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["number"]) for row in rows] == list(range(1, 351))
    assert len({row["sentence"] for row in rows}) == 350
    files = sorted(recordings.glob("*/*.m2ts"))
    assert len(files) == 28
    blocks = Counter((int(path.stem.split("-")[1]) - 1) // 50 for path in files)
    assert set(blocks.values()) == {4}
    assert all(int(path.parent.name) == int(path.stem.split("-")[0]) for path in files)
    with av.open(str(files[0])) as container:
        assert container.format.name == "mpegts"
    assert 0.8 * 16000 < len(read_audio(files[0])) < 1.6 * 16000
    assert np.abs(read_audio(files[0]).astype(int)).max() > 2000
    assert read_frames(files[0], fps=5)[0].std() > 10


@pytest.mark.parametrize(("count", "reason"), [(27, "28 to 20000"), (30_000, "28 to 20000")])
def test_a_number_that_is_not_possible(tmp_path, count, reason):
    with pytest.raises(MMFairseqError, match=reason):
        toy.write(tmp_path / "a", count, seed=1)
    with pytest.raises(MMFairseqError, match="--seed -1"):
        toy.write(tmp_path / "a", 30, seed=-1)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "train.pkl").touch()
    with pytest.raises(MMFairseqError, match="holds other files already"):
        toy.write(tmp_path / "a", 30, seed=1)

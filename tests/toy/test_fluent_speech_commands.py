import csv
import hashlib

import numpy as np
import pytest
import soundfile

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import fluent_speech_commands as toy


def rows(folder, split):
    with open(folder / "data" / f"{split}_data.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy") / "fsc"
    toy.write(out, 200, seed=3)
    return out


def _hashes(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        toy.write(tmp_path / name, toy.MINIMUM, seed)
    first, second, third = (_hashes(tmp_path / name) for name in "abc")
    assert first == second
    assert not set(first.values()) & set(third.values())


def test_the_intents_are_those_of_the_corpus_and_a_sentence_has_one():
    of_intent = toy.sentences()
    assert len(of_intent) == 31
    assert [len({intent[k] for intent in of_intent}) for k in range(3)] == [6, 14, 4]
    said = [text for texts in of_intent.values() for text in texts]
    assert len(set(said)) == len(said) >= 3 * 31


def test_tables_and_recordings_have_the_form_of_the_corpus(corpus):
    sizes, speakers = {}, []
    for split in ("train", "valid", "test"):
        found = rows(corpus, split)
        assert list(found[0]) == list(toy.COLUMNS)
        assert [row[""] for row in found] == [str(n) for n in range(len(found))]
        for row in found:
            assert row["path"].split("/")[:3] == ["wavs", "speakers", row["speakerId"]]
            info = soundfile.info(corpus / row["path"])
            assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
            assert 0.2 < info.duration < 2.5
        sizes[split], people = len(found), {row["speakerId"] for row in found}
        assert len(people) == toy.SPEAKERS[split]
        speakers += people
    assert sizes == {"train": 134, "valid": 33, "test": 33}
    assert len(set(speakers)) == sum(toy.SPEAKERS.values())
    assert len(list(corpus.glob("wavs/speakers/*/*.wav"))) == 200


def test_every_intent_is_trained_and_every_sentence_of_the_other_splits_too(corpus):
    train = rows(corpus, "train")
    assert {tuple(row[name] for name in toy.COLUMNS[4:]) for row in train} == set(toy.sentences())
    known = {row["transcription"] for row in train}
    for split in ("valid", "test"):
        assert {row["transcription"] for row in rows(corpus, split)} <= known


def test_pieces_of_the_sound_tell_the_words(corpus):
    """Each word of a sentence is nearest to a piece of its recording, whoever speaks and wherever it stands."""
    words = sorted({word for texts in toy.sentences().values() for text in texts for word in text.lower().split()})
    tones = np.fft.rfftfreq(toy.PERIOD, 1 / toy.PERIOD).astype(int)
    patterns = []
    for word in words:
        spectrum = np.zeros(len(tones), complex)
        spectrum[list(toy._TONES)] = toy.sound(word)
        patterns.append(np.fft.irfft(spectrum))
    patterns = np.array(patterns) / np.linalg.norm(patterns, axis=1, keepdims=True)
    heard = said = 0
    for row in rows(corpus, "test"):
        samples = soundfile.read(corpus / row["path"])[0]
        pieces = samples[: len(samples) // toy.PERIOD * toy.PERIOD].reshape(-1, toy.PERIOD)
        pieces = pieces - pieces.mean(1, keepdims=True)
        alike = patterns @ pieces.T / np.linalg.norm(pieces, axis=1)  # words x pieces
        found = {words[k] for k in np.flatnonzero(alike.max(1) > 0.6)}
        spoken = set(row["transcription"].lower().split())
        heard, said = heard + (found == spoken), said + 1
    assert heard > 0.9 * said


def test_bad_arguments_and_a_taken_folder_are_refused(tmp_path):
    with pytest.raises(MMFairseqError, match=r"--utterances 123.*at least 124"):
        toy.write(tmp_path / "a", 123, 0)
    with pytest.raises(MMFairseqError, match="--seed -1"):
        toy.write(tmp_path / "a", 124, -1)
    (tmp_path / "wavs").mkdir()
    with pytest.raises(MMFairseqError, match="holds other files already"):
        toy.write(tmp_path, 124, 0)

"""The toy CREMA-D, read here by csv, soundfile and PyAV."""

import csv
import hashlib
import re
from collections import Counter, defaultdict

import av
import numpy as np
import pytest
import soundfile

from mm_fairseq.corpora import crema_d as corpus_module
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import crema_d as toy

NAME = re.compile(r"(10\d\d)_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(LO|MD|HI|XX)")
COUNT = 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy") / "crema_d"
    toy.write(out, COUNT, seed=3)
    return out


def table(file):
    with open(file, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def sums(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_what_the_parser_expects_is_what_the_toy_writes():
    assert toy.CLASSES == corpus_module.CLASSES
    assert tuple(corpus_module.SENTENCES) == toy.SENTENCES
    assert set(toy.ACTORS) <= set(corpus_module.ACTORS)
    assert not {name[:4] for name in corpus_module.KNOWN_BAD} & set(toy.ACTORS)


@pytest.mark.parametrize("actors", [10, 20])
def test_every_fold_by_actor_has_some(actors):
    part = corpus_module.by_actor(
        corpus_module.Utterance(id=actor, speaker=actor, text="x") for actor in toy.ACTORS[:actors]
    )
    assert [len(fold["test"]) for fold in part.values()] == [actors // 5] * 5


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path, monkeypatch):
    draw = toy._names
    monkeypatch.setattr(toy, "_names", lambda count, actors, rng: draw(count, actors, rng)[::15])
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        toy.write(tmp_path / name, COUNT, seed)
    first, second, third = (sums(tmp_path / name) for name in "abc")
    assert first == second
    assert len(first) == 11
    assert not set(first.values()) & set(third.values())


def test_names_are_balanced(corpus):
    names = sorted(path.stem for path in (corpus / "AudioWAV").iterdir())
    assert names == sorted(path.stem for path in (corpus / "VideoFlash").iterdir())
    assert len(names) == COUNT
    parts = [NAME.fullmatch(name).groups() for name in names]
    assert set(Counter(actor for actor, *_ in parts).values()) == {6}
    assert set(Counter(emotion for _, _, emotion, _ in parts).values()) == {10}
    assert len({sentence for _, sentence, *_ in parts}) > 4
    assert all((level == "XX") == (sentence != "IEO" or emotion == "NEU") for _, sentence, emotion, level in parts)


def test_many_clips_have_names_of_their_own():
    names = toy._names(toy.MOST, toy.ACTORS, np.random.default_rng(1))
    assert len({name.rsplit("_", 1)[0] for name in names}) == toy.MOST


def test_wav_and_flv_hold_the_same_sound(corpus):
    for name in ("1008", "1006"):
        wav = sorted((corpus / "AudioWAV").glob(f"{name}_*"))[0]
        sound, rate = soundfile.read(wav)
        assert (rate, soundfile.info(wav).subtype) == (16_000, "PCM_16")
        flv = corpus / "VideoFlash" / f"{wav.stem}.flv"
        with av.open(str(flv)) as container:
            assert container.format.name == "flv"
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        with av.open(str(flv)) as container:
            heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        assert frames[0].shape == (240, 320, 3)
        assert abs(len(frames) / toy.FPS - len(sound) / rate) < 0.05
        assert abs(len(heard) / toy.SOUND_RATE - len(sound) / rate) < 0.1
        assert np.abs(sound).max() == pytest.approx(np.abs(heard).max(), rel=0.2)


def test_voice_and_face_name_the_emotion_together():
    voices, seen = defaultdict(set), defaultdict(set)
    for emotion in toy.CLASSES:
        voices[toy._VOICES[emotion]].add(emotion)
        seen[toy._FACES[emotion]].add(emotion)
    for emotion in toy.CLASSES:
        assert voices[toy._VOICES[emotion]] & seen[toy._FACES[emotion]] == {emotion}
    assert len(voices) == len(seen) == 4


def test_the_tables_agree_with_each_other(corpus):
    names = {path.stem for path in (corpus / "AudioWAV").iterdir()}
    summary = {row["FileName"]: row for row in table(corpus / "processedResults/summaryTable.csv")}
    rows = table(corpus / "processedResults/tabulatedVotes.csv")
    assert set(summary) == names
    assert len(rows) == 3 * len(names)
    right = 0
    for row in rows:
        counts = {letter: int(row[letter]) for letter in "ADFHNS"}
        most = max(counts.values())
        winners = sorted(letter for letter, count in counts.items() if count == most)
        assert row["emoVote"] == ":".join(winners)
        assert int(row["numResponses"]) == sum(counts.values())
        assert float(row["agreement"]) == pytest.approx(most / sum(counts.values()))
        presented = {"1": "Voice", "2": "Face", "3": "MultiModal"}[row[""][0]]
        own = summary[row["fileName"]]
        assert own[f"{presented}Vote"] == row["emoVote"]
        assert len(own[f"{presented}Level"].split(":")) == len(winners)
        right += presented == "MultiModal" and winners == [row["fileName"].split("_")[2][0]]
    assert right > 0.9 * len(names)
    people = table(corpus / "VideoDemographics.csv")
    assert list(people[0]) == ["ActorID", "Age", "Sex", "Race", "Ethnicity"]
    assert {row["ActorID"] for row in people} == {name[:4] for name in names}


def test_a_number_that_is_not_possible(tmp_path):
    for count in (59, 1441):
        with pytest.raises(MMFairseqError, match=f"--utterances {count}: .* 60 to 1440"):
            toy.write(tmp_path / "a", count, seed=1)
    with pytest.raises(MMFairseqError, match="--seed -1"):
        toy.write(tmp_path / "a", 60, seed=-1)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "AudioWAV").mkdir()
    with pytest.raises(MMFairseqError, match="holds other files already"):
        toy.write(tmp_path / "a", 60, seed=1)

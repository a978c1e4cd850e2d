"""The toy MELD, read here by the csv module and PyAV."""

import csv
import hashlib
from collections import Counter

import av
import numpy as np
import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import meld as toy

COLUMNS = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"


@pytest.fixture
def quick(monkeypatch):
    """Clips of three frames whose grey tells which drawing they are."""

    def perform(who, voice, face, seconds, fps, size, rng):
        return np.zeros(800, np.int16), [np.full((32, 32, 3), rng.integers(256), np.uint8)] * 3

    monkeypatch.setattr(toy.acted, "perform", perform)


def sums(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def table(folder, split):
    data = (folder / f"{split}_sent_emo.csv").read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n") > 10
    lines = data.decode().split("\r\n")
    assert lines[0] == COLUMNS
    return list(csv.DictReader(lines))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path, quick):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        toy.write(tmp_path / name, toy.MINIMUM, seed)
    first, second, third = (sums(tmp_path / name) for name in "abc")
    assert first == second
    assert first != third


@pytest.mark.parametrize("count", [toy.MINIMUM, 160])
def test_tables_and_clips_belong_together(tmp_path, quick, count):
    toy.write(tmp_path / "raw", count, seed=1)
    total = 0
    for split, folder in toy.FOLDERS.items():
        lines = table(tmp_path / "raw", split)
        names = {f"dia{line['Dialogue_ID']}_utt{line['Utterance_ID']}.mp4" for line in lines}
        assert len(names) == len(lines)
        assert names == {path.name for path in (tmp_path / "raw" / folder).glob("dia*.mp4")}
        emotions = Counter(line["Emotion"] for line in lines)
        assert len(emotions) == 7
        assert emotions["neutral"] == len(lines) // 2
        assert {line["Sentiment"] for line in lines} == {"neutral", "positive", "negative"}
        assert lines[0]["Dialogue_ID"] == lines[0]["Utterance_ID"] == "0"
        total += len(lines)
    assert total == count
    others = {
        path.name[:17] for path in (tmp_path / "raw/output_repeated_splits_test").iterdir() if path.name[0] != "d"
    }
    assert {name[:2] for name in others} == {"fi", "._"}
    text = (tmp_path / "raw/train_sent_emo.csv").read_bytes().decode()
    assert "Ann\x92s" in text


def test_a_clip_has_sound_and_picture_and_its_length(tmp_path, monkeypatch):
    perform, calls = toy.acted.perform, []

    def first_of_dev(*args):
        calls.append(args)
        if len(calls) == toy.MINIMUM // 2 + 1:
            return perform(*args)
        return np.zeros(800, np.int16), [np.zeros((32, 32, 3), np.uint8)]

    monkeypatch.setattr(toy.acted, "perform", first_of_dev)
    toy.write(tmp_path / "raw", toy.MINIMUM, seed=1)
    [line] = [line for line in table(tmp_path / "raw", "dev") if line["Dialogue_ID"] + line["Utterance_ID"] == "00"]
    begin, end = (float(line[name][-6:].replace(",", ".")) for name in ("StartTime", "EndTime"))
    file = str(tmp_path / "raw/dev_splits_complete/dia0_utt0.mp4")
    with av.open(file) as container:
        frames = sum(1 for _ in container.decode(video=0))
        assert (container.streams.video[0].width, container.streams.video[0].height) == toy.SIZE
    with av.open(file) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert frames / toy.FPS == pytest.approx((end - begin) % 60, abs=0.1)
    assert len(sound) / 16_000 == pytest.approx((end - begin) % 60, abs=0.1)
    assert np.abs(sound).max() > 0.1


def test_words_voice_and_face_tell_every_emotion_together():
    assert len(set(toy._SHOWN.values())) == 7
    for which, count in enumerate((4, 4, 6)):
        assert len({shown[which] for shown in toy._SHOWN.values()}) == count


def test_a_number_that_is_not_possible(tmp_path):
    with pytest.raises(MMFairseqError, match=r"--utterances 47: .* at least 48"):
        toy.write(tmp_path / "a", 47, seed=1)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").touch()
    with pytest.raises(MMFairseqError, match="holds other files already"):
        toy.write(tmp_path / "a", 48, seed=1)

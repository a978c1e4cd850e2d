"""The toys of CMU-MOSI and CMU-MOSEI, read here by h5py, csv, soundfile and PyAV."""

import ast
import csv
import hashlib
from importlib import import_module

import av
import h5py
import numpy as np
import pytest
import soundfile

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import cmu

CORPORA = ("cmu_mosi", "cmu_mosei")
COUNT = 6


@pytest.fixture
def small(monkeypatch):
    """Three videos of two clips."""
    monkeypatch.setattr(cmu, "CLIPS", 2)
    monkeypatch.setattr(cmu, "MINIMUM", COUNT)
    monkeypatch.setattr(cmu, "SIZE", (96, 72))


def write(corpus, out, seed=3, form="raw", count=COUNT):
    import_module(f"mm_fairseq.toy.{corpus}").write(out, count, seed, form)
    return out


def sums(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(("corpus", "form"), [("cmu_mosi", "raw"), ("cmu_mosei", "raw"), ("cmu_mosi", "mmsa")])
def test_the_same_seed_gives_the_same_bytes(tmp_path, small, corpus, form):
    first, second = (sums(write(corpus, tmp_path / name, 3, form)) for name in "ab")
    assert first == second


def test_another_seed_gives_other_videos(tmp_path, small):
    first, second = (sums(write("cmu_mosi", tmp_path / f"{seed}", seed)) for seed in (3, 4))
    assert not set(first.values()) & set(second.values())


@pytest.mark.parametrize("corpus", CORPORA)
def test_feature_files(tmp_path, corpus):
    files = sums(write(corpus, tmp_path / "a", form="features", count=30))
    assert sorted(files) == ["Processed/aligned_50.pkl", "Processed/unaligned_50.pkl"]
    assert files == sums(write(corpus, tmp_path / "b", form="features", count=30))


def heard(file):
    with av.open(str(file)) as container:
        rate = container.streams.audio[0].rate
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    with av.open(str(file)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    return sound, rate, frames / cmu.FPS


def test_mosi(tmp_path, small):
    raw = write("cmu_mosi", tmp_path / "a")
    with h5py.File(raw / "labels/CMU_MOSI_Opinion_Labels.csd") as content:
        data = content["Opinion Segment Labels/data"]
        lengths = {
            f"{video}_{number}": float(end - start)
            for video in data
            for number, (start, end) in enumerate(data[video]["intervals"], start=1)
        }
        values = np.concatenate([data[video]["features"] for video in data])
        names = content["Opinion Segment Labels/metadata/dimension names"].asstr()[0]
    assert names == '["sentiment"]'
    assert values.shape == (COUNT, 1)
    assert set(np.round(values[:, 0].astype(float), 1)) <= {2.8, 1.6, 1.2, 0.0, -1.2, -1.6, -2.8}
    assert sorted(lengths) == sorted(file.stem for file in (raw / "Video/Segmented").iterdir())
    for name, length in lengths.items():
        samples, rate = soundfile.read(raw / f"Audio/WAV_16000/Segmented/{name}.wav")
        assert rate == 16_000
        assert len(samples) / rate == pytest.approx(length, abs=1e-3)
        sound, rate, seconds = heard(raw / f"Video/Segmented/{name}.mp4")
        assert seconds == pytest.approx(length, abs=1e-3)
        assert len(sound) / rate == pytest.approx(length, abs=0.06)
        said = raw / f"Transcript/Segmented/{name.rpartition('_')[0]}.annotprocessed"
        assert f"{name.rpartition('_')[2]}_DELIM_" in said.read_text()


def test_mosei(tmp_path, small):
    raw = write("cmu_mosei", tmp_path / "a")
    tree = ast.parse((raw / "cmu_mosei_std_folds.py").read_text())
    folds = {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body}
    assert {name: len(videos) for name, videos in folds.items()} == {
        "standard_train_fold": 1,
        "standard_valid_fold": 1,
        "standard_test_fold": 1,
    }
    with h5py.File(raw / "labels/CMU_MOSEI_Labels.csd") as content:
        data = {video: group["features"][()] for video, group in content["All Labels/data"].items()}
    assert sorted(map(len, data.values())) == [1, 2, 2, 2]
    assert len(data.keys() - {video for videos in folds.values() for video in videos}) == 1
    rows = np.concatenate(list(data.values()))
    assert rows[:, 1:].min() >= 0
    assert rows[:, 1:].max() <= 3
    assert np.array_equal(rows[:, 0] > 0, rows[:, 1] > 0)  # who likes it is happy
    for file in (raw / "Raw/Transcript/Segmented/Combined").iterdir():
        lines = file.read_text().splitlines()
        assert all(line.startswith(f"{file.stem}___") for line in lines)
        end = float(lines[-1].removeprefix(f"{file.stem}___").split("___")[2])
        samples, rate = soundfile.read(raw / f"Raw/Audio/Full/WAV_16000/{file.stem}.wav")
        sound, _, seconds = heard(raw / f"Raw/Videos/Full/Combined/{file.stem}.mp4")
        assert seconds == pytest.approx(end, abs=1e-3)
        assert len(samples) / rate == pytest.approx(end, abs=1e-3)
        assert sound.std() > 0


def test_mmsa(tmp_path, small):
    raw = write("cmu_mosi", tmp_path / "a", form="mmsa")
    with open(raw / "label.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == COUNT
    assert {row["mode"] for row in rows} == {"train", "valid", "test"}
    for row in rows:
        assert (raw / "Raw" / row["video_id"] / f"{row['clip_id']}.mp4").is_file()
        parts = [float(row[f"label_{letter}"]) / 3 for letter in "TAV"]
        assert float(row["label"]) == pytest.approx(np.dot(cmu.WEIGHTS, parts), abs=1e-6)
        sign = (float(row["label"]) > 0) - (float(row["label"]) < 0)
        assert row["annotation"] == ("Neutral", "Positive", "Negative")[sign]


@pytest.mark.parametrize(
    ("utterances", "shares"), [(18, [1, 1, 1]), (24, [2, 1, 1]), (26, [3, 1, 1]), (240, [24, 6, 10])]
)
def test_splits(utterances, shares):
    plan = cmu.splits(utterances)
    splits = [split for split, _ in plan]
    assert [splits.count(split) for split in ("train", "valid", "test")] == shares
    assert sum(clips for _, clips in plan) == utterances


@pytest.mark.parametrize("corpus", CORPORA)
def test_what_is_not_possible(tmp_path, corpus):
    for words, reason in (
        ({"count": 17}, "--utterances 17: at least 18"),
        ({"count": 29, "form": "features"}, "--utterances 29: at least 30"),
        ({"form": "csv"}, "--form csv: must be one of raw, mmsa, features"),
        ({"count": 24, "seed": -1}, "--seed -1"),
    ):
        with pytest.raises(MMFairseqError, match=reason):
            write(corpus, tmp_path / "a", **words)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("")
    with pytest.raises(MMFairseqError, match="holds other files already"):
        write(corpus, tmp_path / "a", count=24)

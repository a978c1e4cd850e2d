"""The toy corpora of CMU-MOSI and CMU-MOSEI, as the parsers read them."""

from importlib import import_module

import numpy as np
import pytest

from mm_fairseq.corpora import base, writing
from mm_fairseq.media.audio import read_audio
from mm_fairseq.media.video import read_frames
from mm_fairseq.toy import cmu

COUNT = 6


@pytest.fixture
def prepared(request, tmp_path, parse, monkeypatch):
    corpus, form = request.param
    monkeypatch.setattr(cmu, "CLIPS", 2)
    monkeypatch.setattr(cmu, "MINIMUM", COUNT)
    module = import_module(f"mm_fairseq.toy.{corpus}")
    module.write(tmp_path / "raw", COUNT if form != "features" else 30, 2, form)
    found = parse(corpus, tmp_path / "raw" / ("Processed/aligned_50.pkl" if form == "features" else ""))
    writing.write(corpus, found, tmp_path / "out")
    return found


ALL = [(corpus, form) for corpus in ("cmu_mosi", "cmu_mosei") for form in ("raw", "mmsa", "features")]


@pytest.mark.parametrize("prepared", ALL, indirect=True, ids="-".join)
def test_rows_and_splits(prepared):
    rows = prepared.manifest.utterances
    fold = prepared.protocols["official"]["1"]
    assert sum(map(len, fold.values())) == len(rows)
    videos = [{row.dialogue for row in rows if row.split == split} for split in base.SPLITS]
    assert all(videos)
    assert sum(map(len, videos)) == len(set().union(*videos))
    assert all(row.text for row in rows)
    assert all(row.turn for row in rows)
    sentiments = [float(row.labels["sentiment"]) for row in rows]
    assert min(sentiments) < 0 < max(sentiments)


@pytest.mark.parametrize("prepared", [("cmu_mosei", "raw"), ("cmu_mosi", "mmsa")], indirect=True, ids="-".join)
def test_sound_and_picture_are_of_one_length(prepared):
    for row in prepared.manifest.utterances[:3]:
        audio, video = row.medium("audio"), row.medium("video")
        sound = read_audio(prepared.manifest.root / audio.path, start=audio.start, end=audio.end)
        frames = read_frames(prepared.manifest.root / video.path, start=video.start, end=video.end, fps=cmu.FPS)
        assert abs(len(sound) / 16_000 - len(frames) / cmu.FPS) < 0.12
        if row.end is not None:
            assert abs(len(sound) / 16_000 - (row.end - row.start)) < 0.01
        assert np.abs(np.asarray(sound)).max() > 0.01

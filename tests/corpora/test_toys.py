"""The toy corpora with pictures, as the parsers read them."""

import pytest

from mm_fairseq.corpora import writing
from mm_fairseq.media.audio import read_audio
from mm_fairseq.media.video import read_frames
from mm_fairseq.toy import audioset, crema_d, ravdess


def decoded(row, root, fps):
    """Seconds of sound and of pictures."""
    return len(read_audio(root / (row.audio or row.video))) / 16_000, len(read_frames(root / row.video, fps=fps)) / fps


@pytest.mark.parametrize("options", [[], ["--multilabel"]])
def test_audioset(tmp_path, parse, options):
    audioset.write(tmp_path, audioset.MINIMUM, seed=2)
    prepared = parse("audioset", tmp_path, *options)
    fold = prepared.protocols["official"]["1"]
    assert prepared.targets[0].classes == tuple(sorted(event.name for event in audioset.EVENTS))
    several = prepared.excluded.get("several class folders", 0)
    assert (several > 0) == (not options)
    assert len(prepared.manifest) == audioset.MINIMUM - several
    assert len(fold["test"]) >= 0.8 * audioset.MINIMUM / 5
    assert 0 < len(fold["valid"]) < len(fold["train"]) / 4
    for row in prepared.manifest.utterances[::20]:
        sound, picture = decoded(row, tmp_path, 20)
        assert abs(sound - picture) < 0.12
    writing.write("audioset", prepared, tmp_path / "out")


def test_crema_d(tmp_path, parse, monkeypatch):
    names = crema_d._names
    monkeypatch.setattr(crema_d, "_names", lambda *given: names(*given)[::6])
    crema_d.write(tmp_path, crema_d.MINIMUM, seed=2)
    prepared = parse("crema_d", tmp_path)
    assert len(prepared.manifest) == 10
    for row in prepared.manifest.utterances:
        assert all([row.text, row.labels["emotion_votes"], row.labels["sex"]])
    sound, picture = decoded(prepared.manifest.utterances[0], tmp_path, 25)
    assert abs(sound - picture) < 0.1
    assert all(fold["test"] and fold["train"] for fold in prepared.protocols["by_actor"].values())


def test_ravdess(tmp_path, parse, monkeypatch):
    few = ravdess.names(ravdess.MINIMUM)[::6]
    monkeypatch.setattr(ravdess, "names", lambda count: few)
    ravdess.write(tmp_path, ravdess.MINIMUM, seed=2)
    prepared = parse("ravdess", tmp_path, "--channel", "both")
    assert [row.id for row in prepared.manifest.utterances] == few
    sound, picture = decoded(prepared.manifest.utterances[0], tmp_path, 25)
    assert abs(sound - picture) < 0.1

"""The toy RAVDESS, read here by soundfile and PyAV."""

import hashlib
from collections import Counter, defaultdict

import av
import numpy as np
import pytest
import soundfile

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import ravdess as toy

COUNT = toy.MINIMUM


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy") / "ravdess"
    few = toy.names(COUNT)[::5]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy, "names", lambda count: few)
        toy.write(out, COUNT, seed=3)
    return out


def sums(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path, monkeypatch):
    few = toy.names(COUNT)[::30]
    monkeypatch.setattr(toy, "names", lambda count: few)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        toy.write(tmp_path / name, COUNT, seed)
    first, second, third = (sums(tmp_path / name) for name in "abc")
    assert first == second
    assert first.keys() == third.keys()
    assert not set(first.values()) & set(third.values())


def test_three_files_an_utterance(corpus):
    found = defaultdict(set)
    for path in corpus.rglob("*.*"):
        modality, name = path.stem.split("-", 1)
        assert path.parent.name == f"Actor_{name[-2:]}"
        assert path.suffix == {"01": ".mp4", "02": ".mp4", "03": ".wav"}[modality]
        found[name].add(modality)
    assert sorted(found) == toy.names(COUNT)[::5]
    assert all(kinds == {"01", "02", "03"} for kinds in found.values())


@pytest.mark.parametrize("count", [toy.MINIMUM, 240, toy.MOST])
def test_names_are_possible_and_balanced(count):
    names = toy.names(count)
    assert len(set(names)) == count
    parts = [tuple(map(int, name.split("-"))) for name in names]
    speech, songs = ([part for part in parts if part[0] == channel] for channel in (1, 2))
    assert len(songs) == count // 12
    assert {part[1] for part in speech} == set(range(1, 9))
    assert {part[1] for part in songs} <= set(range(1, 7))
    assert 18 not in {part[5] for part in songs}
    assert {part[5] for part in speech} == set(range(1, 25))
    assert not [part for part in parts if part[1] == 1 and part[2] == 2]  # no strong neutral
    assert all(set(part[2:5]) <= {1, 2} for part in parts)
    emotions = Counter(part[1] for part in speech)
    assert max(emotions.values()) - min(emotions.values()) <= 0.4 * count / 8


def test_the_files_of_an_utterance_hold_the_same(corpus):
    first = sorted(corpus.glob("*/01-*.mp4"))[0]
    silent, wav = (
        first.with_name(f"02{first.name[2:]}"),
        first.with_name(f"03{first.name[2:]}").with_suffix(".wav"),
    )
    films = []
    for file in (first, silent):
        with av.open(str(file)) as container:
            films.append([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert np.array_equal(np.stack(films[0]), np.stack(films[1]))
    assert films[0][0].shape == (180, 320, 3)
    with av.open(str(silent)) as container:
        assert not container.streams.audio
    with av.open(str(first)) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    sound, rate = soundfile.read(wav)
    assert (rate, soundfile.info(wav).subtype) == (48_000, "PCM_16")
    assert abs(len(heard) - len(sound)) < 0.05 * rate
    size = min(len(heard), len(sound))
    assert np.corrcoef(heard[:size], sound[:size])[0, 1] > 0.95
    assert abs(len(films[0]) / toy.FPS - len(sound) / rate) < 0.05


def test_voice_and_face_differ_in_two_bits_between_any_two_emotions():
    codes = [np.array([*voice, *face]) for voice, face in toy._SHOWN.values()]
    assert list(toy._SHOWN) == list(toy.EMOTIONS)
    for index, code in enumerate(codes):
        assert set(code) <= {-1, 1}
        assert all((code != other).sum() >= 2 for other in codes[:index])


@pytest.mark.parametrize("count", [toy.MINIMUM - 1, toy.MOST + 1])
def test_a_number_that_is_not_possible(tmp_path, count):
    with pytest.raises(MMFairseqError, match=f"--utterances {count}: 24 actors need 96 to 768"):
        toy.write(tmp_path / "a", count, seed=1)
    with pytest.raises(MMFairseqError, match="--seed -1"):
        toy.write(tmp_path / "a", 96, seed=-1)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Actor_01").mkdir()
    with pytest.raises(MMFairseqError, match="holds other files already"):
        toy.write(tmp_path / "a", 96, seed=1)

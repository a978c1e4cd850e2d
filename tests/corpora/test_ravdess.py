"""A miniature RAVDESS: clips of a few frames and a short sound, copied to where they are needed."""

import shutil
import wave
from collections import Counter
from itertools import product

import numpy as np
import pytest

from mm_fairseq.corpora import base, writing
from mm_fairseq.corpora.ravdess import ACTORS, CLASSES, PUBLISHED, by_actor
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.targets import read_targets
from mm_fairseq.toy.clips import write_clip

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 82026\n"
SPOKEN = ("01-01-01-01-01-01", "01-06-01-02-01-12", "01-08-02-01-02-24", "01-02-02-02-02-18")
SUNG = ("02-05-02-01-01-01", "02-01-01-02-02-12")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    frames, sound = [np.full((32, 32, 3), value, np.uint8) for value in (0, 90, 180)], np.zeros(2400, np.int16)
    write_clip(folder / "01.mp4", frames, sound, 20, 16_000)
    write_clip(folder / "02.mp4", frames, None, 20, 16_000)
    write_clip(folder / "dark.mp4", None, sound, 20, 16_000)
    with wave.open(str(folder / "03.wav"), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    return folder


@pytest.fixture
def ravdess(tmp_path, media):
    """Sound in one archive's folder, pictures in another, as the release unpacks."""
    root = tmp_path / "RAVDESS"
    for name in SPOKEN + SUNG:
        for file in ("01.mp4", "02.mp4", "03.wav"):
            modality, ending = file.split(".")
            archive = "Audio_Speech_Actors_01-24" if ending == "wav" else f"Video_Speech_Actor_{name[-2:]}"
            path = root / archive / f"Actor_{name[-2:]}" / f"{modality}-{name}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(media / file, path)
    return root


def find(root, name):
    [file] = root.rglob(f"{name}.*")
    return file


def rows(prepared):
    return {row.id: row for row in prepared.manifest.utterances}


def test_a_row(ravdess, parse):
    prepared = parse("ravdess", ravdess)
    row = rows(prepared)["01-06-01-02-01-12"]
    assert row.audio == "Audio_Speech_Actors_01-24/Actor_12/03-01-06-01-02-01-12.wav"
    assert row.video == "Video_Speech_Actor_12/Actor_12/01-01-06-01-02-01-12.mp4"
    assert (row.speaker, row.text) == ("12", "Dogs are sitting by the door")
    assert row.labels == {
        "emotion": "fearful",
        "sex": "female",
        "intensity": "normal",
        "statement": "02",
        "repetition": "01",
    }
    other = rows(prepared)["01-01-01-01-01-01"]
    assert (other.labels["sex"], other.text) == ("male", "Kids are talking by the door")
    assert sorted(rows(prepared)) == sorted(SPOKEN)
    assert prepared.excluded == {"other channel": 2}
    assert prepared.targets[0].classes == CLASSES
    assert prepared.notes == []


@pytest.mark.parametrize(("channel", "names"), [("song", SUNG), ("both", SPOKEN + SUNG)])
def test_songs(ravdess, parse, channel, names):
    prepared = parse("ravdess", ravdess, "--channel", channel)
    assert sorted(rows(prepared)) == sorted(names)
    assert prepared.targets[0].classes == (CLASSES if channel == "both" else CLASSES[:6])
    labels = rows(prepared)["02-05-02-01-01-01"].labels
    assert labels["emotion"] == "angry"
    assert labels.get("channel") == ("song" if channel == "both" else None)


def test_what_is_taken_where_some_files_are_not_there(ravdess, parse):
    find(ravdess, f"01-{SPOKEN[0]}").unlink()
    find(ravdess, f"03-{SPOKEN[1]}").unlink()
    for modality in ("02", "03"):
        find(ravdess, f"{modality}-{SPOKEN[2]}").unlink()
    found = rows(parse("ravdess", ravdess))
    kinds = {name: (row.audio.split("/")[-1][:2], row.video.split("/")[-1][:2]) for name, row in found.items()}
    assert kinds == dict(zip(SPOKEN, [("03", "02"), ("01", "01"), ("01", "01"), ("03", "01")], strict=True))


@pytest.mark.parametrize("kept", ["mp4", "wav"])
def test_one_archive_alone(ravdess, parse, kept):
    for file in ravdess.rglob("*.*"):
        if file.suffix != f".{kept}" or file.name[:2] == "01":
            file.unlink()
    prepared = parse("ravdess", ravdess)
    lacking = {"mp4": "no sound: no file of modality 03 or 01", "wav": "no picture: no file of modality 01 or 02"}
    assert prepared.notes == [lacking[kept]]
    assert len(prepared.manifest) == 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (POINTER.encode(), "a git-lfs pointer, a text in place of the recording: `git lfs pull` fetches it"),
        (b"", "0 bytes in it: copy or fetch it again"),
        ("dark", "no picture in it: fetch it again"),
    ],
)
def test_files_that_hold_nothing(ravdess, parse, media, content, reason):
    files = [find(ravdess, f"{modality}-{SPOKEN[0]}") for modality in ("01", "02")]
    for file in files:
        file.write_bytes((media / "dark.mp4").read_bytes() if content == "dark" else content)
    with pytest.raises(MMFairseqError) as error:
        parse("ravdess", ravdess)
    assert f"{files[0]}: {reason} (and 1 more: {files[1].name}); 1 of 4 utterances have no picture: {SPOKEN[0]}" in str(
        error.value
    )
    assert str(error.value).endswith("; --accept-missing goes on without them")
    prepared = parse("ravdess", ravdess, "--accept-missing")
    assert rows(prepared)[SPOKEN[0]].video == ""
    assert len(prepared.notes) == 2
    find(ravdess, f"03-{SPOKEN[0]}").write_bytes(b"")
    prepared = parse("ravdess", ravdess, "--accept-missing")
    assert SPOKEN[0] not in rows(prepared)
    assert prepared.excluded["no recording"] == 1


@pytest.mark.parametrize(
    "name",
    [
        *("03-01-09-01-01-01-01.wav", "04-01-01-01-01-01-01.wav", "03-01-01-01-01-01.wav", "angry.wav"),
        *("03-01-01-02-01-01-01.wav", "03-02-07-01-01-01-01.wav", "03-01-02-01-01-01-25.wav"),
        *("01-01-02-01-01-01-01.wav", "03-01-02-01-01-01-01.mp4"),
    ],
)
def test_a_name_that_is_no_recording(ravdess, parse, name):
    (ravdess / "Audio_Speech_Actors_01-24/Actor_01" / name).write_bytes(b"x")
    with pytest.raises(MMFairseqError, match=rf"Actor_01/{name}: not the name of a recording: MODALITY-CHANNEL-"):
        parse("ravdess", ravdess)


def test_a_file_in_another_actors_folder_or_there_twice(ravdess, parse):
    file = find(ravdess, f"03-{SPOKEN[0]}")
    other = file.parents[1] / "Actor_12" / file.name
    shutil.copyfile(file, other)
    with pytest.raises(MMFairseqError, match=rf"{other}: of actor 01 by its name; it belongs into Actor_01"):
        parse("ravdess", ravdess)
    other.unlink()
    twice = ravdess / "Actor_01" / file.name
    twice.parent.mkdir()
    shutil.copyfile(file, twice)
    with pytest.raises(MMFairseqError, match=r"the same recording as .*; remove one of the two copies"):
        parse("ravdess", ravdess)


def test_other_files_are_passed_over(ravdess, parse):
    folder = ravdess / "Audio_Speech_Actors_01-24/Actor_01"
    (folder / "._03-01-01-01-01-01-01.wav").write_bytes(b"\0")
    (folder / "README.txt").write_text("x")
    assert len(parse("ravdess", ravdess).manifest) == 4


def test_wrong_folders(tmp_path, ravdess, parse):
    with pytest.raises(MMFairseqError, match=r"nowhere: no such folder; RAW must be the folder with Actor_01 to Actor"):
        parse("ravdess", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MMFairseqError, match=r"no Actor_\*/\*.mp4 or Actor_\*/\*.wav; RAW must be"):
        parse("ravdess", tmp_path / "empty")
    for name in SUNG:
        for file in ravdess.rglob(f"*{name}.*"):
            file.unlink()
    with pytest.raises(MMFairseqError, match=r"nothing of --channel song among 4 utterances"):
        parse("ravdess", ravdess, "--channel", "song")


def every(channel):
    """The names of the whole release, by what the paper says of it."""
    for emotion, intensity, statement, take, actor in product(range(1, 9), (1, 2), (1, 2), (1, 2), range(1, 25)):
        if emotion == 1 and intensity == 2:
            continue
        if channel == 2 and (emotion > 6 or actor == 18):
            continue
        yield f"{channel:02}-{emotion:02}-{intensity:02}-{statement:02}-{take:02}-{actor:02}"


@pytest.mark.parametrize("channel", ["speech", "song", "both"])
def test_counts_of_the_whole_release(tmp_path, parse, channel):
    for name in [*every(1), *every(2)]:
        path = tmp_path / f"Actor_{name[-2:]}" / f"03-{name}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"RIFF")
    prepared = parse("ravdess", tmp_path, "--channel", channel)
    base.check_counts(prepared)
    assert len(prepared.manifest) == {"speech": 1440, "song": 1012, "both": 2452}[channel]
    (tmp_path / "Actor_05/03-01-01-01-01-01-05.wav").unlink()
    if channel != "song":
        with pytest.raises(MMFairseqError, match=r"clips \d+ instead of .*actors with 60 of speech 23 instead of 24"):
            base.check_counts(parse("ravdess", tmp_path, "--channel", channel))


def test_published_counts_sum_up():
    for counts in PUBLISHED.values():
        assert sum(number for name, number in counts.items() if name in CLASSES) == counts["clips"]


def test_folds_by_actor():
    folds = by_actor(Utterance(f"{actor}-{n}", speaker=actor) for actor in ACTORS for n in range(60))
    assert list(folds) == ["1", "2", "3", "4", "5"]
    actors = {fold: {s: {name[:2] for name in ids} for s, ids in splits.items()} for fold, splits in folds.items()}
    for fold, splits in actors.items():
        assert len(splits["test"]) in (4, 5)
        assert set.union(*splits.values()) == set(ACTORS)
        assert sum(map(len, splits.values())) == 24
        assert splits["valid"] == actors[str(int(fold) % 5 + 1)]["test"]
    assert Counter(actor for splits in actors.values() for actor in splits["test"]) == dict.fromkeys(ACTORS, 1)


def test_the_prepared_folder(ravdess, parse, tmp_path):
    prepared = parse("ravdess", ravdess)
    account = writing.write("ravdess", prepared, tmp_path / "out")
    assert account["attributes"]["sex"] == {"female": 3, "male": 1}
    assert list(account["splits"]) == ["by_actor"]
    assert Manifest.read(tmp_path / "out/manifest.tsv").utterances == prepared.manifest.utterances
    assert read_targets(tmp_path / "out/targets.json") == prepared.targets

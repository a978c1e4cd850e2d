"""The toy AudioSet, read here by csv, json and PyAV."""

import csv
import hashlib
import json
import re
from collections import Counter

import av
import numpy as np
import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import audioset as toy

CLIP = re.compile(r"video_(\d+)_start_(\d+)_end_(\d+)\.mp4")
COUNT = 70


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy") / "audioset"
    toy.write(out, COUNT, seed=3)
    return out


def segments(corpus, split):
    lines = (corpus / toy.SEGMENTS[split]).read_text().splitlines()
    assert [line[:2] for line in lines[:3]] == ["# "] * 3
    assert lines[2] == "# YTID, start_seconds, end_seconds, positive_labels"
    told = {key: int(value) for key, value in re.findall(r"(num_\w+)=(\d+)", lines[1])}
    rows = list(csv.reader(lines[3:], skipinitialspace=True))
    assert told["num_ytids"] == told["num_segs"] == len(rows)
    return [(name, float(start), float(end), labels.split(",")) for name, start, end, labels in rows]


def clips(corpus, split):
    """{row: {class folders}} of the clips, and one file each."""
    folders, files = {}, {}
    for file in (corpus / split / toy.FOLDER).glob("*/*.mp4"):
        number, start, end = map(int, CLIP.fullmatch(file.name).groups())
        folders.setdefault(number, set()).add(file.parent.name)
        files[number] = (file, start, end)
    return folders, files


def sums(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        toy.write(tmp_path / name, toy.MINIMUM, seed)
    first, second, third = (sums(tmp_path / name) for name in "abc")
    assert first == second
    first.pop("ontology.json"), third.pop("ontology.json")
    assert not set(first.values()) & set(third.values())


def test_rows_and_clips_belong_together(corpus):
    names = {event["id"]: event["name"] for event in json.loads((corpus / "ontology.json").read_text())}
    several = gone = found = 0
    for split in ("train", "eval"):
        rows = segments(corpus, split)
        folders, files = clips(corpus, split)
        assert len({name for name, *_ in rows}) == len(rows)
        assert all(re.fullmatch(r"[\w-]{11}", name) for name, *_ in rows)
        for number, (_, start, end, labels) in enumerate(rows):
            if number not in folders:
                gone += 1
                continue
            assert folders[number] == {names[label] for label in labels}
            assert files[number][1:] == (start, end)
            several += len(labels) == 2
        found += len(folders)
    assert found == COUNT
    assert several >= 4
    assert gone >= 2


def test_classes_are_balanced_and_named_as_in_the_ontology(corpus):
    entries = json.loads((corpus / "ontology.json").read_text())
    fields = ["id", "name", "description", "citation_uri", "positive_examples", "child_ids", "restrictions"]
    assert all(list(entry) == fields for entry in entries)
    children = {child for entry in entries for child in entry["child_ids"]}
    assert children == {event.mid for event in toy.EVENTS}
    assert "Accelerating, revving, vroom" in {entry["name"] for entry in entries}
    for split in ("train", "eval"):
        folders, _ = clips(corpus, split)
        single = Counter(next(iter(names)) for names in folders.values() if len(names) == 1)
        assert set(single) == {event.name for event in toy.EVENTS}
        assert max(single.values()) - min(single.values()) <= len(folders) // 10 + 1


def test_a_clip_has_pictures_and_sound_of_its_own_length(corpus):
    _, files = clips(corpus, "eval")
    lengths = set()
    for file, *_ in list(files.values())[:6]:
        with av.open(str(file)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        with av.open(str(file)) as container:
            sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        assert frames[0].shape == (120, 160, 3)
        assert abs(len(frames) / toy.FPS - len(sound) / toy.RATE) < 0.15
        assert 0.95 <= len(frames) / toy.FPS <= 2.55
        assert np.abs(sound).max() > 0.1
        lengths.add(len(frames))
    assert len(lengths) > 2


def features(event, rng):
    """Colour of the pictures against the wall, and the share of sound in three bands."""
    sound, frames = toy.clip([event], 1.0, rng)
    power = np.abs(np.fft.rfft(sound / 32768)) ** 2
    edges = [0, 800, 2600, len(power)]
    bands = np.array([power[a:b].sum() for a, b in zip(edges[:-1], edges[1:], strict=True)]) / power.sum()
    pictures = np.stack(frames).astype(float)
    colourful = pictures.max(-1) - pictures.min(-1) > 80
    return bands.argmax(), pictures[colourful].mean(0).argmax()


def test_sound_and_picture_name_the_event_together():
    pairs = {(event.sound, event.picture) for event in toy.EVENTS}
    assert len(pairs) == len(toy.EVENTS)
    assert max(Counter(event.sound for event in toy.EVENTS).values()) == 2
    assert max(Counter(event.picture for event in toy.EVENTS).values()) == 2
    rng = np.random.default_rng(1)
    seen = {event.name: {features(event, rng) for _ in range(4)} for event in toy.EVENTS}
    assert all(len(found) == 1 for found in seen.values())
    assert len({next(iter(found)) for found in seen.values()}) == len(toy.EVENTS)


def test_a_number_that_is_not_possible(tmp_path):
    with pytest.raises(MMFairseqError, match=r"--utterances 59: .* at least 60"):
        toy.write(tmp_path / "a", 59, seed=1)
    with pytest.raises(MMFairseqError, match="--seed -1"):
        toy.write(tmp_path / "a", 60, seed=-1)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "train").mkdir()
    with pytest.raises(MMFairseqError, match="holds other files already"):
        toy.write(tmp_path / "a", 60, seed=1)

"""Files of segments: whole or not at all, gone on with after any interruption, and readable by others."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference.fonts import drawable
from mm_fairseq.inference.segments import FILES, PART, SegmentFiles
from mm_fairseq.inference.timeline import BINS, Point, _bin, clock, draw_timeline
from mm_fairseq.inference.windows import Segment, segments
from mm_fairseq.targets import Target, kind_of

KINDS = {
    target.name: kind_of(target)
    for target in (
        Target("emotion", "single", ("happy", "sad <3>"), 1.0),
        Target("valence", "regression", (), 1.0),
        Target("topics", "multilabel", ("a", "b"), 1.0),
    )
}


def answer(happy, valence=0.25, a=0.9, b=0.2, notes=()):
    scores = {
        "emotion": {"happy": happy, "sad <3>": 1 - happy},
        "valence": {"valence": valence},
        "topics": {"a": a, "b": b},
    }
    return SimpleNamespace(
        targets={name: [{"label": label, "score": x} for label, x in each.items()] for name, each in scores.items()},
        predictions={
            "emotion": "happy" if happy >= 0.5 else "sad <3>",
            "valence": valence,
            "topics": [name for name, x in (("a", a), ("b", b)) if x > 0.5],
        },
        modalities=["audio", "text"],
        notes=notes,
    )


def made(*happy):
    """A segment each, 5 s long, every second; None for one that could not be answered."""
    return [
        Segment(float(n), n + 5.0, *((None, "a, hole") if each is None else (answer(each),)))
        for n, each in enumerate(happy)
    ]


def kinds(*names):
    return {name: KINDS[name] for name in names}


def write(folder, segments, of=KINDS, about=None):
    with SegmentFiles(folder, about or {"window": 5}, of) as files:
        for segment in segments:
            files.add(segment)
        return files.finish("talk.mp4")


def test_all_files_and_no_other(tmp_path):
    counts = write(tmp_path, made(0.9, None, 0.2))
    assert counts == {"segments": 3, "unanswered": 1}
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)


def test_json(tmp_path):
    write(tmp_path, made(0.9, None))
    first, second = json.loads((tmp_path / "segments.json").read_text())
    assert first == {
        "start": 0.0,
        "end": 5.0,
        "emotion": "happy",
        "valence": 0.25,
        "topics": ["a"],
        "scores": {
            "emotion": {"happy": 0.9, "sad <3>": 1 - 0.9},
            "valence": {"valence": 0.25},
            "topics": {"a": 0.9, "b": 0.2},
        },
        "modalities": ["audio", "text"],
        "notes": [],
    }
    nothing = {"emotion": None, "valence": None, "topics": None, "scores": {}, "note": "a, hole"}
    assert second == {"start": 1.0, "end": 6.0} | nothing


def test_csv(tmp_path):
    write(tmp_path, made(0.75, None))
    with open(tmp_path / "segments.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["start"], first["emotion"], first["valence"], first["topics"]) == ("0.0", "happy", "0.25", "a")
    assert (first["emotion:happy"], first["emotion:sad <3>"], first["topics:b"]) == ("0.75", "0.25", "0.2")
    assert (first["modalities"], first["note"]) == ("audio|text", "")
    assert (second["emotion"], second["emotion:happy"], second["note"]) == ("", "", "a, hole")


def cues(folder):
    """Start, end and lines of each cue, read by the rules of WebVTT."""
    head, *blocks = (folder / "segments.vtt").read_text().rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    found = []
    for block in blocks:
        timing, *lines = block.split("\n")
        times = re.fullmatch(r"(\d\d):(\d\d):(\d\d\.\d{3}) --> (\d\d):(\d\d):(\d\d\.\d{3})", timing)
        assert times
        hours, minutes, seconds, *end = map(float, times.groups())
        found.append((3600 * hours + 60 * minutes + seconds, 3600 * end[0] + 60 * end[1] + end[2], lines))
    return found


def test_cues_follow_each_other_and_equal_labels_are_one(tmp_path):
    write(tmp_path, made(0.9, 0.7, 0.1, None, 0.2, 0.4), kinds("emotion"))
    assert cues(tmp_path) == [
        (0.0, 4.0, ["happy 0.80"]),  # up to the middle between the second window and the third
        (4.0, 5.0, ["sad &lt;3&gt; 0.90"]),
        (6.0, 10.0, ["sad &lt;3&gt; 0.70"]),
    ]


def test_cues_of_several_targets(tmp_path):
    write(tmp_path, made(0.9, 0.7))
    assert cues(tmp_path) == [(0.0, 6.0, ["emotion: happy 0.80", "valence 0.25", "topics: a 0.90"])]


def test_one_window_is_all_of_it(tmp_path):
    write(tmp_path, [Segment(0.0, 2.5, answer(0.9))], kinds("emotion"))
    assert cues(tmp_path) == [(0.0, 2.5, ["happy 0.90"])]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_an_interrupted_run_goes_on(tmp_path, after):
    segments = made(0.9, 0.7, None, 0.2, 0.5)
    for name in "ab":
        (tmp_path / name).mkdir()
    write(tmp_path / "a", segments)
    with SegmentFiles(tmp_path / "b", {"window": 5}, KINDS) as files:
        for segment in segments[:after]:
            files.add(segment)
    with SegmentFiles(tmp_path / "b", {"window": 5}, KINDS) as files:
        assert (files.done, files.changed) == (after, "")
        for segment in segments[after:]:
            files.add(segment)
        files.finish("talk.mp4")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.parametrize("tail", [b'{"start": 2.0, "e', b'{"start": 2.0}', b"\0" * 100, b"[]\n", b"\0\0\n"])
def test_a_line_that_is_not_whole_is_dropped(tmp_path, tail):
    segments = made(0.9, 0.7, 0.2)
    with SegmentFiles(tmp_path, {"window": 5}, KINDS) as files:
        files.add(segments[0])
        files.add(segments[1])
    with open(tmp_path / PART, "ab") as file:
        file.write(tail)
    with SegmentFiles(tmp_path, {"window": 5}, KINDS) as files:
        assert files.done == 2
        files.add(segments[2])
        assert files.finish("x")["segments"] == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_full_disk_is_told_by_the_name_of_the_file(tmp_path):
    files, segment = SegmentFiles(tmp_path, {}, KINDS), made(0.9)[0]
    files.add(segment)
    files._file.close()
    files._file = open("/dev/full", "wb")  # noqa: SIM115
    for write_out in (lambda: files.add(segment), files.__exit__):
        with pytest.raises(OSError, match="No space left") as raised:
            write_out()
        assert raised.value.filename == str(tmp_path / PART)
    with SegmentFiles(tmp_path, {}, KINDS) as files:
        assert files.done == 1


def test_other_settings_begin_anew_and_say_which(tmp_path):
    with SegmentFiles(tmp_path, {"window": 5, "hop": 1}, KINDS) as files:
        files.add(made(0.9)[0])
    with SegmentFiles(tmp_path, {"window": 5, "hop": 2}, KINDS) as files:
        assert (files.done, files.changed) == (0, "hop")
    (tmp_path / PART).write_bytes(b"\0\0\0")
    with SegmentFiles(tmp_path, {"window": 5, "hop": 2}, KINDS) as files:
        assert (files.done, files.changed) == (0, "it cannot be read")


@pytest.mark.parametrize("name", ["start", "scores", "note"])
def test_a_target_that_is_called_as_what_segments_have(tmp_path, name):
    kind = kind_of(Target(name, "single", ("a", "b"), 1.0))
    with pytest.raises(MMFairseqError, match=f"target '{name}'"):
        SegmentFiles(tmp_path, {}, {name: kind})
    assert not list(tmp_path.iterdir())
    with pytest.raises(MMFairseqError, match=f"target '{name}'"):
        next(segments(SimpleNamespace(kinds={name: kind}), None))


def test_a_full_disk_keeps_what_there_is(tmp_path, monkeypatch):
    with SegmentFiles(tmp_path, {"window": 5}, KINDS) as files:
        for segment in made(0.9, 0.1):
            files.add(segment)
        monkeypatch.setattr("mm_fairseq.inference.segments.draw_timeline", full)
        with pytest.raises(OSError, match="No space"):
            files.finish("x")
    assert SegmentFiles(tmp_path, {"window": 5}, KINDS).done == 2


def full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("count", [1, 6, 7196])
def test_timeline(tmp_path, count):
    points = [Point(n, n + 1, {} if n == 3 else {"emotion": {"happy": 0.9, "sad <3>": 0.1}}) for n in range(count)]
    draw_timeline(tmp_path / "a.png", iter(points), {"emotion": ("happy", "sad <3>")}, count, "talk.mp4")
    picture = matplotlib.image.imread(tmp_path / "a.png")
    assert picture.shape[:2] == (330, 1210)
    seen = (np.abs(picture[..., :3] - (0.0, 0x72 / 255, 0xB2 / 255)).max(-1) < 0.2).sum()
    assert seen > 1000  # of the colour of the first label


def test_a_timeline_in_any_script(tmp_path, recwarn, monkeypatch):
    drawn, savefig, target = [], Figure.savefig, "\uac10\uc815"
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **how: drawn.append(self) or savefig(self, *args, **how))
    labels = ("_hidden", "\uae30\uc068", "\U0001300f")
    points = [Point(0.0, 5.0, {target: dict.fromkeys(labels, 0.3)})]
    draw_timeline(tmp_path / "a.png", points, {target: labels}, 1, "\uc774\uc57c\uae30.mp4")
    (legend,) = (axes.get_legend() for axes in drawn[0].axes if axes.get_legend())
    assert [text.get_text() for text in legend.get_texts()] == [f" {drawable(name, 22)}" for name in labels]
    assert not [each for each in recwarn if "Glyph" in str(each.message)]


def test_bins_are_means_that_leave_nothing_out():
    rng = np.random.default_rng(0)
    values = rng.random(7196)
    points = [Point(n, n + 1, {} if 1200 <= n < 1300 else {"v": {"v": x}}) for n, x in enumerate(values)]
    binned = _bin(iter(points), {"v": ("v",)}, len(points))
    assert binned.each == 12
    assert len(binned.edges) == 601 <= BINS + 1
    np.testing.assert_array_equal(binned.edges, [*range(0, 7196, 12), 7196])
    expected = [np.nan if 1200 <= at < 1296 else values[at : at + 12].mean() for at in range(0, 7196, 12)]
    expected[108] = values[1300:1308].mean()
    np.testing.assert_allclose(binned.scores["v"][:, 0], expected)


def test_clock():
    assert [clock(each) for each in (0, 59.6, 61, 3599, 3600, 7384)] == [
        "0:00",
        "1:00",
        "1:01",
        "59:59",
        "1:00:00",
        "2:03:04",
    ]

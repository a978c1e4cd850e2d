import hashlib
import os
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mm_fairseq.manifest import Utterance
from mm_fairseq.media import MediaError
from mm_fairseq.preprocessing.audit_files import PIECE, compare, declared, durations, headers, seconds
from mm_fairseq.toy.clips import write_clip

LARGE = 8 * PIECE


def write(folder, **contents):
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return list(contents)


def groups(files):
    return sorted(sorted(paths) for paths in files.equal)


def test_equal_bytes_by_sha256(tmp_path):
    """Against the hashes of all files: contents drawn from a few that agree at both ends and in size."""
    draw = random.Random(1)
    base = draw.randbytes(LARGE)
    forms = [base, base[:200] + b"x" + base[201:], base[:-1] + b"y", base[: PIECE + 9] + b"z" + base[PIECE + 10 :]]
    forms += [b"", b"a", b"b", b"ab", draw.randbytes(3 * PIECE), draw.randbytes(3 * PIECE)]
    contents = {f"f{n}": draw.choice(forms) for n in range(60)}
    files = compare(tmp_path, write(tmp_path, **contents))
    by_hash: dict[str, list[str]] = {}
    for name, data in contents.items():
        if data:
            by_hash.setdefault(hashlib.sha256(data).hexdigest(), []).append(name)
    assert groups(files) == sorted(sorted(names) for names in by_hash.values() if len(names) > 1)
    number = files.number
    for names in by_hash.values():
        assert len({number[name] for name in names}) == 1
    empty = [name for name, data in contents.items() if not data]
    assert len(set(number.values())) == len(by_hash) + len(empty)
    assert files.faults == dict.fromkeys(empty, "empty")


def test_little_is_read(tmp_path):
    draw = random.Random(2)
    names = write(tmp_path, **{f"own{n}": draw.randbytes(LARGE + n) for n in range(4)})
    assert compare(tmp_path, names).read == 0
    names += write(tmp_path, **{f"same{n}": draw.randbytes(LARGE) for n in range(3)})
    assert compare(tmp_path, names).read == 4 * 3 * PIECE  # own0 has that size too


def test_links_are_one_file_and_nothing_is_read(tmp_path):
    write(tmp_path, a=b"abc")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").hardlink_to(tmp_path / "a")
    files = compare(tmp_path, ["a", "b", "c"])
    assert groups(files) == [["a", "b", "c"]]
    assert files.read == 0


def test_what_is_no_file_is_told(tmp_path):
    write(tmp_path, a=b"abc")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    files = compare(tmp_path, ["a", "gone", "folder", "a/b", "loop"])
    assert files.faults == {
        "gone": "missing_file",
        "folder": "not_regular",
        "a/b": "missing_file",
        "loop": "unreadable",
    }
    assert files.to_json() == {
        "named": 5,
        "faults": {"missing_file": 2, "not_regular": 1, "unreadable": 1},
        "same_bytes": 0,
        "first": [],
        "bytes_read": 0,
    }


@pytest.fixture
def sounds(tmp_path):
    soundfile.write(tmp_path / "two.wav", np.zeros(32000), 16000)
    soundfile.write(tmp_path / "three.flac", np.zeros(24000), 8000)
    write(tmp_path, **{"bad.wav": b"no sound", "empty.wav": b""})
    return tmp_path


def test_lengths_by_span_or_header(sounds):
    rows = [
        Utterance("a", audio="two.wav"),
        Utterance("b", audio="three.flac", start=0.5),
        Utterance("c", audio="gone.wav", start=1, end=2.25),
        Utterance("d", audio="two.wav#t=0.5,1"),
        Utterance("e", audio="two.wav#t=0", start=5, end=6),
        Utterance("f", text="said"),
        Utterance("g", audio="gone.wav"),
        Utterance("h", audio="bad.wav"),
        Utterance("i", audio="two.wav", start=2.5),
        Utterance("j", audio="gone.wav", video="two.wav"),
        Utterance("k", audio="gone.wav", video="gone.mp4", start=1, end=3),
        Utterance("l", text="said", start=4, end=6),
    ]
    unknown = ["no_recording_or_times", "missing_file", "unreadable", "span_outside"]
    found = seconds(sounds, rows)
    assert found == [2, 2.5, 1.25, 0.5, 2, *unknown, "missing_file", 2, 2]
    assert durations(rows, found) == {
        "utterances": 7,
        "seconds": 12.25,
        "shortest": 0.5,
        "median": 2,
        "longest": 2.5,
        "unknown": {
            "missing_file": {"utterances": 2, "first": ["g", "j"]},
            "no_recording_or_times": {"utterances": 1, "first": ["f"]},
            "span_outside": {"utterances": 1, "first": ["i"]},
            "unreadable": {"utterances": 1, "first": ["h"]},
        },
    }
    assert durations([], []) == {"utterances": 0, "seconds": 0, "unknown": {}}


def test_spans_beyond_the_end_of_their_file_are_no_hours(sounds):
    """By what media takes: an end may be a tenth of a second too late, a beginning not."""
    rows = [
        Utterance("a", audio="two.wav", start=0, end=1e9),
        Utterance("b", audio="two.wav", start=1, end=2.1),
        Utterance("c", audio="two.wav", start=1, end=2.11),
        Utterance("d", audio="two.wav", start=2, end=2.05),
        Utterance("e", audio="two.wav#t=1.5,9"),
        Utterance("f", audio="two.wav", start=0.5, end=1.5),
        Utterance("g", video="bad.wav", start=0, end=1e3),
        Utterance("h", audio="gone.wav", video="three.flac", end=4),
    ]
    found = seconds(sounds, rows)
    outside = "span_outside"
    assert found == [outside, pytest.approx(1.1), outside, outside, outside, 1, 1e3, 4]
    told = durations(rows, found)
    assert told["unknown"] == {outside: {"utterances": 4, "first": ["a", "c", "d"]}}
    assert told["seconds"] == pytest.approx(1006.1)


def test_a_header_is_opened_once_however_many_spans_it_has(sounds, monkeypatch):
    opened = sounds / "opened"

    def noted(path, real=soundfile.info):
        with open(opened, "a") as file:  # by another process
            file.write(f"{Path(path).name}\n")
        return real(path)

    monkeypatch.setattr(soundfile, "info", noted)
    rows = [Utterance(f"u{n}", audio="two.wav", start=n / 1000, end=n / 1000 + 0.5) for n in range(1500)]
    rows += [Utterance("v", audio="three.flac", start=1)]
    known = headers(sounds, rows)
    assert known == {("two.wav", "audio"): 2, ("three.flac", "audio"): 3}
    assert seconds(sounds, rows, known) == [pytest.approx(0.5)] * 1500 + [2]
    assert opened.read_text().split() == ["two.wav", "three.flac"]


def test_a_header_that_kills_its_reader_once_is_tried_again(sounds, monkeypatch):
    calls = sounds / "calls"

    def once(path, kind, real=declared):
        with open(calls, "a") as file:  # by another process
            file.write(f"{Path(path).name}\n")
        if "gone" not in path and calls.read_text().split().count(Path(path).name) == 1:
            os._exit(3)
        if "gone" in path:
            raise MediaError("unreadable", path)
        return real(path, kind)

    monkeypatch.setattr("mm_fairseq.preprocessing.audit_files.declared", once)
    known = headers(sounds, [Utterance("a", audio="two.wav"), Utterance("b", audio="gone.wav")])
    assert known == {("two.wav", "audio"): 2, ("gone.wav", "audio"): "unreadable"}
    assert calls.read_text().split().count("gone.wav") == 1


def test_the_picture_decides_where_the_sound_is_lost(sounds):
    frames = [np.full((32, 32, 3), 9, np.uint8)] * 15
    write_clip(sounds / "clip.mp4", frames, None, 10, 16000)
    rows = [Utterance("a", audio="gone.wav", video="clip.mp4"), Utterance("b", video="clip.mp4", end=1)]
    assert seconds(sounds, rows) == [pytest.approx(1.5), 1]


def test_the_second_medium_of_a_row_too_is_read_in_another_process(sounds, monkeypatch):
    """Whose end it may be."""
    here = os.getpid()

    def kills(path, kind, real=declared):
        if kind == "video":
            assert os.getpid() != here
            os._exit(3)
        return real(path, kind)

    monkeypatch.setattr("mm_fairseq.preprocessing.audit_files.declared", kills)
    rows = [Utterance("a", audio="gone.wav", video="two.wav"), Utterance("b", audio="two.wav")]
    known = headers(sounds, rows)
    assert seconds(sounds, rows, known) == ["missing_file", 2]
    assert known["two.wav", "video"] == "crashed"


def test_faults_of_files_by_their_codes(sounds):
    assert declared(sounds / "empty.wav", "audio") == "empty"
    assert declared(sounds / "two.wav", "video") == "no_video_track"
    assert declared(sounds, "audio") == "not_regular"
    (sounds / "two.raw").write_bytes((sounds / "two.wav").read_bytes())
    assert declared(sounds / "two.raw", "audio") == 2
    soundfile.write(sounds / "none.wav", np.zeros(0), 16000)
    assert declared(sounds / "none.wav", "audio") == "empty"

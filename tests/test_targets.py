"""Targets and `targets.json`, and what a bad one says."""

import json

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.targets import KINDS, Target, kind_of, read_targets, write_targets

CLASSES = ("neu", "sad", "ang", "hap")


def test_file_round_trip(tmp_path):
    targets = [
        Target("emotion", "single", CLASSES, votes="emotion_votes"),
        Target("Gefühl-2", "binary_each", ("süß", "sauer"), weight=0.5),
        Target("events", "multilabel", ("Speech",), weight=0.0),
        Target("sentiment", "regression"),
    ]
    assert sorted({target.kind for target in targets}) == KINDS.names()
    write_targets(tmp_path / "targets.json", targets)
    assert read_targets(tmp_path / "targets.json") == targets
    assert [path.name for path in tmp_path.iterdir()] == ["targets.json"]


def test_weight_and_votes_may_be_left_out(tmp_path):
    (tmp_path / "targets.json").write_text('[{"name": "emotion", "kind": "single", "classes": ["a", "b"]}]')
    assert read_targets(tmp_path / "targets.json") == [Target("emotion", "single", ("a", "b"), 1.0, "")]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("emotion", "softmax", CLASSES), r"'softmax'.*binary_each, multilabel, regression, single"),
        (("emo:tion", "single", CLASSES), r"'emo:tion': only letters"),
        (("", "single", CLASSES), r"target name ''"),
        (("emotion", "single", CLASSES, -1.0), r"'emotion': weight -1"),
        (("emotion", "single", CLASSES, float("nan")), r"'emotion': weight nan"),
        (("emotion", "single", CLASSES, float("inf")), r"'emotion': weight inf"),
        (("emotion", "single", ("a",)), r"'emotion': kind 'single' needs at least 2 different classes.*\['a'\]"),
        (("emotion", "binary_each", ("a", "a")), r"at least 2 different classes"),
        (("emotion", "single", ("a", "b", "")), r"classes with names.*\['a', 'b', ''\]"),
        (("events", "multilabel", ()), r"'events'.*at least 1 different"),
        (("events", "multilabel", ("a|b", "c")), r"'events': class 'a\|b' must not contain '\|'"),
        (("emotion", "single", ("a|b", "c"), 1.0, "votes"), r"class 'a\|b' must not contain '\|'"),
        (("sentiment", "regression", ("a", "b")), r"'sentiment'.*neither classes nor votes"),
        (("sentiment", "regression", (), 1.0, "votes"), r"'sentiment'.*neither classes nor votes"),
    ],
)
def test_a_bad_target_is_named(given, words):
    with pytest.raises(MMFairseqError, match=words):
        Target(*given)


def test_soft_is_only_what_has_votes():
    voted = Target("emotion", "single", CLASSES, votes="v")
    assert kind_of(voted, soft=True).soft
    assert not kind_of(voted).soft
    assert not kind_of(Target("emotion", "single", CLASSES), soft=True).soft
    assert not kind_of(Target("score", "regression"), soft=True).soft


GOOD = {"name": "emotion", "kind": "single", "classes": ["a", "b"], "weight": 1.0}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "7",
        "{}",
        "[]",
        "[1]",
        json.dumps([{"name": "emotion", "kind": "single"}]),
        json.dumps([GOOD | {"kind": "softmax"}]),
        json.dumps([GOOD | {"kind": ["single"]}]),
        json.dumps([GOOD | {"classes": ["a"]}]),
        json.dumps([GOOD | {"classes": ["a", "a"]}]),
        json.dumps([GOOD | {"classes": "ab"}]),
        json.dumps([GOOD | {"classes": [1, 2]}]),
        json.dumps([GOOD | {"weight": "heavy"}]),
        json.dumps([GOOD | {"votes": None}]),
        json.dumps([GOOD | {"colour": "red"}]),
        json.dumps([GOOD | {"name": "a.b"}]),
        json.dumps([GOOD | {"name": "a:b"}]),
        json.dumps([GOOD | {"name": ""}]),
        json.dumps([GOOD, GOOD]),
    ],
)
def test_bad_targets_file_names_the_file(tmp_path, content):
    path = tmp_path / "targets.json"
    path.write_text(content)
    with pytest.raises(MMFairseqError, match=r"targets\.json"):
        read_targets(path)


def test_missing_targets_file(tmp_path):
    with pytest.raises(MMFairseqError, match=r"targets\.json: no such file"):
        read_targets(tmp_path / "targets.json")

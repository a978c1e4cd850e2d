"""Reading predictions: grouping, order, and every way in which a file can be wrong."""

import json
import math

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.report import predictions


def test_groups_by_target_and_split_with_test_first(write_lines, line):
    path = write_lines([line(1, split="valid"), line(1), line(1, name="action"), line(2, split="dev")])
    groups = predictions.read(path)
    assert [group.key for group in groups] == [
        ("emotion", "test"),
        ("action", "test"),
        ("emotion", "valid"),
        ("emotion", "dev"),
    ]


def test_classes_keep_the_order_of_the_model(write_lines, line):
    path = write_lines([line(1, scores={}), line(2, "sad", "angry"), line(3, None, "neutral")])
    assert predictions.read(path)[0].classes == ["neutral", "sad", "angry"]
    path = write_lines([line(1, "zeal", "bored", scores={}), line(2, None, "calm", scores={})])
    assert predictions.read(path)[0].classes == ["bored", "calm", "zeal"]


def test_what_is_known_of_an_utterance(write_lines, line):
    facts = {"dialogue": "d1", "text": "안녕", "seconds": 2, "transcript_in_train": True}
    facts["attributes"] = {"style": "impro", "age": None}
    item = predictions.read(write_lines([line(1, **facts)]))[0].items[0]
    assert (item.speaker, item.session, item.dialogue, item.text) == ("s1", "1", "d1", "안녕")
    assert (item.seconds, item.seen, item.attributes) == (2, True, {"style": "impro", "age": ""})
    few = '{"id": 7, "name": "emotion", "target": "a", "prediction": "a"}'
    item = predictions.read(write_lines([few]))[0].items[0]
    assert item == predictions.Prediction("7", "a", "a", {})


def test_sets_of_labels(write_lines, line):
    lines = [
        line(1, ["b", "a"], ["a", "b"], kind="multilabel", scores={"a": 0.9, "b": 0.8, "c": 0}),
        line(2, [], ["a"], kind="multilabel", scores={"a": 0.9, "b": 0.1, "c": 0}),
        line(3, None, [], kind="multilabel", scores={"a": 0.1, "b": 0.1, "c": 0}),
    ]
    group = predictions.read(write_lines(lines))[0]
    assert group.classes == ["a", "b", "c"]
    assert [item.right for item in group.labelled] == [True, False]


def test_missing_labels_are_no_items(write_lines, line):
    group = predictions.read(write_lines([line(2), line(1), line(3, None)]))[0]
    assert [item.id for item in group.labelled] == ["utt001", "utt002"]
    assert len(group.items) == 3


def test_folder_prefers_files_called_predictions(write_lines, line, tmp_path):
    wanted = write_lines([line(1)], "run/test.predictions.jsonl")
    write_lines(['{"id": "utt009", "reason": "no sound"}'], "run/quarantine.jsonl")
    assert predictions.find_files(tmp_path) == [wanted]
    other = write_lines([line(1)], "other/test.jsonl")
    assert predictions.find_files(tmp_path / "other") == [other]


def test_no_file_and_no_prediction(tmp_path, write_lines):
    with pytest.raises(MMFairseqError, match=r"nowhere: no such file"):
        predictions.read(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MMFairseqError, match=r"empty: no predictions"):
        predictions.read(tmp_path / "empty")
    with pytest.raises(MMFairseqError, match=r"void.jsonl: no predictions in it"):
        predictions.read(write_lines([""], "void.jsonl"))


GOOD = {"id": "u", "split": "test", "name": "emotion", "target": "sad", "prediction": "sad"}
SCORES = {"neutral": 0.2, "sad": 0.7, "angry": 0.1}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"id": "utt002", "name": ', r"predictions.jsonl:2: not a line of JSON"),
        ("[1, 2]", r"predictions.jsonl:2: not a prediction, it has no 'id'"),
        ('{"id": "utt002", "name": "emotion"}', r"predictions.jsonl:2: .* no 'target', 'prediction'"),
        (GOOD | {"id": None}, r":2: utterance None: id must be a text"),
        (GOOD | {"target": 3}, r":2: utterance 'u': target must be a label, got 3"),
        (GOOD | {"prediction": ["sad"]}, r":2: utterance 'u': prediction must be a label"),
        (GOOD | {"scores": SCORES | {"sad": math.nan}}, r":2: utterance 'u': .* finite numbers .* sad: nan"),
        (GOOD | {"scores": SCORES | {"sad": math.inf}}, r":2: utterance 'u': .* sad: inf"),
        (GOOD | {"scores": SCORES | {"sad": 3.5}}, r":2: utterance 'u': .* from 0 to 1, got sad: 3.5"),
        (GOOD | {"scores": SCORES | {"sad": "0.1"}}, r":2: utterance 'u': .* got sad: '0.1'"),
        (GOOD | {"scores": [1]}, r":2: utterance 'u': scores must be label: probability"),
        (GOOD | {"scores": {"sad": 1}}, r":2: utterance 'u': scores for sad, but for neutral, sad, angry"),
        (GOOD | {"target": "zeal"}, r":2: utterance 'u': label 'zeal' is none of .*: neutral, sad, angry"),
        (GOOD | {"kind": "ranking"}, r":2: .* 'ranking' is none of single, binary_each, multilabel, regression"),
        (GOOD | {"kind": "binary_each"}, r":2: .* kind 'binary_each', but target 'emotion' is 'single'"),
        (GOOD | {"kind": "regression", "name": "r"}, r":2: utterance 'u': target must be a finite number, got 'sad'"),
        (
            {"id": "u", "name": "r", "kind": "regression", "target": 1, "prediction": math.nan},
            r":2: utterance 'u': prediction must be a finite number, got nan",
        ),
        (GOOD | {"kind": "multilabel", "name": "m"}, r":2: utterance 'u': target must be a list of labels, got 'sad'"),
        (
            GOOD | {"kind": "multilabel", "name": "m", "target": [], "prediction": [], "scores": {}},
            r"predictions.jsonl: target 'm': no label and no score names a class",
        ),
        (GOOD | {"seconds": -1}, r":2: utterance 'u': seconds must be a number of 0 or more"),
        (GOOD | {"seconds": "long"}, r":2: utterance 'u': seconds"),
        (GOOD | {"transcript_in_train": "yes"}, r":2: utterance 'u': transcript_in_train"),
        (GOOD | {"attributes": ["style"]}, r":2: utterance 'u': attributes"),
        (GOOD | {"modalities": "audio"}, r":2: utterance 'u': modalities must be a list"),
        (GOOD | {"speaker": ["a"]}, r":2: utterance 'u': speaker must be a text"),
    ],
)
def test_malformed_lines_are_named(write_lines, line, bad, message):
    with pytest.raises(MMFairseqError, match=message):
        predictions.read(write_lines([line(1), bad if isinstance(bad, str) else json.dumps(bad)]))


def test_an_utterance_twice_is_an_error_that_names_both_places(write_lines, line, tmp_path):
    write_lines([line(1)], "a/predictions.jsonl")
    write_lines([line(2), line(1)], "b/predictions.jsonl")
    with pytest.raises(MMFairseqError, match=r"b/predictions.jsonl:2: utterance 'utt001'.*a/predictions.jsonl:1"):
        predictions.read(tmp_path)


def test_a_run_is_read_without_what_lies_deeper(tmp_path, line):
    for place in ("test", "valid", "subsets/audio/test"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "predictions.jsonl").write_text(line(1, split=place.split("/")[-1]) + "\n")
    assert [group.split for group in predictions.read(tmp_path)] == ["test", "valid"]

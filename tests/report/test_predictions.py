"""Reading predictions: grouping, order, and every way in which a file can be wrong."""

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
    path = write_lines([line(1, "sad", "sad"), line(2, "zeal", "angry"), line(3, None, "bored", scores={})])
    assert predictions.read(path)[0].classes == ["neutral", "sad", "angry", "bored", "zeal"]


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


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"id": "utt002", "name": ', r"predictions.jsonl:2: not a line of JSON"),
        ("[1, 2]", r"predictions.jsonl:2: not a prediction, it has no 'id'"),
        ('{"id": "utt002", "name": "emotion"}', r"predictions.jsonl:2: .* no 'target', 'prediction'"),
        ('{"id": "u", "name": "e", "target": 3, "prediction": "sad"}', r":2: utterance 'u': .* must be labels"),
        ('{"id": "u", "name": "e", "target": "a", "prediction": "a", "scores": {"a": NaN}}', r":2: .* finite numbers"),
        ('{"id": "u", "name": "e", "target": "a", "prediction": "a", "scores": [1]}', r":2: .* finite numbers"),
        ('{"id": "u", "name": "e", "kind": "regression", "target": "a", "prediction": 1}', r":2: .* finite numbers"),
    ],
)
def test_malformed_lines_are_named(write_lines, line, bad, message):
    with pytest.raises(MMFairseqError, match=message):
        predictions.read(write_lines([line(1), bad]))


def test_an_utterance_twice_is_an_error_that_names_both_places(write_lines, line, tmp_path):
    write_lines([line(1)], "a/predictions.jsonl")
    write_lines([line(2), line(1)], "b/predictions.jsonl")
    with pytest.raises(MMFairseqError, match=r"b/predictions.jsonl:2: utterance 'utt001'.*a/predictions.jsonl:1"):
        predictions.read(tmp_path)

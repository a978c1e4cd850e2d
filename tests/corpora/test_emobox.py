"""EmoBox's lists: the toy in their form, and what may be wrong with them."""

import json
import shutil
from dataclasses import replace

import pytest

from mm_fairseq.cli import main
from mm_fairseq.corpora.emobox import VALID_SHARE
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest
from mm_fairseq.toy import emobox as toy

COUNT = 40


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    toy.write(out := tmp_path_factory.mktemp("toy") / "EmoBox", COUNT, seed=2)
    return out


@pytest.fixture
def raw(written, tmp_path):
    shutil.copytree(written, tmp_path / "EmoBox")
    return tmp_path / "EmoBox/data/toy"


def fold(raw, split="train", number=1):
    return raw / f"fold_{number}/toy_{split}_fold_{number}.jsonl"


def records(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def rewrite(file, change):
    """Apply `change` to the first record, and write the file anew."""
    first, *others = records(file)
    first = change(first) or first
    file.write_text("".join(json.dumps(record) + "\n" for record in (first, *others)))


def test_rows_labels_and_speakers(raw, parse):
    prepared = parse("emobox", raw)
    rows = {row.id: row for row in prepared.manifest.utterances}
    all_of = {record["key"]: record for record in records(raw / "toy.jsonl")}
    assert rows.keys() == all_of.keys()
    assert prepared.manifest.root == raw.parent.parent
    for key, row in rows.items():
        assert row.audio == all_of[key]["wav"]
        assert row.labels == {"emotion": toy.LABELS[all_of[key]["emo"]]}
        assert row.speaker == f"toy_{key[4:6]}"
        assert (row.start, row.end, row.text) == (None, None, "")
    assert {record["emo"] for record in all_of.values()} == set(toy.LABELS)
    assert prepared.targets[0].classes == ("Neutral", "Happy", "Sad", "Angry")


def test_all_folds_are_kept_and_validation_is_drawn(raw, parse):
    prepared = parse("emobox", raw)
    assert list(prepared.protocols) == ["emobox"]
    folds = prepared.protocols["emobox"]
    assert list(folds) == ["1", "2", "3", "4"]
    for number, splits in folds.items():
        assert splits["test"] == [record["key"] for record in records(fold(raw, "test", number))]
        train = [record["key"] for record in records(fold(raw, "train", number))]
        assert sorted(splits["train"] + splits["valid"]) == sorted(train)
        assert len(splits["valid"]) == pytest.approx(VALID_SHARE * len(train), abs=COUNT / toy.SPEAKERS)
        speakers = [{key[4:6] for key in splits[split]} for split in ("train", "valid", "test")]
        assert not speakers[0] & speakers[1]
        assert not (speakers[0] | speakers[1]) & speakers[2]
    assert "a fifth of train was drawn for it: fold 1 by a hash of the speaker" in prepared.notes[-1]
    assert parse("emobox", raw).protocols == prepared.protocols


def test_a_list_of_validation_is_taken(raw, parse):
    lines = fold(raw).read_text().splitlines()
    (raw / "fold_1/toy_valid_fold_1.jsonl").write_text("\n".join(lines[:4]))
    fold(raw).write_text("\n".join(lines[4:]))
    splits = parse("emobox", raw).protocols["emobox"]["1"]
    assert splits["valid"] == [json.loads(line)["key"] for line in lines[:4]]
    assert splits["train"] == [json.loads(line)["key"] for line in lines[4:]]


@pytest.mark.parametrize("given", ["EmoBox", "jsonl"])
def test_other_ways_to_name_it(raw, parse, given):
    prepared = parse(
        "emobox",
        *([raw.parent.parent] if given == "EmoBox" else [raw / "toy.jsonl"]),
        *(["--root", str(raw.parent.parent)] if given == "jsonl" else []),
    )
    assert len(prepared.manifest) == COUNT
    assert list(prepared.protocols) == ["emobox" if given == "EmoBox" else "by_speaker"]
    if given == "EmoBox":
        shutil.copytree(raw, raw.with_name("other"))
        with pytest.raises(MMFairseqError, match=r"has lists of several corpora; name one: .*data/other, .*data/toy"):
            parse("emobox", raw.parent.parent)


def test_labels_that_the_map_leaves_out(raw, parse):
    (raw / "label_map.json").write_text(json.dumps({**toy.LABELS, "exc": "", "ang": None, "sad": "Low"}))
    prepared = parse("emobox", raw)
    labels = [record["emo"] for record in records(raw / "toy.jsonl")]
    assert prepared.excluded == {"exc": labels.count("exc"), "ang": labels.count("ang")}
    assert len(prepared.manifest) == COUNT - sum(prepared.excluded.values())
    assert prepared.targets[0].classes == ("Neutral", "Happy", "Low")


def test_without_a_map_and_without_speakers(raw, parse):
    (raw / "label_map.json").unlink()
    (raw / "data.seg.wrd.stm").unlink()
    prepared = parse("emobox", raw)
    assert prepared.targets[0].classes == tuple(sorted(toy.LABELS))
    assert not any(row.speaker for row in prepared.manifest.utterances)
    assert "by a hash of the utterance" in prepared.notes[-1]


def test_times(raw, parse):
    for number in range(1, 5):
        for split in ("train", "test"):
            rewrite(fold(raw, split, number), lambda record: record)
    key = records(fold(raw, "test"))[0]["key"]
    for file in raw.glob("fold_*/*.jsonl"):
        found = records(file)
        for record in found:
            if record["key"] == key:
                record |= {"start_time": 0, "end_time": 0.25}
        file.write_text("".join(json.dumps(record) + "\n" for record in found))
    [row] = [row for row in parse("emobox", raw).manifest.utterances if row.id == key]
    assert (row.start, row.end) == (None, 0.25)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda record: record.update(emo="odd"),
            "utterance 'toy-02-.*': emo 'odd' is none of label_map.json, which has neu",
        ),
        (lambda record: record.update(emo=3), "expected an object with key, wav and emo; 'emo' is 3, no text"),
        (lambda record: record.pop("wav") and None, "expected an object with key, wav and emo; 'wav' is None"),
        (lambda record: ["a", "b"], "expected an object with key, wav and emo; 'key' is None"),
        (lambda record: record.update(type="feature"), "type 'feature'; only recordings"),
        (lambda record: record.update(start_time="x"), "start_time 'x' is not a number of seconds"),
        (lambda record: record.update(start_time=-1), "start_time -1 is not a number of seconds, from 0 to 1e\\+09"),
        (lambda record: record.update(end_time=float("nan")), "end_time nan is not a number of seconds"),
        (lambda record: record.update(end_time=float("inf")), "end_time inf is not a number of seconds"),
        (
            lambda record: record.update(end_time=10**400),
            r"utterance '.*': end_time 10{39}\.\.\. is not a number of sec",
        ),
        (lambda record: record.update(start_time=2.0, end_time=1.0), "end 1 s is not behind start 2 s"),
        (lambda record: record.update(wav="downloads/none.wav"), "'downloads/none.wav': no such file; --root DIR"),
    ],
)
def test_faults_of_a_line(raw, parse, change, told):
    for number in (2, 3, 4):
        shutil.rmtree(raw / f"fold_{number}")
    rewrite(fold(raw), change)
    with pytest.raises(MMFairseqError, match=rf"toy_train_fold_1.jsonl:1: .*{told}"):
        parse("emobox", raw)


def test_a_line_that_is_no_json_twice_or_in_two_versions(raw, parse):
    lines = fold(raw).read_text().splitlines()
    fold(raw).write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(MMFairseqError, match=rf"jsonl:{len(lines) + 1}: utterance .*: stands already in line 2"):
        parse("emobox", raw)
    fold(raw).write_text("\n".join([lines[0], "{", *lines[1:]]))
    with pytest.raises(MMFairseqError, match=r"toy_train_fold_1.jsonl:2: not a JSON object"):
        parse("emobox", raw)
    fold(raw).write_text("\n".join(lines))
    rewrite(fold(raw, "train", 2), lambda record: record.update(emo="sad" if record["emo"] != "sad" else "ang"))
    with pytest.raises(MMFairseqError, match=r"fold_2.jsonl:1: .*differs from .*fold_1.jsonl:\d+, the same key"):
        parse("emobox", raw)
    fold(raw).write_text("\n")
    with pytest.raises(MMFairseqError, match=r"toy_train_fold_1.jsonl: holds no utterances"):
        parse("emobox", raw)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400, "9" * 5000])
def test_numbers_that_no_float_holds(raw, parse, number):
    first, *others = fold(raw).read_text().splitlines()
    fold(raw).write_text("\n".join([f'{first[:-1]}, "end_time": {number}}}', *others]))
    with pytest.raises(MMFairseqError, match=r"toy_train_fold_1.jsonl:1: (.*: end_time|not a JSON object)"):
        parse("emobox", raw)


def test_brackets_nested_too_deep(raw, parse):
    fold(raw).write_text(f"{fold(raw).read_text()}{'[' * 200_000}\n")
    lines = len(fold(raw).read_text().splitlines())
    with pytest.raises(MMFairseqError, match=rf"toy_train_fold_1.jsonl:{lines}: not a JSON object"):
        parse("emobox", raw)
    (raw / "label_map.json").write_text('{"neu":' * 200_000)
    with pytest.raises(MMFairseqError, match=r"label_map.json: not JSON"):
        parse("emobox", raw)


@pytest.mark.parametrize("split", ["train", "valid"])
def test_an_utterance_in_two_lists_of_a_fold(raw, parse, split):
    tested = fold(raw, "test", 2).read_text().splitlines()
    before = fold(raw, split, 2).read_text().splitlines() if split == "train" else []
    fold(raw, split, 2).write_text("\n".join([*before, tested[3]]))
    key, places = (
        json.loads(tested[3])["key"],
        [rf"toy_{split}_fold_2.jsonl:{len(before) + 1}", "toy_test_fold_2.jsonl:4"],
    )
    with pytest.raises(MMFairseqError, match=rf"utterance '{key}': stands in .* too, another list of fold 2") as told:
        parse("emobox", raw)
    assert all(place in str(told.value) for place in places)
    assert "take the line out of one of them, or give --accept-leaks" in str(told.value)
    label = json.loads(tested[3])["emo"]
    (raw / "label_map.json").write_text(json.dumps({**toy.LABELS, label: ""}))
    assert key not in {row.id for row in parse("emobox", raw).manifest.utterances}  # left out, so of no harm


def test_an_utterance_in_two_lists_is_accepted_as_a_leak(raw, tmp_path, capsys):
    tested = fold(raw, "test", 2).read_text()
    fold(raw, "train", 2).write_text(fold(raw, "train", 2).read_text() + tested.split("\n")[3])
    key, out = json.loads(tested.split("\n")[3])["key"], tmp_path / "out"
    assert main(["prepare", "emobox", str(raw), str(out), "--accept-leaks"]) == 0
    shown = capsys.readouterr().out
    assert f"1 further rows are of utterances in two lists of a fold: test/{key}" in shown
    assert "accepted leak: protocol 'emobox', fold '2': 1 of the 10 utterances of test are in " in shown
    ids = {split: (out / "splits/emobox/2" / split).read_text().split() for split in ("train", "valid", "test")}
    assert f"test/{key}" in ids["test"]
    assert key in ids["train"] + ids["valid"]
    assert (
        key in (out / "splits/emobox/1/train").read_text().split() + (out / "splits/emobox/1/valid").read_text().split()
    )
    rows = {row.id: row for row in Manifest.read(out / "manifest.tsv").utterances}
    assert len(rows) == COUNT + 1
    assert replace(rows[f"test/{key}"], id=key) == rows[key]


def test_all_recordings_are_missing(raw, parse):
    shutil.rmtree(raw.parent.parent / "downloads")
    with pytest.raises(MMFairseqError, match=r"no recording is there: .*jsonl:1: .*no such file \(and 39 more\)"):
        parse("emobox", raw, "--accept-missing")


def test_recordings_that_hold_nothing(raw, parse):
    first, second, *_ = sorted((raw.parent.parent / "downloads").rglob("*.wav"))
    first.write_bytes(b"")
    second.unlink()
    with pytest.raises(MMFairseqError, match=r"0 bytes in it: copy or fetch it again; .*: no such file; --root DIR"):
        parse("emobox", raw)
    prepared = parse("emobox", raw, "--accept-missing")
    assert prepared.excluded == {"no recording": 2}
    assert len(prepared.manifest) == COUNT - 2
    kept = {row.id for row in prepared.manifest.utterances}
    assert all(set(ids) <= kept for splits in prepared.protocols["emobox"].values() for ids in splits.values())


def test_folders_that_are_none(tmp_path, raw, parse):
    with pytest.raises(MMFairseqError, match="nowhere: no such folder; RAW must be"):
        parse("emobox", tmp_path / "nowhere")
    with pytest.raises(MMFairseqError, match="no fold_1/"):
        parse("emobox", raw.parent.parent / "downloads")
    fold(raw, "test", 2).rename(raw / "fold_2/odd.jsonl")
    with pytest.raises(MMFairseqError, match=r"odd.jsonl: expected a name as fold_2/CORPUS_train_fold_2.jsonl"):
        parse("emobox", raw)
    (raw / "fold_2/odd.jsonl").unlink()
    with pytest.raises(MMFairseqError, match=r"fold_2: no test list"):
        parse("emobox", raw)
    (raw / "label_map.json").write_text("[1]")
    fold(raw, "train", 2).unlink()
    with pytest.raises(MMFairseqError, match=r"label_map.json: expected an object of label and class"):
        parse("emobox", raw)

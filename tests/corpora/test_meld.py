"""The parser on a toy MELD whose clips are a few frames, and on the tables of the release."""

import re
import shutil

import numpy as np
import pytest

from mm_fairseq.corpora import base, meld, writing
from mm_fairseq.corpora.account import account as count
from mm_fairseq.corpora.account import attribute_names
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import CONTEXT, Manifest
from mm_fairseq.targets import read_targets
from mm_fairseq.toy import meld as toy
from mm_fairseq.toy.clips import write_clip

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 82026\n"
COUNT = toy.MINIMUM


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A toy corpus, its clips short and grey."""
    with pytest.MonkeyPatch.context() as patch:
        few = [np.full((32, 32, 3), 90, np.uint8)] * 3
        patch.setattr(toy.acted, "perform", lambda *_: (np.zeros(1600, np.int16), few))
        toy.write(out := tmp_path_factory.mktemp("toy") / "MELD.Raw", COUNT, seed=2)
    return out


@pytest.fixture
def raw(written, tmp_path):
    shutil.copytree(written, tmp_path / "MELD.Raw")
    return tmp_path / "MELD.Raw"


def rows(prepared):
    return {row.id: row for row in prepared.manifest.utterances}


def change(file, old, new, count=1):
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new, count))


def test_rows_of_the_toy_corpus(raw, parse):
    prepared = parse("meld", raw)
    found = rows(prepared)
    assert len(found) == COUNT
    row = found["dev_dia0_utt0"]
    assert (row.split, row.dialogue, row.turn, row.session) == ("valid", "dev_dia0", "0", "season1_episode1")
    assert row.audio == row.video == "dev_splits_complete/dia0_utt0.mp4#t=0"
    assert row.speaker in toy.SPEAKERS
    assert 60 < row.start < row.end < 62
    assert found["train_dia0_utt0"].audio == "train/train_splits/dia0_utt0.mp4#t=0"
    assert [target.classes for target in prepared.targets] == [meld.EMOTIONS, meld.SENTIMENTS]
    assert {row.labels["emotion"] for row in found.values()} == set(meld.EMOTIONS)
    splits = prepared.protocols["official"]["1"]
    assert {split: len(ids) for split, ids in splits.items()} == {"train": 24, "valid": 12, "test": 12}
    assert all(name.startswith(meld.NAMES[split]) for split, ids in splits.items() for name in ids)
    assert prepared.details["clips_in_no_row_test"] == 1
    assert prepared.known_bad == {}


def test_apostrophes_are_mended_and_nothing_else(raw, parse, tmp_path):
    texts = [row.text for row in rows(parse("meld", raw)).values()]
    assert sum("Ann’s right" in text for text in texts) == sum("Ann" in text for text in texts) > 3
    assert not any(re.search("[\x80-\x9f�]", text) for text in texts)
    table = tmp_path / "table.csv"
    table.write_bytes("né – “a”".encode() + "x’…é".encode("cp1252") + "\x92\x81".encode())
    assert meld.decoded(table) == ("né – “a”x’…é’\x81", 5)
    table.write_bytes("﻿plain".encode())
    assert meld.decoded(table) == ("plain", 0)


@pytest.mark.parametrize("layout", ["nested", "flat", "inside"])
def test_layouts(raw, parse, layout):
    if layout == "flat":
        (raw / "train/train_splits").rename(raw / "train_splits")
    if layout == "inside":
        (raw / "train_sent_emo.csv").rename(raw / "train/train_sent_emo.csv")
        (raw / "dev").mkdir()
        (raw / "dev_splits_complete").rename(raw / "dev/dev_splits_complete")
    prepared = parse("meld", raw.parent if layout == "nested" else raw)
    assert all(row.video and (raw / row.medium("video").path).is_file() for row in rows(prepared).values())


def test_context(raw, parse):
    plain = parse("meld", raw)
    assert CONTEXT not in plain.manifest.extra
    prepared = parse("meld", raw, "--context", "2")
    assert prepared.manifest.extra[-1] == CONTEXT
    assert CONTEXT not in attribute_names(prepared.manifest, prepared.targets)
    before: dict[str, list] = {}
    for row in prepared.manifest.utterances:
        said = before.setdefault(row.dialogue, [])
        assert row.labels[CONTEXT] == " | ".join(said[-2:])
        said.append(f"{row.speaker}: {row.text}")
    joined = rows(parse("meld", raw, "--context", "2", "--context-in-text"))
    for name, row in rows(prepared).items():
        whole = (
            f"{row.labels[CONTEXT]} | {row.speaker}: {row.text}"
            if row.labels[CONTEXT]
            else f"{row.speaker}: {row.text}"
        )
        assert joined[name].text == whole
    for options in (["--context", "-1"], ["--context-in-text"]):
        with pytest.raises(MMFairseqError, match=r"--context -?\d: 1 or more utterances"):
            parse("meld", raw, *options)


def test_texts_alone(raw, parse):
    for folder in toy.FOLDERS.values():
        shutil.rmtree(raw / folder)
    prepared = parse("meld", raw)
    assert len(prepared.manifest) == COUNT
    assert {(row.audio, row.video) for row in prepared.manifest.utterances} == {("", "")}
    assert "the texts alone" in prepared.notes[-1]
    (raw / "test.tar.gz").write_bytes(b"")
    with pytest.raises(
        MMFairseqError, match=r"test.tar.gz: not unpacked, there is no folder output_repeated_splits_test"
    ):
        parse("meld", raw)


def test_one_split_without_its_clips(raw, parse):
    shutil.rmtree(raw / "dev_splits_complete")
    with pytest.raises(MMFairseqError, match=r"dev_splits_complete: no such folder, but other splits have theirs"):
        parse("meld", raw)
    prepared = parse("meld", raw, "--accept-missing")
    assert len(prepared.manifest) == COUNT
    assert sum(bool(row.video) for row in prepared.manifest.utterances) == COUNT - 12


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such clip"),
        (b"", "0 bytes in it: copy or fetch it again"),
        (POINTER, "a git-lfs pointer, a text in place of the recording: `git lfs pull` fetches it"),
        ("half", "no index of sound and picture in it, as in a file that was cut off: unpack or fetch it again"),
    ],
)
def test_clips_that_are_not_there(raw, parse, content, reason):
    for turn in (0, 1):
        file = raw / f"train/train_splits/dia1_utt{turn}.mp4"
        data = file.read_bytes()
        file.unlink()
        if content is not None:
            file.write_bytes(data[: len(data) // 2] if content == "half" else content)
    clip = raw / "train/train_splits/dia1_utt0.mp4"
    with pytest.raises(MMFairseqError) as error:
        parse("meld", raw)
    assert f"{reason}: {clip} (train_sent_emo.csv:" in str(error.value)
    assert "dia1_utt1.mp4" in str(error.value)
    assert str(error.value).endswith("--accept-missing keeps these utterances without their clips")
    prepared = parse("meld", raw, "--accept-missing")
    row = rows(prepared)["train_dia1_utt0"]
    assert (row.audio, row.video) == ("", "")
    assert row.text
    assert row.labels["emotion"]
    assert prepared.details["without_clip_train"] == 2
    assert any(note.startswith(f"accepted: {reason}") for note in prepared.notes)


def test_clips_known_to_be_bad_keep_their_words(raw, parse):
    for table, last in (("train", "125,3"), ("dev", "110,7")):
        with open(raw / f"{table}_sent_emo.csv", "ab") as file:
            file.write(f'999,Well?,Ann,neutral,neutral,{last},1,1,"00:01:00,000","00:01:01,000"\r\n'.encode())
    (raw / "train/train_splits/dia125_utt3.mp4").write_bytes(b"\0" * 99)
    prepared = parse("meld", raw)
    assert prepared.known_bad == {f"{name}.mp4": reason for name, reason in meld.KNOWN_BAD.items()}
    for name in meld.KNOWN_BAD:
        row = rows(prepared)[name]
        assert (row.text, row.audio, row.video) == ("Well?", "", "")
    assert count("meld", prepared)["utterances"] == COUNT + 2
    shutil.copyfile(raw / "dev_splits_complete/dia0_utt0.mp4", raw / "dev_splits_complete/dia110_utt7.mp4")
    assert rows(parse("meld", raw))["dev_dia110_utt7"].video  # somebody cut it anew


def test_a_clip_without_sound_keeps_its_picture(raw, parse):
    write_clip(raw / "train/train_splits/dia0_utt0.mp4", [np.zeros((32, 32, 3), np.uint8)], None, 20, 16_000)
    row = rows(parse("meld", raw))["train_dia0_utt0"]
    assert (row.audio, bool(row.video)) == ("", True)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (b",neutral,neutral,0,", b",bored,neutral,0,", r"column 'Emotion': 'bored' is none of neutral, surprise, "),
        (b",neutral,neutral,0,", b",neutral,mixed,0,", r"column 'Sentiment': 'mixed' is none of neutral, positive"),
        (b",neutral,neutral,0,", b",neutral,neutral,x,", r"column 'Dialogue_ID': 'x' is not a number"),
        (b'"00:01:0', b'"01:0', r"column 'StartTime': '01:0.*' is not a time as 00:16:21,940"),
        (b"Dialogue_ID", b"Dialogue", r"csv:1: no column 'Dialogue_ID'; columns: 'Sr No.', 'Utterance'"),
        (b",1,1,", b",1,1,1,", r"csv:\d+: 12 fields, the header has 11"),
        (b"Sr No.", b"\xff\xfeS\x00r\x00", r"csv:1: a NUL byte: the table is UTF-16"),
    ],
)
def test_faults_of_a_table(raw, parse, old, new, told):
    table = raw / "train_sent_emo.csv"
    change(table, old, new)
    with pytest.raises(MMFairseqError, match=rf"train_sent_emo.csv:\d+: .*{told}|{told}"):
        parse("meld", raw)


def test_an_utterance_twice_or_without_words(raw, parse):
    table = raw / "test_sent_emo.csv"
    data = table.read_bytes()
    second = data.split(b"\r\n")[1]
    table.write_bytes(data + second + b"\r\n")
    line = data.count(b"\r\n") + 1
    with pytest.raises(MMFairseqError, match=rf"csv:{line}: utterance 'test_dia0_utt0': stands already in line 2"):
        parse("meld", raw)
    table.write_bytes(data + b"9,,Ann,joy,positive,77,0,1,1,,\r\n")
    with pytest.raises(MMFairseqError, match=rf"csv:{line}: utterance 'test_dia77_utt0': column 'Utterance' is empty"):
        parse("meld", raw)


def test_times_that_cannot_be(raw, parse):
    table = raw / "test_sent_emo.csv"
    with open(table, "ab") as file:
        file.write(b'9,Oh.,Ann,joy,positive,77,0,1,1,"0:00:01,000","0:00:01,000"\r\n')
        file.write(b'10,Ah.,Ann,joy,positive,77,1,1,1,"0:00:01,5","0:05:01,000"\r\n')
    prepared = parse("meld", raw, "--accept-missing")
    assert rows(prepared)["test_dia77_utt0"].start is None
    assert rows(prepared)["test_dia77_utt1"].start == 1.5
    assert any("1 utterances have no usable times: test_dia77_utt0" in note for note in prepared.notes)
    assert any("over 60 s long by their times" in note for note in prepared.notes)


def test_folders_that_are_no_release(tmp_path, raw, parse):
    with pytest.raises(MMFairseqError, match=r"nowhere: no such folder; RAW must be MELD.Raw"):
        parse("meld", tmp_path / "nowhere")
    (raw / "dev_sent_emo.csv").unlink()
    with pytest.raises(MMFairseqError, match=r"dev_sent_emo.csv: no such file; RAW must be MELD.Raw"):
        parse("meld", raw)


def test_counts_are_compared(raw, parse):
    with pytest.raises(MMFairseqError, match=r"train 24 instead of 9989; .*test sentiment negative \d+ instead of 833"):
        base.check_counts(parse("meld", raw))


def test_the_prepared_folder(raw, parse, tmp_path):
    prepared = parse("meld", raw, "--context", "3")
    account = writing.write("meld", prepared, tmp_path / "out")
    assert account["modalities"] == {"audio": COUNT, "text": COUNT, "video": COUNT}
    assert list(account["attributes"]) == ["season"]
    assert Manifest.read(tmp_path / "out/manifest.tsv").utterances == prepared.manifest.utterances
    assert read_targets(tmp_path / "out/targets.json") == prepared.targets


@pytest.mark.real
def test_the_tables_of_the_release(real_data, parse):
    prepared = parse("meld", real_data / "meld")
    base.check_counts(prepared)
    found = rows(prepared)
    assert len(found) == len(prepared.manifest) == 9989 + 1109 + 2610
    assert [len(ids) for ids in prepared.protocols["official"]["1"].values()] == [9989, 1109, 2610]
    assert prepared.details == {"dialogues_train": 1038, "dialogues_valid": 114, "dialogues_test": 280}
    assert found["test_dia155_utt3"].end is None
    assert "’" in found["train_dia0_utt0"].text
    assert all(row.text and row.speaker for row in found.values())

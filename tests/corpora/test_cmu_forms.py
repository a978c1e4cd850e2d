"""The form of MMSA and the feature files, which CMU-MOSI and CMU-MOSEI share."""

import numpy as np
import pandas
import pytest
from cmu_files import MMSA_HEADER, MMSA_ROWS, POINTER, mmsa, mosi, text, write_media

from mm_fairseq.corpora import base, writing
from mm_fairseq.errors import MMFairseqError

CORPORA = ("cmu_mosi", "cmu_mosei")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def raw(tmp_path, media):
    return mmsa(tmp_path / "MOSI", media)


def rows(prepared):
    return {row.id: row for row in prepared.manifest.utterances}


@pytest.mark.parametrize("corpus", CORPORA)
def test_rows(raw, parse, corpus, tmp_path):
    prepared = parse(corpus, raw)
    found = rows(prepared)
    assert list(found) == ["03bSnISJMiM_1", "03bSnISJMiM_11", "-3g5yACwYnA_0001", "007_00"]
    assert [row.dialogue for row in found.values()] == ["03bSnISJMiM", "03bSnISJMiM", "-3g5yACwYnA", "007"]
    assert [row.turn for row in found.values()] == ["1", "11", "0001", "00"]
    assert [row.split for row in found.values()] == ["train", "train", "valid", "test"]
    assert [row.labels["sentiment"] for row in found.values()] == ["2.4", "-0.8", "0", "-3"]
    assert found["-3g5yACwYnA_0001"].video == "Raw/-3g5yACwYnA/0001.mp4"
    assert found["03bSnISJMiM_1"].text == "ANYHOW, IT WAS GOOD"
    assert (found["007_00"].start, found["007_00"].audio) == (None, "Raw/007/00.mp4")
    assert [target.name for target in prepared.targets] == ["sentiment"]
    assert prepared.details == {"videos": 3}
    writing.write(corpus, prepared, tmp_path / "out")


def test_single_labels(tmp_path, parse, media):
    annotated = (
        "a,1,x,0.4,-0.2,0,1.0,Positive,train",
        "b,1,y,-1,0.2,0,-1,Negative,valid",
        "c,1,z,0,0,0,0,Neutral,test",
    )
    raw = mmsa(tmp_path / "SIMS", media, annotated)
    prepared = parse("cmu_mosi", raw, "--single-labels")
    names = [target.name for target in prepared.targets]
    assert names == ["sentiment", "sentiment_text", "sentiment_audio", "sentiment_video"]
    assert [rows(prepared)["a_1"].labels[name] for name in names] == ["0.4", "-0.2", "0", "1"]
    assert list(rows(parse("cmu_mosi", raw))["a_1"].labels) == ["sentiment"]
    empty = mmsa(tmp_path / "MOSI", media)
    with pytest.raises(MMFairseqError, match=r"label.csv:2: column 'label_T': '' is no number"):
        parse("cmu_mosi", empty, "--single-labels")
    text(empty / "label.csv", "video_id,clip_id,text,label,mode\na,1,x,0,train\n")
    with pytest.raises(MMFairseqError, match=r"--single-labels: .*label.csv:1: no column 'label_T'"):
        parse("cmu_mosi", empty, "--single-labels")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("v,1,x,3.01,,,,Positive,train", "column 'label': 3.01 is not a number from -3 to 3"),
        ("v,1,x,nan,,,,Positive,train", "column 'label': nan is not a number from -3 to 3"),
        ("v,1,x,good,,,,Positive,train", "column 'label': 'good' is no number"),
        ("v,1,x,,,,,Positive,train", "column 'label': '' is no number"),
        ("v,1,x,1,,,,Positive,dev2", "column 'mode': 'dev2' is none of train, training, valid, val, dev"),
        ("../v,1,x,1,,,,Positive,train", r"column 'video_id': '../v' is not the name of a folder or file"),
        ("v,,x,1,,,,Positive,train", "column 'clip_id': '' is not the name of a folder or file"),
        ("v,w$_$1,x,1,,,,Positive,train", "column 'clip_id' is of video 'w', column 'video_id' of 'v'"),
        ("03bSnISJMiM,1,x,1,,,,Positive,test", r"clip '03bSnISJMiM_1' stands already in .*label.csv:2"),
        ("v,1,x", "3 fields, the header has 9"),
    ],
)
def test_lines_that_are_wrong(tmp_path, media, parse, row, reason):
    raw = mmsa(tmp_path / "MOSI", media)
    text(raw / "label.csv", "\n".join([MMSA_HEADER, *MMSA_ROWS, row]) + "\n")
    with pytest.raises(MMFairseqError, match=rf"label.csv:6: {reason}"):
        parse("cmu_mosi", raw, "--modalities", "text")


def test_one_name_for_two_clips(tmp_path, media, parse):
    raw = mmsa(tmp_path / "MOSI", media, ("a,1_1,x,0,,,,Neutral,train", "a_1,1,x,0,,,,Neutral,test"))
    with pytest.raises(MMFairseqError, match=r"label.csv:3: clip 'a_1_1' stands already in .*label.csv:2"):
        parse("cmu_mosi", raw)


def test_recordings_that_can_not_be_used(raw, parse):
    (raw / "Raw/007/00.mp4").unlink()
    (raw / "Raw/-3g5yACwYnA/0001.mp4").write_text(POINTER)
    with pytest.raises(MMFairseqError) as error:
        parse("cmu_mosi", raw)
    assert f"{raw}/Raw/007/00.mp4: no such file" in str(error.value)
    assert f"{raw}/Raw/-3g5yACwYnA/0001.mp4: a git-lfs pointer" in str(error.value)
    found = rows(parse("cmu_mosi", raw, "--accept-missing"))
    assert [bool(row.video) for row in found.values()] == [True, True, False, False]


def test_tables_of_other_encodings_and_columns(raw, parse):
    data = (raw / "label.csv").read_bytes()
    (raw / "label.csv").write_bytes(data.replace(b"THEY SAID", "THEY SAID \u2019".encode("cp1252")))
    with pytest.raises(MMFairseqError, match=r"label.csv:3: byte 0x92 is not UTF-8"):
        parse("cmu_mosi", raw)
    text(raw / "label.csv", "video,clip_id,text,label,mode\na,1,x,0,train\n")
    with pytest.raises(MMFairseqError, match=r"label.csv:1: no column 'video_id'"):
        parse("cmu_mosi", raw)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("mmsa", ["--labels", "a.csd"]),
        ("mmsa", ["--folds", "a.py"]),
        ("mmsa", ["--intensities"]),
        ("mmsa", ["--emotion-threshold", "1"]),
        ("mmsa", ["--number-ids"]),
    ],
)
def test_options_of_another_form(raw, parse, form, words):
    with pytest.raises(MMFairseqError, match=rf"{words[0]}: is for \w+; .* has the form {form}"):
        parse("cmu_mosei", raw, *words)


def test_an_option_of_mmsa_for_the_raw_release(tmp_path, media, parse):
    with pytest.raises(MMFairseqError, match=r"--single-labels: is for mmsa and features; .* has the form raw"):
        parse("cmu_mosi", mosi(tmp_path, media), "--single-labels")


# Feature files


def content(values, words=("03bSnISJMiM$_$1", "-3g5yACwYnA$_$0001")):
    rng = np.random.default_rng(0)
    frames = {"text": 4, "audio": 6, "vision": 5}
    part = {name: rng.normal(size=(len(values), size, 3)).astype(np.float32) for name, size in frames.items()}
    part |= {"raw_text": ["so", "what"], "regression_labels": np.array(values), "annotations": ["Neutral"] * 2}
    return part | {"id": list(words), "audio_lengths": [6, 2], "vision_lengths": [5, 4]}


def write_pickle(path, values, **others):
    parts = {"train": content(values), "valid": content([0, 0], ("v$_$1", "v$_$2")), "test": content([0, 0], "xy")}
    pandas.to_pickle(parts | others, path, protocol=4)
    return path


@pytest.mark.parametrize("corpus", CORPORA)
def test_feature_files(tmp_path, parse, corpus):
    prepared = parse(corpus, write_pickle(tmp_path / "unaligned_50.pkl", [2.4, -3]))
    first, second, *_ = prepared.manifest.utterances
    assert (first.id, first.dialogue, first.turn) == ("03bSnISJMiM_1", "03bSnISJMiM", "1")
    assert (second.id, second.dialogue, second.turn) == ("-3g5yACwYnA_0001", "-3g5yACwYnA", "0001")
    assert [row.labels["sentiment"] for row in (first, second)] == ["2.4", "-3"]
    assert prepared.seen == {"train": 2, "valid": 2, "test": 2}
    with pytest.raises(MMFairseqError, match="counts differ from the published ones: train 2 instead of"):
        base.check_counts(prepared)
    writing.write(corpus, prepared, tmp_path / "out")
    stored = np.load(tmp_path / "out/files" / second.features)
    assert {name: stored[name].shape for name in stored} == {"audio": (2, 3), "text": (4, 3), "video": (4, 3)}


@pytest.mark.parametrize(
    ("option", "forms"),
    [("--accept-missing", "raw and mmsa"), ("--labels=x.csd", "raw"), ("--emotion-threshold=1", "raw")],
)
def test_options_that_feature_files_do_not_know(tmp_path, parse, option, forms):
    with pytest.raises(MMFairseqError, match=rf"{option.partition('=')[0]}: is for {forms}; .* has the form features"):
        parse("cmu_mosei", write_pickle(tmp_path / "a.pkl", [0, 1]), option)


def test_features_out_of_range_or_of_another_corpus(tmp_path, parse):
    with pytest.raises(
        MMFairseqError, match=r"a.pkl: split 'train': row 1: sentiment 3.2 is not a number from -3 to 3"
    ):
        parse("cmu_mosi", write_pickle(tmp_path / "a.pkl", [1, 3.2]))
    emotions = write_pickle(tmp_path / "b.pkl", [[1, 0, 0, 1]] * 2)
    parts = pandas.read_pickle(emotions)
    parts = {split: part | {"regression_labels": np.ones((2, 4))} for split, part in parts.items()}
    pandas.to_pickle(parts, emotions)
    with pytest.raises(MMFairseqError, match=r"b\.pkl: its labels are emotion; expected a sentiment"):
        parse("cmu_mosi", emotions)


class Hostile:
    """What a pickle can do to whoever loads it."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_a_hostile_pickle_is_not_run(tmp_path, parse):
    mark = tmp_path / "mark"
    file = write_pickle(tmp_path / "a.pkl", [0, 0], extra=Hostile(mark))
    mark.unlink(missing_ok=True)
    with pytest.raises(MMFairseqError, match=r"a.pkl"):
        parse("cmu_mosi", file)
    assert not mark.exists()
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(MMFairseqError, match=r"a.pkl"):
        parse("cmu_mosei", file)
    assert not mark.exists()

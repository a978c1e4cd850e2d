"""wav2vec's lists: the toy in their form, and what may be wrong with them."""

import re
import shutil

import pytest
import soundfile

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import wav2vec_tsv as toy

COUNT = 40


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    toy.write(out := tmp_path_factory.mktemp("toy") / "lists", COUNT, seed=2)
    return out


@pytest.fixture
def raw(written, tmp_path):
    shutil.copytree(written, tmp_path / "lists")
    return tmp_path / "lists"


def change(file, number, line):
    """Replace one line, counted from 1; None takes it out."""
    lines = file.read_text().splitlines()
    lines[number - 1 : number] = [] if line is None else [line]
    file.write_text("\n".join(lines) + "\n")


def test_rows(raw, parse):
    prepared = parse("wav2vec_tsv", raw)
    rows = prepared.manifest.utterances
    assert [row.split for row in rows] == ["train"] * 20 + ["valid"] * 10 + ["test"] * 10
    listed = (raw / "train.tsv").read_text().splitlines()[1:]
    assert [row.audio for row in rows[:20]] == [line.split("\t")[0] for line in listed]
    assert prepared.manifest.root == raw / "wavs"
    emo = dict(line.split("\t") for line in (raw / "test.emo").read_text().splitlines())
    assert {row.id: row.labels["emotion"] for row in rows if row.split == "test"} == emo
    assert [row.text for row in rows if row.split == "test"] == (raw / "test.wrd").read_text().splitlines()
    splits = prepared.protocols["official"]["1"]
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [20, 10, 10]


def test_letters_where_there_are_no_words(raw, parse):
    words = [row.text for row in parse("wav2vec_tsv", raw).manifest.utterances]
    for file in raw.glob("*.wrd"):
        file.unlink()
    assert [row.text for row in parse("wav2vec_tsv", raw).manifest.utterances] == words
    for file in raw.glob("*.ltr"):
        file.unlink()
    assert {row.text for row in parse("wav2vec_tsv", raw).manifest.utterances} == {""}


def test_train_alone_is_drawn(raw, parse):
    for name in ("valid", "test"):
        (raw / f"{name}.tsv").unlink()
    prepared = parse("wav2vec_tsv", raw)
    assert list(prepared.protocols) == ["random"]
    assert sorted(map(len, prepared.protocols["random"]["1"].values())) == [3, 3, 14]
    assert {row.split for row in prepared.manifest.utterances} == {""}


def test_dev_for_valid_plain_labels_and_another_ending(raw, parse):
    for file in raw.glob("valid.*"):
        file.rename(raw / f"dev{file.suffix}")
    for file in raw.glob("*.emo"):
        labels = [line.split("\t")[1] for line in file.read_text().splitlines()]
        file.with_suffix(".lbl").write_text("".join(f"{label}\r\n" for label in labels))
    prepared, other = parse("wav2vec_tsv", raw), parse("wav2vec_tsv", raw, "--labels", "lbl")
    assert other.manifest.utterances == prepared.manifest.utterances
    assert len(prepared.protocols["official"]["1"]["valid"]) == 10


def test_the_same_name_in_two_folders(raw, parse):
    listed = (raw / "train.tsv").read_text().splitlines()[1].split("\t")[0]
    copied = raw / "wavs/other" / listed.split("/")[-1]
    copied.parent.mkdir()
    shutil.copyfile(raw / "wavs" / listed, copied)
    for name, line in (
        ("test.tsv", f"{copied.relative_to(raw / 'wavs')}\t{soundfile.info(copied).frames}"),
        ("test.emo", "sad"),
        ("test.wrd", "A"),
    ):
        with open(raw / name, "a") as file:
            file.write(f"{line}\n")
    ids = [row.id for row in parse("wav2vec_tsv", raw).manifest.utterances]
    assert len(set(ids)) == COUNT + 1
    assert ids[0] == listed.removesuffix(".wav")
    assert ids[-1] == f"other/{copied.stem}"


@pytest.mark.parametrize(
    ("file", "number", "line", "told"),
    [
        ("train.tsv", 1, "nowhere", r"train.tsv:1: 'nowhere' is no folder here; correct the line, or give --root DIR"),
        ("train.tsv", 1, None, r"train.tsv:1: .* is no folder here"),
        (
            "train.tsv",
            3,
            "00/x.wav",
            r"train.tsv:3: expected 'PATH<tab>SAMPLES' with a number above 0, found '00/x.wav'",
        ),
        ("train.tsv", 3, "00/x.wav\t1\u00b2", r"train.tsv:3: expected 'PATH<tab>SAMPLES'"),
        ("train.tsv", 3, f"00/x.wav\t{'9' * 5000}", r"train.tsv:3: expected 'PATH<tab>SAMPLES'"),
        ("train.tsv", 3, "00/x.wav\t0", r"train.tsv:3: expected 'PATH<tab>SAMPLES'"),
        ("train.tsv", 3, "00/x.wav\t9", r"train.emo:2: '00-0001' is another utterance than '00/x.wav' of the list"),
        ("train.tsv", 3, "a.zip:3:40\t9", r"train.tsv:3: 'a.zip:3:40': places inside archives"),
        ("train.tsv", 4, None, r"train.emo: 20 lines, but train.tsv names 19 recordings"),
        ("train.wrd", 4, None, r"train.wrd: 19 lines, but train.tsv names 20 recordings"),
        ("train.emo", 1, "00-0000\t", r"train.tsv:.*|no label"),
        ("valid.emo", 3, "odd", r"valid.tsv:4: utterance '04-\d+': .*'odd'"),
        ("test.emo", 1, "sad|ang", r"test.tsv:2: utterance '06-\d+': .*'sad\|ang'"),
    ],
)
def test_faults_of_a_line(raw, parse, file, number, line, told):
    change(raw / file, number, line)
    options = ["--classes", "ang,hap,neu,sad"]
    if file == "train.emo":
        assert any(
            "1 of 40 utterances have no label: 00-0000" in note for note in parse("wav2vec_tsv", raw, *options).notes
        )
        return
    with pytest.raises(MMFairseqError, match=told):
        parse("wav2vec_tsv", raw, *options)


def test_samples_that_the_recordings_do_not_have(raw, parse):
    lines = (raw / "train.tsv").read_text().splitlines()
    path, count = lines[2].split("\t")
    change(raw / "train.tsv", 3, f"{path}\t{int(count) + 1}")
    change(raw / "test.tsv", 2, (raw / "test.tsv").read_text().splitlines()[1].split("\t")[0] + "\t7")
    told = (
        rf"train.tsv:3: utterance '00-0001': {int(count) + 1} samples in the list, {count} in the recording, .*"
        r"test.tsv:2: utterance '06-\d+': 7 samples in the list, \d+ in the recording"
    )
    with pytest.raises(MMFairseqError, match=f"{told}; the list was made of other files: make it anew, or go on by"):
        parse("wav2vec_tsv", raw)
    prepared = parse("wav2vec_tsv", raw, "--accept-counts")
    assert len(prepared.manifest) == COUNT
    [note] = [note for note in prepared.notes if note.startswith("accepted: recordings that differ")]
    assert re.search(told, note)


def test_what_soundfile_does_not_read_is_not_compared(raw, parse):
    path = (raw / "train.tsv").read_text().splitlines()[1].split("\t")[0]
    (raw / "wavs" / path).write_bytes(b"of another kind")
    assert len(parse("wav2vec_tsv", raw).manifest) == COUNT


def test_a_label_that_train_lacks(raw, parse):
    change(raw / "valid.emo", 3, "odd")
    with pytest.raises(
        MMFairseqError, match=r"valid.tsv:4: utterance '.*': label 'odd' stands in valid but nowhere in"
    ):
        parse("wav2vec_tsv", raw)
    assert parse("wav2vec_tsv", raw, "--classes", "ang,hap,neu,sad,odd").targets[0].classes[-1] == "odd"
    for name in ("valid", "test"):
        (raw / f"{name}.tsv").rename(raw / f"{name}.lst")
    parse("wav2vec_tsv", raw)  # no splits are given, so none lacks anything


def test_numbers_that_are_taken_for_classes_are_told(raw, parse):
    for file in raw.glob("*.emo"):
        lines = file.read_text().splitlines()
        file.write_text("".join(f"{number % 3}.5\n" for number in range(len(lines))))
    told = "all 3 labels are numbers: where they were measured and are no names, give --target emotion:regression"
    assert f"target 'emotion': {told}" in parse("wav2vec_tsv", raw).notes
    assert not any("are numbers" in note for note in parse("wav2vec_tsv", raw, "--target", "emotion:regression").notes)
    (raw / "test.emo").write_text("".join("9\n" for _ in (raw / "test.emo").read_text().splitlines()))
    with pytest.raises(MMFairseqError, match=r"label '9' stands in test but nowhere in train.*; all 4 labels are num"):
        parse("wav2vec_tsv", raw)


def test_labels_that_half_of_them_lack_are_named(raw, parse):
    lines = (raw / "train.emo").read_text().splitlines()
    (raw / "train.emo").write_text("".join(f"{line if n % 2 else ''}\n" for n, line in enumerate(lines)))
    [note] = [note for note in parse("wav2vec_tsv", raw).notes if "no label" in note]
    assert note == "target 'emotion': 10 of 40 utterances have no label: 00-0000, 00-0002, 00-0004 and 7 more"


def test_a_recording_twice(raw, parse):
    first = (raw / "train.tsv").read_text().splitlines()[1]
    label = (raw / "train.emo").read_text().splitlines()[0]
    for name, line in (("test.tsv", first), ("test.emo", label), ("test.wrd", "A")):
        with open(raw / name, "a") as file:
            file.write(f"{line}\n")
    with pytest.raises(MMFairseqError, match=r"test.tsv:12: '.*00-0000.wav' stands already in .*train.tsv:2"):
        parse("wav2vec_tsv", raw)


def test_missing_and_empty_files(raw, parse, tmp_path):
    next((raw / "wavs").rglob("*.wav")).unlink()
    with pytest.raises(MMFairseqError, match=r"\.tsv:\d+: utterance .*: no such file; --root DIR reads them elsewhere"):
        parse("wav2vec_tsv", raw)
    assert parse("wav2vec_tsv", raw, "--accept-missing").excluded == {"no recording": 1}
    (raw / "valid.tsv").write_text("wavs\n")
    with pytest.raises(MMFairseqError, match=r"valid.tsv: names no recordings"):
        parse("wav2vec_tsv", raw)
    (raw / "valid.tsv").write_text("")
    with pytest.raises(MMFairseqError, match=r"valid.tsv: is empty"):
        parse("wav2vec_tsv", raw)
    with pytest.raises(MMFairseqError, match=r"train.vad: no such file; --labels ENDING names another one"):
        parse("wav2vec_tsv", raw, "--labels", "vad")
    with pytest.raises(MMFairseqError, match=r"no train.tsv here"):
        parse("wav2vec_tsv", tmp_path)

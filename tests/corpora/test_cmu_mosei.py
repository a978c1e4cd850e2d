"""The raw release of CMU-MOSEI in miniature."""

import h5py
import pytest
from cmu_files import EMOTIONS, mosei, put, text, write_media

from mm_fairseq.corpora import base
from mm_fairseq.corpora.cmu_mosei import LABELS, SEQUENCE, Sentence, match, read_transcript
from mm_fairseq.corpora.csd import Segment
from mm_fairseq.errors import MMFairseqError

FOLDER = "Raw/Transcript/Segmented/Combined"


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def raw(tmp_path, media):
    return mosei(tmp_path / "MOSEI", media)


def rows(prepared):
    return {row.id: row for row in prepared.manifest.utterances}


def test_rows(raw, parse):
    prepared = parse("cmu_mosei", raw)
    found = rows(prepared)
    assert list(found) == ["-3g5yACwYn__0", "-3g5yACwYn__7", "81406_2", "_0efYOjQ____0"]
    row = found["-3g5yACwYn__7"]
    assert (row.split, row.dialogue, row.turn, row.start, row.end) == ("train", "-3g5yACwYn_", "7", 2.0, 4.5)
    assert row.audio == row.video == "Videos/Full/Combined/-3g5yACwYn_.mp4"
    assert prepared.manifest.root == raw / "Raw"
    assert {name: row.labels["emotions"] for name, row in found.items()} == {
        "-3g5yACwYn__0": "happy",
        "-3g5yACwYn__7": "sad|anger",
        "81406_2": "|",
        "_0efYOjQ____0": "happy|surprise",
    }
    assert [row.labels["sentiment"] for row in found.values()] == ["1", "-2.333333", "0", "3"]
    assert [row.text for row in found.values()] == ["I, ___um___ like it.", "No.", "\u201cFine\u201d", "Great"]
    assert [(target.name, target.kind) for target in prepared.targets] == [
        ("sentiment", "regression"),
        ("emotions", "multilabel"),
    ]
    assert prepared.targets[1].classes == EMOTIONS
    assert prepared.excluded == {"in no fold": 1, "no label": 1}
    assert prepared.notes == [
        "left out, 1 labelled segments of videos that are in no fold",
        "left out, 1 segments without a label: -3g5yACwYn__9",
        "1 videos of the folds have no labels: unheardofxx",
    ]


def test_published_sizes_are_compared(raw, parse):
    with pytest.raises(
        MMFairseqError, match="train 2 instead of 16326; valid 1 instead of 1871; test 1 instead of 4659"
    ):
        base.check_counts(parse("cmu_mosei", raw))


def test_thresholds_and_intensities(raw, parse):
    found = rows(parse("cmu_mosei", raw, "--emotion-threshold", "0.7"))
    assert [row.labels["emotions"] for row in found.values()] == ["|", "sad|anger", "|", "happy"]
    prepared = parse("cmu_mosei", raw, "--intensities")
    assert [target.name for target in prepared.targets] == ["sentiment", "emotions", *EMOTIONS]
    labels = rows(prepared)["_0efYOjQ____0"].labels
    assert (labels["happy"], labels["surprise"], labels["fear"]) == ("3", "0.333333", "0")
    with pytest.raises(MMFairseqError, match="--emotion-threshold 3: must be at least 0 and below 3"):
        parse("cmu_mosei", raw, "--emotion-threshold", "3")


def test_clips_that_are_cut_already_and_sound_of_its_own(raw, parse, media):
    (raw / "Raw/Videos/Full").rename(raw / "Raw/Videos/away")
    for name in rows(parse("cmu_mosei", raw, "--modalities", "text")):
        put(media / "both.mp4", raw / f"Raw/Videos/Segmented/Combined/{name}.mp4")
        put(media / "sound.wav", raw / f"Raw/Audio/Full/WAV_16000/{name.rpartition('_')[0]}.wav")
    row = rows(parse("cmu_mosei", raw))["_0efYOjQ____0"]
    assert row.video == "Videos/Segmented/Combined/_0efYOjQ____0.mp4#t=0"
    assert row.audio == "Audio/Full/WAV_16000/_0efYOjQ___.wav"


def test_a_missing_video_and_one_that_was_cut_off(raw, parse, media):
    folder = raw / "Raw/Videos/Full/Combined"
    (folder / "81406.mp4").unlink()
    (folder / "-3g5yACwYn_.mp4").write_bytes((media / "both.mp4").read_bytes()[:900])
    with pytest.raises(MMFairseqError) as error:
        parse("cmu_mosei", raw)
    assert f"{folder}/81406.mp4: no such file" in str(error.value)
    assert f"{folder}/-3g5yACwYn_.mp4: no index in it" in str(error.value)
    found = rows(parse("cmu_mosei", raw, "--accept-missing"))
    assert [bool(row.video) for row in found.values()] == [False, False, False, True]


@pytest.mark.parametrize(
    ("name", "column", "value", "reason"),
    [
        ("sentiment", 0, -3.5, "sentiment -3.5 is not a number from -3 to 3"),
        ("anger", 3, 3.2, "anger 3.2 is not a number from 0 to 3"),
        ("fear", 6, -0.1, "fear -0.1 is not a number from 0 to 3"),
    ],
)
def test_values_out_of_range(raw, parse, name, column, value, reason):
    with h5py.File(raw / LABELS, "a") as content:
        content[SEQUENCE]["data/-3g5yACwYn_/features"][1, column] = value
    with pytest.raises(MMFairseqError, match=rf"{LABELS}: '-3g5yACwYn_' row 1: {reason}"):
        parse("cmu_mosei", raw)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("other______2___1.5___3.25___x", "expected 81406___CLIP___START___END___SENTENCE with times"),
        ("x81406___2___1.5___3.25___x", "expected 81406___CLIP___START___END___SENTENCE with times"),
        ("81406___2___1.5___3.25", "expected 81406___CLIP___START___END___SENTENCE with times"),
        ("81406___2___soon___3.25___x", "expected 81406___CLIP___START___END___SENTENCE with times"),
        ("81406___2___nan___3.25___x", "expected 81406___CLIP___START___END___SENTENCE with times"),
    ],
)
def test_lines_that_are_none(raw, parse, line, reason):
    text(raw / FOLDER / "81406.txt", f"81406___0___0___1.5___Well\n{line}\n")
    with pytest.raises(MMFairseqError, match=rf"{FOLDER}/81406.txt:2: {reason}"):
        parse("cmu_mosei", raw)


def test_a_clip_twice_and_empty_lines(tmp_path):
    file = tmp_path / "v.txt"
    text(file, "v___3___0___1___\n\n v___4___1___2____\r\n")
    assert read_transcript(file) == [Sentence(1, "3", 0, 1, ""), Sentence(3, "4", 1, 2, "_")]
    text(file, "v___3___0___1___a\nv___3___1___2___b\n")
    with pytest.raises(MMFairseqError, match=r"v.txt:2: clip 3 stands already in line 1"):
        read_transcript(file)


def test_labels_belong_to_the_sentence_of_the_same_times():
    sentences = [
        Sentence(line, str(line), start, end, "x") for line, (start, end) in enumerate([(0, 2), (0, 5), (5, 6)])
    ]
    segments = [Segment("", number, start, end, {}) for number, (start, end) in enumerate([(5.004, 6), (0, 5), (0, 5)])]
    pairs = match(segments, sentences)
    assert [sentence and sentence.clip for _, sentence in pairs] == ["2", "1", None]
    assert match(segments, []) == [(segment, None) for segment in segments]


def test_a_label_without_a_sentence(raw, parse):
    (raw / FOLDER / "81406.txt").unlink()
    with pytest.raises(MMFairseqError, match=r"1 labels have no sentence among the transcripts: 81406 from 1.5 s"):
        parse("cmu_mosei", raw)
    assert parse("cmu_mosei", raw, "--accept-missing").excluded["no sentence"] == 1


# Folds


def test_folds_are_read_and_never_run(raw, parse, tmp_path):
    # The file of the fixture would end this process.
    assert len(parse("cmu_mosei", raw).manifest) == 4
    (raw / "cmu_mosei_std_folds.py").unlink()
    with pytest.raises(MMFairseqError, match=r"no cmu_mosei_std_folds.py, the standard folds .*--folds FILE"):
        parse("cmu_mosei", raw)
    for split, videos in {"train": "-3g5yACwYn_\n", "valid": "81406\r\n\n", "test": "_0efYOjQ___"}.items():
        text(tmp_path / f"folds/{split}.txt", videos)
    prepared = parse("cmu_mosei", raw, "--folds", str(tmp_path / "folds"))
    assert [row.split for row in prepared.manifest.utterances] == ["train", "train", "valid", "test"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.py", "\n\nstandard_train_fold=open('x').read()", None),
        ("a.py", "x = 1\n\nstandard_train_fold=[a, 'b']", None),
        ("a.py", "\n\nstandard_train_fold={['a']: 1}", None),
        ("a.py", "standard_train_fold=[", "not Python: .*never closed"),
        ("a.py", f"standard_train_fold={'[' * 5000}", "not Python: "),
        (
            "a.py",
            "standard_train_fold=['a']\nstandard_valid_fold=['b']\n",
            "no list of videos for test; it has train, v",
        ),
        ("a.py", "standard_train_fold=[1]\n", "no list of videos for train"),
        ("a.json", "{", "neither a Python file of folds"),
        ("a.json", "[]", "expected {"),
        ("a.json", "[" * 200_000, "neither a Python file of folds"),
        ("a.json", '{"train": ["a"], "val": ["b"], "dev": ["b"], "test": ["c"]}', "'dev' is a second list of valid"),
        ("a.json", '{"train": ["a"], "valid": ["b"], "test": ["a"]}', "video 'a' stands in train and in test"),
    ],
)
def test_folds_that_are_none(raw, parse, tmp_path, name, content, reason):
    text(tmp_path / name, content)
    told = f"{name}: {reason}" if reason else r"a.py:3: standard_train_fold is no plain list of texts$"
    with pytest.raises(MMFairseqError, match=told):
        parse("cmu_mosei", raw, "--folds", str(tmp_path / name))
    with pytest.raises(MMFairseqError, match="no such file of folds"):
        parse("cmu_mosei", raw, "--folds", str(tmp_path / "nothing.py"))

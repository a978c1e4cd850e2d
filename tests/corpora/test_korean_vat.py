"""Frames and recordings of the Korean corpus: rows, protocols, exported samples, recognised text, errors."""

import json
import shutil
import unicodedata

import numpy as np
import pandas as pd
import pytest
import soundfile

from mm_fairseq.cli import main
from mm_fairseq.corpora import writing
from mm_fairseq.corpora._vat_frames import EMOTIONS, samples_of
from mm_fairseq.corpora.frames import sentence_of
from mm_fairseq.corpora.korean_vat import BLOCKS, by_script
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest

COUNTS = {"train": 14, "dev": 7, "test": 7}


def rows_of(name, count):
    rng = np.random.default_rng(sum(map(ord, name)))
    audio = [rng.integers(-3000, 3000, 500 + 10 * row).astype(np.int16) for row in range(count)]
    texts = [f"{name} 문장 {row}." for row in range(count)]
    emotions = [EMOTIONS[row % 7] for row in range(count)]
    return pd.DataFrame(
        {"person_ix": [row % 4 for row in range(count)], "audio": audio, "Sentence": texts, "Emotion": emotions}
    )


class Raw:
    """Frames that a test may change before they are written."""

    def __init__(self, folder):
        self.folder = folder / "raw"
        self.folder.mkdir()
        self.frames = {name: rows_of(name, count) for name, count in COUNTS.items()}

    def hear(self):
        """`test_stt`, in another order."""
        heard = self.frames["test"].copy()
        heard["Sentence"] = [f"들은 말 {row}" for row in range(len(heard))]
        self.frames["test_stt"] = heard.iloc[::-1]
        return heard

    def set(self, name, row, column, value):
        values = np.array([*self.frames[name][column], None], object)[:-1]
        values[row] = value
        self.frames[name][column] = pd.Series(values, index=self.frames[name].index, dtype=object)

    def write(self, suffix=".pkl"):
        for name, frame in self.frames.items():
            if suffix == ".pkl":
                frame.to_pickle(self.folder / f"{name}.pkl", protocol=4)
            else:
                frame.to_parquet(self.folder / f"{name}.parquet")
        return self.folder


@pytest.fixture
def raw(tmp_path):
    return Raw(tmp_path)


def test_rows_and_protocols(raw, parse):
    parsed = parse("korean_vat", raw.write(), "--accept-counts")
    rows = parsed.manifest.utterances
    assert [row.split for row in rows] == ["train"] * 14 + ["valid"] * 7 + ["test"] * 7
    assert parsed.targets[0].classes == ("공포", "놀람", "분노", "슬픔", "중립", "행복", "혐오")
    first = rows[0]
    assert (first.id, first.speaker, first.text) == ("train00000_p000", "000", "train 문장 0.")
    assert first.labels == {"emotion": "공포"}
    assert first.audio == "audio/train/train00000_p000.flac"
    assert parsed.manifest.extra == ["emotion"]
    assert parsed.seen == {"train": 14, "valid": 7, "test": 7}
    folds = parsed.protocols["by_person"]
    assert len(folds) == 4
    person = {row.id: row.speaker for row in rows}
    for fold in folds.values():
        people = [{person[i] for i in fold[split]} for split in ("train", "valid", "test")]
        assert sum(map(len, people)) == len(set.union(*people)) == 4
        assert sum(len(ids) for ids in fold.values()) == len(rows)


@pytest.mark.parametrize("suffix", [".pkl", ".parquet"])
def test_prepare_exports_the_very_samples(raw, tmp_path, suffix):
    raw.hear()
    out = tmp_path / "out"
    assert main(["prepare", "korean_vat", str(raw.write(suffix)), str(out), "--accept-counts", "--rate", "44100"]) == 0
    manifest = Manifest.read(out / "manifest.tsv")
    assert manifest.root == out / "files"
    audio = [samples for name in COUNTS for samples in raw.frames[name]["audio"]]
    for row, samples in zip(manifest.utterances, audio, strict=True):
        info = soundfile.info(manifest.root / row.audio)
        assert (info.samplerate, info.channels, info.subtype) == (44100, 1, "PCM_16")
        assert np.array_equal(soundfile.read(manifest.root / row.audio, dtype="int16")[0], samples)
    heard = [row.labels["text_asr"] for row in manifest.utterances]
    assert heard == [""] * 21 + [f"들은 말 {row}" for row in range(7)]
    account = json.loads((out / "account.json").read_text())
    assert account["details"]["text_asr"] == 7
    assert account["attributes"] == {}
    again = tmp_path / "again"
    shutil.move(out, again)  # the root goes with it
    assert Manifest.read(again / "manifest.tsv").root == again / "files"
    assert main(["prepare", "korean_vat", str(raw.folder), str(again), "--accept-counts", "--overwrite"]) == 0


def test_published_counts_are_asked_for(raw, tmp_path, capsys):
    assert main(["prepare", "korean_vat", str(raw.write()), str(tmp_path / "out")]) == 2
    assert "train 14 instead of 8278; valid 7 instead of 1014; test 7 instead of 1003" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_lists_of_samples_are_read_as_arrays_are(raw, parse, tmp_path):
    samples = raw.frames["dev"]["audio"][0]
    raw.set("dev", 0, "audio", samples.tolist())
    parsed = parse("korean_vat", raw.write(), "--accept-counts")
    path = tmp_path / "a.flac"
    parsed.files["audio/dev/dev00000_p000.flac"](path)
    assert np.array_equal(soundfile.read(path, dtype="int16")[0], samples)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([0, -32768, 32767], [0, -32768, 32767]),
        (np.array([1.0, -2.0]), [1, -2]),
        (np.array([0.5, -1.0, 1.0]), [16384, -32768, 32767]),
        (np.array([3], np.uint8), [3]),
        ([0.0, 1.0], [0, 1]),
    ],
)
def test_samples(value, expected):
    found = samples_of(value, "x")
    assert found.dtype == np.int16
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  오늘\t입고 \n 나가야지.", "오늘 입고 나가야지."),
        ("&quot;뭐?&quot; &lt;3", '"뭐?" <3'),
        (unicodedata.normalize("NFD", "행복"), "행복"),
        ("ㅋㅋ!!  #@", "ㅋㅋ!! #@"),
        (None, ""),
        (float("nan"), ""),
    ],
)
def test_sentences_keep_their_characters(text, expected):
    assert sentence_of(text, "x") == expected


SHARED = [0, 1]  # a file of few bytes, but 2^60 numbers
for _ in range(60):
    SHARED = [SHARED, SHARED]

BAD = [
    ("train", 3, "audio", [], "train.pkl: row 3: column 'audio': zero samples"),
    ("dev", 2, "audio", None, "dev.pkl: row 2: column 'audio': no value"),
    ("dev", 2, "audio", float("nan"), "dev.pkl: row 2: column 'audio': no value"),
    ("test", 1, "audio", "loud", "test.pkl: row 1: column 'audio': str; expected one list of numbers"),
    ("test", 1, "audio", ["1", "2"], "row 1: column 'audio': list of str; expected one list of numbers"),
    ("test", 1, "audio", [[1, 2], [3, 4]], "row 1: column 'audio': list of list; expected"),
    ("test", 1, "audio", np.ones((2, 2), int), r"row 1: column 'audio': shape \(2, 2\)"),
    ("test", 1, "audio", SHARED, "row 1: column 'audio': list of list; expected"),
    ("test", 1, "audio", np.array(["1"]), "row 1: column 'audio': ndarray of <U1; expected"),
    ("train", 0, "audio", [0, 40000], "row 0: column 'audio': samples from 0 to 40000 are more than 16 bits hold"),
    ("train", 0, "audio", [0.5, float("inf")], "row 0: column 'audio': sample 1 is inf"),
    ("train", 0, "audio", [0.5, 7.25], r"row 0: column 'audio': fractions beyond \[-1, 1\]"),
    ("train", 5, "Emotion", "화남", "train.pkl: row 5: column 'Emotion': '화남' is none of 공포, 놀람"),
    ("dev", 5, "Emotion", "행복함", "dev.pkl: row 5: column 'Emotion'"),
    ("dev", 5, "Emotion", SHARED, "dev.pkl: row 5: column 'Emotion': 'list' is none of"),
    ("dev", 5, "Emotion", np.array(["행복", "분노"]), "dev.pkl: row 5: column 'Emotion'"),
    ("test", 5, "Emotion", None, "test.pkl: row 5: column 'Emotion': 'None'"),
    ("test", 5, "Sentence", 7, "test.pkl: row 5: column 'Sentence': int '7', not a text"),
    ("train", 1, "person_ix", "x", "train.pkl: row 1: column 'person_ix': 'x' is no number of a person"),
    ("test", 5, "Sentence", SHARED, "test.pkl: row 5: column 'Sentence': list 'list', not a text"),
    ("train", 1, "person_ix", SHARED, "train.pkl: row 1: column 'person_ix': 'list' is no number of a person"),
    ("train", 1, "person_ix", 1.5, "column 'person_ix': '1.5'"),
    ("train", 1, "person_ix", float("nan"), "column 'person_ix': 'nan'"),
    ("train", 1, "person_ix", -1, "column 'person_ix': '-1'"),
]


@pytest.mark.parametrize(("name", "row", "column", "value", "reason"), BAD)
def test_a_bad_field_is_named_by_file_row_and_column(raw, parse, name, row, column, value, reason):
    raw.set(name, row, column, value)
    with pytest.raises(MMFairseqError, match=reason):
        parse("korean_vat", raw.write(), "--accept-counts")


def test_a_column_or_a_frame_is_missing(raw, parse):
    raw.frames["dev"] = raw.frames["dev"].drop(columns="Emotion")
    with pytest.raises(MMFairseqError, match=r"dev\.pkl: no column 'Emotion'; it has 'person_ix', 'audio', 'Sentence'"):
        parse("korean_vat", raw.write())
    (raw.folder / "dev.pkl").unlink()
    with pytest.raises(MMFairseqError, match=r"no dev\.pkl beside"):
        parse("korean_vat", raw.folder)
    (raw.folder / "train.parquet").touch()
    with pytest.raises(MMFairseqError, match=r"train\.pkl and train\.parquet: which of them"):
        parse("korean_vat", raw.folder)


def test_damaged_and_foreign_frames(raw, parse, tmp_path):
    whole = (raw.write() / "train.pkl").read_bytes()
    for content, reason in (
        (whole[: len(whole) // 2], "cut short"),
        (b"\x80\x04cos\nsystem\n(X\x02\x00\x00\x00lstR.", r"refused: the pickle names os\.system"),
        (b"\x80\x04}.", "holds dict, not a frame of pandas"),
    ):
        (raw.folder / "train.pkl").write_bytes(content)
        with pytest.raises(MMFairseqError, match=reason):
            parse("korean_vat", raw.folder)
    for path in raw.folder.iterdir():
        path.unlink()
    raw.write(".parquet")
    (raw.folder / "test.parquet").write_bytes(b"PAR1 nothing of the kind")
    with pytest.raises(MMFairseqError, match=r"test\.parquet: no Parquet file, or a damaged one"):
        parse("korean_vat", raw.folder)


def test_recognised_text_without_a_partner(raw, parse):
    raw.hear()
    raw.set("test_stt", 2, "audio", [1, 2, 3])
    with pytest.raises(
        MMFairseqError, match=r"test_stt\.pkl: row 2: its recording \(person 0, 3 samples\) is that of no row"
    ):
        parse("korean_vat", raw.write())


def test_recognised_text_with_another_emotion_or_twice(raw, parse):
    heard = raw.hear()
    raw.set("test_stt", 0, "Emotion", "중립")
    with pytest.raises(MMFairseqError, match=r"row 0: column 'Emotion': '중립', but '혐오' in .*test\.pkl: row 6"):
        parse("korean_vat", raw.write())
    raw.frames["test_stt"] = pd.concat([heard, heard.iloc[:1]])
    with pytest.raises(MMFairseqError, match=r"row 7: its recording .* has its recognised text already"):
        parse("korean_vat", raw.write())


def test_rows_that_were_not_heard_have_no_recognised_text(raw, parse):
    heard = raw.hear()
    raw.frames["test_stt"] = heard.iloc[:4]
    parsed = parse("korean_vat", raw.write(), "--accept-counts")
    assert [row.labels["text_asr"] for row in parsed.manifest.utterances[-7:]] == [
        f"들은 말 {row}" for row in range(4)
    ] + [""] * 3
    assert "3 rows of test have no recognised text" in parsed.notes


def test_sentences_in_two_splits_are_told(raw, parse):
    raw.set("test", 0, "Sentence", "TRAIN 문장 3")
    parsed = parse("korean_vat", raw.write(), "--accept-counts")
    assert any(note.startswith("1 sentences of test are in train too") for note in parsed.notes)


def recordings(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_recordings(tmp_path, parse):
    names = [f"{person:03d}/{person}-{number}.m2ts" for person in range(4) for number in range(1 + person, 351, 4)]
    table = tmp_path / "sentences.csv"
    table.write_text("number,sentence\n" + "".join(f"{n},문장 {n}\n" for n in range(1, 350)), "utf-8")
    parsed = parse("korean_vat", recordings(tmp_path / "raw", names), "--sentences", str(table))
    rows = {row.id: row for row in parsed.manifest.utterances}
    assert len(rows) == 350
    assert rows["p000_s001"].video == "000/0-1.m2ts"
    assert rows["p000_s001"].labels["emotion"] == "행복"
    assert rows["p003_s348"].labels["emotion"] == "슬픔"
    assert rows["p001_s202"].labels["emotion"] == BLOCKS[4]
    assert rows["p001_s202"].text == "문장 202"
    assert any("1 sentences have no text: 350" in note for note in parsed.notes)
    fold = parsed.protocols["by_script"]["1"]
    assert {split: len(ids) for split, ids in fold.items()} == {"train": 280, "valid": 35, "test": 35}
    assert parsed.published == {}
    changed = parse("korean_vat", tmp_path / "raw", "--blocks", ",".join(reversed(BLOCKS)))
    assert changed.manifest.utterances[0].labels["emotion"] == "슬픔"


def test_sentences_are_divided_by_emotion():
    splits = by_script(set(range(1, 351)), BLOCKS)
    for block in range(7):
        own = [splits[number] for number in range(50 * block + 1, 50 * block + 51)]
        assert (own.count("train"), own.count("valid"), own.count("test")) == (40, 5, 5)
    assert sorted(by_script({1, 2, 3}, BLOCKS).values()) == ["test", "train", "valid"]
    assert set(by_script({1, 2}, BLOCKS).values()) == {"train"}


@pytest.mark.parametrize(
    ("names", "options", "reason"),
    [
        (["000/1-1.m2ts"], (), "expected PERSON/PERSON-SENTENCE"),
        (["000/0-351.m2ts"], (), "expected PERSON/PERSON-SENTENCE"),
        (["000/0-0.m2ts"], (), "expected PERSON/PERSON-SENTENCE"),
        (["000/take1.m2ts"], (), "expected PERSON/PERSON-SENTENCE"),
        (["001_backup/1-1.m2ts"], (), "expected PERSON/PERSON-SENTENCE"),
        (["000/0-1.m2ts", "00/0-1.M2TS"], (), "the same person and sentence"),
        (["000/0-1.m2ts"], ("--blocks", "행복,놀람"), "--blocks 행복,놀람: name each of"),
        ([], (), "neither frames .* nor recordings"),
    ],
)
def test_bad_recordings(tmp_path, parse, names, options, reason):
    (tmp_path / "raw").mkdir()
    with pytest.raises(MMFairseqError, match=reason):
        parse("korean_vat", recordings(tmp_path / "raw", names), *options)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("number,text\n1,x\n", r":1: no column 'sentence'"),
        ("number,sentence\nx,y\n", r":2: column 'number': 'x' is none of 1 to 350"),
        ("number,sentence\n351,y\n", r":2: column 'number': '351'"),
        ("number,sentence\n1,y\n1,z\n", r":3: column 'number': 1 stands twice"),
    ],
)
def test_a_bad_table_of_sentences(tmp_path, parse, text, reason):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(MMFairseqError, match=reason):
        parse("korean_vat", recordings(tmp_path / "raw", ["000/0-1.m2ts"]), "--sentences", str(tmp_path / "s.csv"))


def test_samples_of_16_bits_are_not_copied():
    x = np.arange(5, dtype=np.int16)
    assert samples_of(x, "x") is x


def test_options_of_the_other_form(raw, parse, tmp_path):
    with pytest.raises(MMFairseqError, match="--sentences: the frames have the sentences already"):
        parse("korean_vat", raw.write(), "--sentences", str(tmp_path / "x"))
    with pytest.raises(MMFairseqError, match="--rate 10: must be 1000 to 768000 Hz"):
        parse("korean_vat", raw.folder, "--rate", "10")


def test_what_fails_while_files_are_written_leaves_nothing(raw, parse, tmp_path):
    parsed = parse("korean_vat", raw.write(), "--accept-counts")

    def fail(path):
        raise OSError(28, "No space left on device", str(path))

    parsed.files = {**parsed.files, "last.flac": fail}
    with pytest.raises(OSError, match="No space left"):
        writing.write("korean_vat", parsed, tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if path.name != "raw"]

"""Releases that are broken as downloads and copies are: each fault is an error or a note that names it.

Nothing is decoded here; what only decoding can tell is put into quarantine by `binarize`.
"""

import csv

import pytest

from mm_fairseq.corpora import CORPORA
from mm_fairseq.corpora.account import account as count
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import features, fluent_speech_commands, korean_vat, lists, table

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 82026\n"
TABLE = ["--columns", "audio=file,text=words,speaker=speaker,split=part", "--target", "emotion=feeling"]
OPTIONS = {"table": TABLE, "lists": ["--classes", "iemocap"]}
TOYS = {"features": features, "fluent_speech_commands": fluent_speech_commands, "korean_vat": korean_vat}
TOYS |= {"lists": lists, "table": table}
FILE = {"features": "mmsa_unaligned.pkl", "table": "table.csv"}  # RAW, where it is no folder
FOLDERS = [name for name in CORPORA.names() if name not in FILE]


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """`toys(corpus)`: the smallest toy, written once. Not to be written to."""
    written = {}

    def folder(corpus):
        if corpus not in written:
            written[corpus] = tmp_path_factory.mktemp(corpus) / "raw"
            TOYS[corpus].write(written[corpus], TOYS[corpus].MINIMUM, 1)
        return written[corpus]

    return folder


@pytest.fixture
def broken(toys, tmp_path, parse):
    """`broken(corpus, file, content)`: parse the toy with one file (a pattern) replaced, or gone where it is None."""

    def run(corpus, pattern, content, *options):
        raw = tmp_path / "raw"
        hurt = sorted(toys(corpus).glob(pattern))[0].relative_to(toys(corpus))
        for path in toys(corpus).rglob("*"):
            target = raw / path.relative_to(toys(corpus))
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            elif path.relative_to(toys(corpus)) != hurt:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.symlink_to(path)
            elif content is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content(path.read_bytes()) if callable(content) else content.encode())
        return parse(corpus, raw / FILE.get(corpus, ""), *OPTIONS.get(corpus, []), *options)

    return run


@pytest.mark.parametrize("what", ["nowhere", "empty"])
@pytest.mark.parametrize("corpus", CORPORA.names())
def test_raw_that_is_not_there(tmp_path, parse, corpus, what):
    raw = tmp_path / what
    if what == "empty":
        raw.mkdir()
    options = ["--columns", "audio=a", "--target", "b=b"] if corpus == "table" else []
    with pytest.raises(MMFairseqError, match=str(raw)):
        parse(corpus, raw, *options)


@pytest.mark.parametrize("corpus", FOLDERS)
def test_an_archive_in_place_of_the_folder(tmp_path, parse, corpus):
    (tmp_path / "release.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(MMFairseqError, match=r"there are archives in .*: extract release.tar.gz first"):
        parse(corpus, tmp_path)
    with pytest.raises(MMFairseqError, match=r"release.tar.gz is an archive: extract it first"):
        parse(corpus, tmp_path / "release.tar.gz")


def test_an_archive_in_place_of_a_table(tmp_path, parse):
    (tmp_path / "release.zip").write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(MMFairseqError, match=r"release.zip: no text; release.zip is an archive: extract it first"):
        parse("table", tmp_path / "release.zip", *TABLE)
    with pytest.raises(
        MMFairseqError, match=r": is a folder; give the file; there are archives in .*: extract release.zip first"
    ):
        parse("table", tmp_path, *TABLE)


def cut(data):
    return data[: len(data) // 3]


@pytest.mark.parametrize(
    ("corpus", "pattern", "content", "message"),
    [
        ("features", "mmsa_unaligned.pkl", POINTER, r"mmsa_unaligned.pkl: a git-lfs pointer"),
        ("features", "mmsa_unaligned.pkl", "", r"mmsa_unaligned.pkl: an empty file"),
        ("features", "mmsa_unaligned.pkl", cut, r"mmsa_unaligned.pkl: cut short: \d+ bytes are wanted at byte"),
        ("features", "mmsa_unaligned.pkl", None, r"mmsa_unaligned.pkl: no such file"),
        ("fluent_speech_commands", "wavs/*/*/*.wav", POINTER, r"_data.csv:\d+: column 'path': .*a git-lfs pointer"),
        ("fluent_speech_commands", "wavs/*/*/*.wav", None, r"_data.csv:\d+: column 'path': .*no such file"),
        ("fluent_speech_commands", "wavs/*/*/*.wav", "", r"_data.csv:\d+: column 'path': .*no samples"),
        ("fluent_speech_commands", "data/valid*", POINTER, r"valid_data.csv: a git-lfs pointer"),
        ("fluent_speech_commands", "data/valid*", cut, r"valid_data.csv:\d+: (\d fields|column)"),
        ("fluent_speech_commands", "data/test*", lambda data: data + b"\xe9,\n", r"test_data.csv:22: byte 0xe9 is not"),
        ("korean_vat", "train.pkl", POINTER, r"train.pkl: a git-lfs pointer"),
        ("korean_vat", "dev.pkl", None, r"no dev.pkl beside"),
        ("korean_vat", "test_stt.pkl", cut, r"test_stt.pkl: cut short"),
        ("lists", "train_a.tsv", POINTER, r"train_a.tsv: a git-lfs pointer"),
        ("lists", "train_a.tsv", cut, r"train_t.tsv:\d: 'train\d+' is another utterance than|: 12 files, but"),
        ("lists", "label_file_test.csv", POINTER, r"label_file_test.csv: a git-lfs pointer"),
        ("lists", "label_file_test.csv", None, r"label_file_test.csv: no such file"),
        ("table", "table.csv", POINTER, r"table.csv: a git-lfs pointer"),
        ("table", "table.csv", "", r"table.csv: holds no records"),
        ("table", "table.csv", lambda data: data + b"\xe9", r"table.csv:22: byte 0xe9 is not UTF-8"),
        ("table", "table.csv", lambda data: data.decode().encode("utf-16"), r"table.csv:1: byte 0xff is not UTF-8"),
    ],
)
def test_one_file_is_broken(broken, corpus, pattern, content, message):
    with pytest.raises(MMFairseqError, match=message):
        broken(corpus, pattern, content)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("dialog/EmoEvaluation/Ses*.txt", r"EmoEvaluation/\w+.txt: (a git-lfs pointer|0 bytes)"),
        ("dialog/transcriptions/*.txt", r"transcriptions/\w+.txt: (a git-lfs pointer|0 bytes).*--accept-missing"),
        ("dialog/avi/DivX/*.avi", r"DivX/\w+.avi: (a git-lfs pointer|0 bytes).*--accept-missing"),
        ("sentences/wav/*/*.wav", r"wav/\w+/\w+.wav: (a git-lfs pointer|0 bytes).*--accept-missing"),
    ],
)
@pytest.mark.parametrize("content", ["", POINTER])
def test_a_file_of_iemocap_holds_nothing(iemocap, parse, pattern, reason, content):
    sorted((iemocap / "Session2").glob(pattern))[0].write_text(content)
    with pytest.raises(MMFairseqError, match=reason):
        parse("iemocap", iemocap)


def test_half_of_iemocap(iemocap, parse):
    (iemocap / "Session4").rename(iemocap / "gone")
    (iemocap / "IEMOCAP_full_release.tar.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(MMFairseqError, match=r"Session4/dialog/EmoEvaluation: no such folder; .*extract IEMOCAP_full"):
        parse("iemocap", iemocap)


@pytest.mark.parametrize("content", [POINTER, "", None])
@pytest.mark.parametrize(("corpus", "pattern"), [("lists", "audio/train*.wav"), ("table", "wav/*.wav")])
def test_a_recording_of_lists_or_a_table_holds_nothing(broken, corpus, pattern, content):
    with pytest.raises(MMFairseqError, match=r"0000.wav'?: (a git-lfs pointer|0 bytes|no such file).*--accept-missing"):
        broken(corpus, pattern, content)
    prepared = broken(corpus, pattern, content, "--accept-missing")
    assert len(prepared.manifest) == TOYS[corpus].MINIMUM
    assert [row.id[-4:] for row in prepared.manifest.utterances if not row.audio] == ["0000"]
    assert any(note.startswith("accepted: ") and "0000.wav" in note for note in prepared.notes)


def test_recordings_of_korean_vat_are_noted(tmp_path, parse):
    for person in range(3):
        (tmp_path / f"{person:03d}").mkdir()
        for number in (1, 51, 101):
            (tmp_path / f"{person:03d}/{person}-{number}.m2ts").write_bytes(b"G")
    assert not any("leave out" in note for note in parse("korean_vat", tmp_path).notes)
    (tmp_path / "001/1-1.m2ts").write_bytes(b"")
    (tmp_path / "002/2-51.m2ts").write_text(POINTER)
    prepared = parse("korean_vat", tmp_path)
    assert len(prepared.manifest) == 9
    told = [note for note in prepared.notes if note.startswith("`binarize` will leave out ")]
    assert [("0 bytes" in note, "git-lfs" in note) for note in told] == [(True, False), (False, True)]
    assert "001/1-1.m2ts: " in told[0]


def test_a_recording_twice_in_a_table_is_noted(broken):
    prepared = broken("table", "table.csv", lambda data: data + data.splitlines(keepends=True)[5])
    assert "1 rows name the recording of another row and the same times: line 22 as line 6" in prepared.notes


def test_labels_nobody_knows(broken):
    with pytest.raises(MMFairseqError, match=r"label_file_train.csv:\d+: utterance 'train\d+': label 'glad' of"):
        broken("lists", "label_file_train.csv", lambda data: data.replace(b"neu", b"glad", 1))
    options = ["--classes", "calm,glad,sad,angry"]
    with pytest.raises(MMFairseqError, match=r"table.csv:\d+: utterance '\d+': label 'hungry' .* is none of calm"):
        broken("table", "table.csv", lambda data: data.replace(b"angry", b"hungry", 1), *options)


@pytest.mark.parametrize("corpus", ["features", "fluent_speech_commands", "lists", "table"])
def test_the_account_adds_up(broken, toys, corpus):
    """Rows and what was left out are together what the release lists."""
    pattern, content, options = "*", lambda data: data, []
    if corpus == "fluent_speech_commands":
        pattern, content, options = "wavs/*/*/*.wav", "", ["--accept-missing"]
    prepared = broken(corpus, pattern, content, *options)
    account = count(corpus, prepared)
    listed = TOYS[corpus].MINIMUM
    if corpus == "table":
        with open(toys(corpus) / "table.csv", encoding="utf-8", newline="") as file:
            assert sum(1 for _ in csv.DictReader(file)) == listed
    assert account["utterances"] + sum(account["excluded"].values()) == listed

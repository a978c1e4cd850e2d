from dataclasses import replace
from pathlib import Path

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import COLUMNS, Manifest, Medium, Utterance, normalised

ROWS = [
    Utterance(
        "a", "train", "S1", "1", "d1", "0", 1.25, 2.5, "x/a.wav#t=0", "v.avi#xywh=0,112,360,256", "One.", {"e": "ang"}
    ),
    Utterance("b", text="Zażółć gęślą jaźń", labels={"e": ""}),
]


def written(tmp_path: Path, rows: list[Utterance], root: str = "/data") -> Path:
    path = tmp_path / "manifest.tsv"
    Manifest(Path(root), ["e"], rows).write(path)
    return path


def with_lines(tmp_path: Path, *rows: str, first: str = "# root=/data", header: str | None = None) -> Path:
    path = tmp_path / "manifest.tsv"
    path.write_text("\n".join([first, "\t".join([*COLUMNS, "e"]) if header is None else header, *rows]) + "\n", "utf-8")
    return path


def line(**fields: str) -> str:
    return "\t".join(fields.get(name, "") for name in [*COLUMNS, "e"])


def test_read_gives_back_what_was_written(tmp_path):
    manifest = Manifest.read(written(tmp_path, ROWS))
    assert manifest.root == Path("/data")
    assert manifest.extra == ["e"]
    assert manifest.utterances == ROWS


def test_file_form(tmp_path):
    lines = written(tmp_path, ROWS).read_text("utf-8").split("\n")
    assert lines[0] == "# root=/data"
    assert lines[1] == "id\tsplit\tspeaker\tsession\tdialogue\tturn\tstart\tend\taudio\tvideo\ttext\te"
    assert lines[2] == "a\ttrain\tS1\t1\td1\t0\t1.25\t2.5\tx/a.wav#t=0\tv.avi#xywh=0,112,360,256\tOne.\tang"
    assert lines[4:] == [""]
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.tsv"]


def test_relative_root_is_read_from_the_manifest_folder(tmp_path):
    assert Manifest.read(with_lines(tmp_path, line(id="a"), first="# root=../media")).root == tmp_path.parent / "media"


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = with_lines(tmp_path, line(id="a", text="x", e="sad"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert Manifest.read(path).utterances == [Utterance("a", text="x", labels={"e": "sad"})]


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("a.wav", (1.0, 2.0), Medium("a.wav", 1.0, 2.0)),
        ("a.wav#t=0", (1.0, 2.0), Medium("a.wav")),
        ("a.wav#t=1.5,3", (None, None), Medium("a.wav", 1.5, 3.0)),
        ("a.wav#t=,3", (1.0, 2.0), Medium("a.wav", None, 3.0)),
        ("v.avi#xywh=0,112,360,256", (1.0, 2.0), Medium("v.avi", 1.0, 2.0, (0, 112, 360, 256))),
        ("v.avi#t=4,5&xywh=1,2,3,4", (1.0, 2.0), Medium("v.avi", 4.0, 5.0, (1, 2, 3, 4))),
        ("take #2.wav", (None, None), Medium("take #2.wav")),
    ],
)
def test_media_fragments(text, span, expected):
    assert Medium.parse(text, *span) == expected


def test_medium_of_an_utterance():
    assert ROWS[0].medium("audio") == Medium("x/a.wav")
    assert ROWS[0].medium("video") == Medium("v.avi", 1.25, 2.5, (0, 112, 360, 256))
    assert ROWS[1].medium("audio") is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": "", "text": "x"}, "the id is empty"),
        ({"id": "u", "start": "x"}, "start 'x' is not a number"),
        ({"id": "u", "start": "-1"}, "start -1 s"),
        ({"id": "u", "start": "nan"}, "start nan s"),
        ({"id": "u", "start": "2", "end": "2"}, "end 2 s is not behind start 2 s"),
        ({"id": "u", "end": "inf"}, "end inf s"),
        ({"id": "u", "audio": "../a.wav"}, "leads out of the root"),
        ({"id": "u", "audio": "a/../../b.wav"}, "leads out of the root"),
        ({"id": "u", "video": "/etc/passwd"}, "leads out of the root"),
        ({"id": "u", "audio": "a.wav#t=3,2"}, "span 3-2 s is empty"),
        ({"id": "u", "video": "a.avi#xywh=1,2,3"}, "xywh=X,Y,W,H"),
        ({"id": "u", "audio": "#t=0"}, "names no file"),
    ],
)
def test_a_bad_row_is_named_by_line_and_id(tmp_path, fields, reason):
    path = with_lines(tmp_path, line(id="good"), line(**fields))
    with pytest.raises(MMFairseqError) as error:
        Manifest.read(path)
    assert str(error.value).startswith(f"{path}:4: utterance {fields['id']!r}: ")
    assert reason in str(error.value)


def test_an_id_twice_names_both_lines(tmp_path):
    path = with_lines(tmp_path, line(id="a"), line(id="b"), line(id="a"))
    with pytest.raises(MMFairseqError, match=r":5: utterance 'a': the id stands already in line 3"):
        Manifest.read(path)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"first": "id\tsplit"}, ":1: expected '# root=DIR'"),
        ({"header": "id\tspeaker"}, ":2: the columns must begin with id split"),
        ({"header": "\t".join([*COLUMNS, "e", "e"])}, ":2: further columns must have different"),
        ({"header": "\t".join([*COLUMNS, "split"])}, ":2: further columns must have different"),
    ],
)
def test_a_bad_head_is_named(tmp_path, settings, reason):
    with pytest.raises(MMFairseqError, match=reason):
        Manifest.read(with_lines(tmp_path, **settings))


def test_wrong_number_of_fields(tmp_path):
    with pytest.raises(MMFairseqError, match=r":3: utterance 'a': 2 fields, the header line has 12"):
        Manifest.read(with_lines(tmp_path, "a\ttrain"))


def test_empty_line_in_the_middle(tmp_path):
    with pytest.raises(MMFairseqError, match=":4: an empty line"):
        Manifest.read(with_lines(tmp_path, line(id="a"), "", line(id="b")))


def test_missing_file_and_other_encodings(tmp_path):
    with pytest.raises(MMFairseqError, match="no such manifest"):
        Manifest.read(tmp_path / "manifest.tsv")
    path = with_lines(tmp_path, line(id="a", text="é"))
    path.write_bytes(path.read_text("utf-8").encode("latin-1"))
    with pytest.raises(MMFairseqError, match="is not UTF-8"):
        Manifest.read(path)


@pytest.mark.parametrize("text", ["two\tfields", "two\nlines", "\x00"])
def test_write_refuses_what_it_could_not_read_back(tmp_path, text):
    with pytest.raises(MMFairseqError, match="utterance 'b': a tab or a line break"):
        written(tmp_path, [replace(ROWS[1], text=text)])
    assert not list(tmp_path.iterdir())


def test_further_columns_are_kept_as_text(tmp_path):
    row = Utterance("a", labels={"events": "Speech|Music", "events_votes": "Speech=0.5", "style": "improvised"})
    path = tmp_path / "manifest.tsv"
    Manifest(Path("/data"), ["events", "style", "events_votes", "sex"], [row]).write(path)
    manifest = Manifest.read(path)
    assert manifest.extra == ["events", "style", "events_votes", "sex"]
    assert manifest.utterances[0].labels == {**row.labels, "sex": ""}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("I'm fine, thanks!", "  i'm FINE   thanks ", True),
        ("Straße", "STRASSE", True),
        ("Zażółć, gęślą", "zażółć gęślą!", True),
        ("你好。", "你好", True),
        ("", " ... ", True),
        ("No way", "Noway", False),
        ("one two", "two one", False),
        ("café", "cafe", False),
    ],
)
def test_normalised_tells_equal_sentences(one, other, same):
    assert (normalised(one) == normalised(other)) == same
    assert normalised(normalised(one)) == normalised(one)


def test_features_have_a_column_only_where_some_row_has_them(tmp_path):
    rows = [replace(ROWS[0], features="f/a.npz"), ROWS[1]]
    lines = written(tmp_path, rows).read_text("utf-8").split("\n")
    assert lines[1].split("\t")[-3:] == ["text", "features", "e"]
    assert lines[2].split("\t")[-3:] == ["One.", "f/a.npz", "ang"]
    manifest = Manifest.read(tmp_path / "manifest.tsv")
    assert manifest.utterances == rows
    assert manifest.extra == ["e"]
    with_features = (tmp_path / "manifest.tsv").read_bytes()
    manifest.write(tmp_path / "manifest.tsv")
    assert (tmp_path / "manifest.tsv").read_bytes() == with_features
    assert "features" not in written(tmp_path, ROWS).read_text("utf-8")


@pytest.mark.parametrize("path", ["../a.npz", "/a.npz"])
def test_features_lie_below_the_root(tmp_path, path):
    with pytest.raises(MMFairseqError, match=rf":3: utterance 'a': features path '{path}' leads out of the root"):
        written(tmp_path, [replace(ROWS[0], features=path)])


def test_features_are_no_label(tmp_path):
    with pytest.raises(MMFairseqError, match="holds paths of features and nothing else"):
        Manifest(Path("/data"), ["features"], [Utterance("a")]).write(tmp_path / "manifest.tsv")


@pytest.mark.parametrize("end", ["\n", "", "\n\n", "\n  "])
def test_rows_as_text_are_the_rows(tmp_path, end):
    path = tmp_path / "manifest.tsv"
    rows = [Utterance(f"u{n}", text="naïve ☂", start=float(n), labels={"emotion": "sad"}) for n in range(5)]
    Manifest(tmp_path, ["emotion"], rows).write(path)
    path.write_bytes(path.read_bytes().removesuffix(b"\n").replace(b"\n", b"\r\n") + end.encode())
    manifest = Manifest.read(path, as_text=True)
    assert list(manifest.utterances) == Manifest.read(path).utterances == rows
    assert (len(manifest), manifest.utterances[-1], manifest.utterances[1:3]) == (5, rows[4], rows[1:3])
    with pytest.raises(IndexError):
        manifest.utterances[5]
    manifest.write(tmp_path / "again.tsv")
    assert manifest.stands_in(tmp_path / "again.tsv")
    assert not manifest.stands_in(path)
    assert not manifest.stands_in(tmp_path / "none.tsv")

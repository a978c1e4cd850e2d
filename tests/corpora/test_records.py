import pytest

from mm_fairseq.corpora.records import read_columns, read_table
from mm_fairseq.errors import MMFairseqError


def table(tmp_path, data, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", "path,text\na.wav,x y\n"),
        ("t.csv", "path;text\na.wav;x y\n"),
        ("t.txt", "path|text\na.wav|x y"),
        ("t.tsv", "path\ttext\na.wav\tx y\n"),
        ("t.csv", "path\ttext\r\na.wav\tx y\r\n"),
        ("t.csv", b"\xef\xbb\xbfpath , text\na.wav,x y\n"),
        ("t.csv", "\npath,text\n,\n\na.wav,x y\n"),
    ],
)
def test_forms_of_the_file(tmp_path, name, data):
    header, records = read_table(table(tmp_path, data, name))
    assert header == ["path", "text"]
    assert [record.fields for record in records] == [{"path": "a.wav", "text": "x y"}]


def test_delimiter_can_be_told(tmp_path):
    header, _ = read_table(table(tmp_path, "a,b,c;d\n1,2,3;4\n"), "semicolon")
    assert header == ["a,b,c", "d"]


def test_line_numbers_count_quoted_line_breaks(tmp_path):
    _, records = read_table(table(tmp_path, 'a,b\n"one\ntwo",2\n\n3,"say ""no"""\n'))
    assert [record.line for record in records] == [2, 5]
    assert records[0].fields["a"] == "one\ntwo"
    assert records[1].fields["b"] == 'say "no"'


def test_unicode_line_separators_do_not_end_a_record(tmp_path):
    _, records = read_table(table(tmp_path, "a,b\none\u2028two\x85,2\n"))
    assert records[0].fields == {"a": "one\u2028two\x85", "b": "2"}


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("t.csv", "a,b\n1,2\n3\n", "t.csv:3: 1 fields, the header has 2"),
        ("t.csv", 'a,b\n1,"2\n3,4\n', "t.csv:2: .*quotation mark"),
        ("t.tsv", 'a\tb\n"one\t2\ntwo"\t4\n', "t.tsv:2: .*quotation mark"),
        ("t.csv", 'a,b\n"one" more,2\n', "t.csv:2: .*quotation mark"),
        ("t.csv", b"a,b\n1,2\n3,caf\xe9\n", "t.csv:3: byte 0xe9 is not UTF-8"),
        ("t.csv", "a,b,a\n1,2,3\n", "column a stands twice"),
        ("t.csv", "a,b\n", "holds no records"),
        ("t.csv", "", "holds no records"),
    ],
)
def test_faults_name_the_line(tmp_path, name, data, reason):
    with pytest.raises(MMFairseqError, match=reason):
        read_table(table(tmp_path, data, name))


def test_missing_file(tmp_path):
    with pytest.raises(MMFairseqError, match="no such file"):
        read_table(tmp_path / "t.csv")


def test_columns_that_are_needed(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(",path,action\n0,a.wav,on\n")
    assert [record.fields["action"] for record in read_columns(file, ("", "action"))] == ["on"]
    with pytest.raises(MMFairseqError, match=r"a\.csv:1: no column 'object'; columns: '', 'path', 'action'"):
        read_columns(file, ("path", "object", "location"))

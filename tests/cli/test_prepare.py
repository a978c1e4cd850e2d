import pytest

from mm_fairseq.cli import main
from mm_fairseq.manifest import Manifest
from mm_fairseq.targets import read_targets

TABLE = "path,said,label,part\na.wav,Hello.,p,train\nb.wav,[bold]No[/bold],q,dev\nc.wav,,q,test\n"
OPTIONS = ("--columns", "audio=path,text=said,split=part", "--target", "emotion=label")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    return path


def test_a_table_becomes_a_prepared_folder(table, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["prepare", "table", str(table), str(out), *OPTIONS, "--classes", "p,q"]) == 0
    assert [row.id for row in Manifest.read(out / "manifest.tsv").utterances] == ["a", "b", "c"]
    text = capsys.readouterr().out
    assert "table: 3 utterances (audio 3, text 2, video 0), 0 speakers" in text
    assert "1 train" in text


def test_votes_attributes_and_sets_are_shown(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("path,tags,p,q,sex\na.wav,p;q,1,0.5,f\nb.wav,;,,,f\nc.wav,,0,1,\n")
    options = ["--columns", "audio=path", "--target", "tag=tags:multilabel", "--label-separator", ";"]
    more = ["--votes", "tag=p:p,q:q", "--attributes", "sex=sex", "--delimiter", "comma"]
    assert main(["prepare", "table", str(path), str(tmp_path / "out"), *options, *more]) == 0
    text = capsys.readouterr().out
    assert "votes of tag: 2 utterances, 1.25 each in the mean" in text
    assert "sex: (none) 1, f 2" in text
    assert "(none of them)" in text
    assert "(no label)" in text
    assert read_targets(tmp_path / "out" / "targets.json")[0].votes == "tag_votes"


def test_faults_end_with_one_line_and_status_2(table, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["prepare", "table", str(table), str(out), *OPTIONS, "--classes", "p,r"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{table}:3: utterance 'b': label 'q'" in error
    assert not out.exists()


def test_overwrite(table, tmp_path, capsys):
    command = ["prepare", "table", str(table), str(tmp_path / "out"), *OPTIONS, "--classes", "p,q"]
    assert main(command) == 0
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0


def test_unknown_corpus_lists_the_known_ones(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["prepare", "iemocaps", "raw", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert "iemocap" in capsys.readouterr().err

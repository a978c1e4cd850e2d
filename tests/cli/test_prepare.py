import json

import pytest

from mm_fairseq.cli import main
from mm_fairseq.manifest import Manifest
from mm_fairseq.preprocessing.prepared import Prepared
from mm_fairseq.targets import read_targets

TABLE = "path,said,label,part\na.wav,Hello.,p,train\nb.wav,[bold]No[/bold],q,dev\nc.wav,,q,test\n"
OPTIONS = ("--columns", "audio=path,text=said,split=part", "--target", "emotion=label")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    for name in "abc":
        (tmp_path / f"{name}.wav").write_text(name)
    return path


def test_a_table_becomes_a_prepared_folder(table, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["prepare", "table", str(table), str(out), *OPTIONS, "--classes", "p,q"]) == 0
    assert [row.id for row in Manifest.read(out / "manifest.tsv").utterances] == ["a", "b", "c"]
    text = capsys.readouterr().out
    assert "table: 3 utterances (audio 3, text 2, video 0), 0 speakers" in text
    assert "in two splits: nothing; compared: files, words\n" in text
    assert "could not be compared" not in text
    assert "1 train" in text


def test_votes_attributes_and_sets_are_shown(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("path,tags,p,q,sex\na.wav,p;q,1,0.5,f\nb.wav,;,,,f\nc.wav,,0,1,\n")
    for name in "abc":
        (tmp_path / f"{name}.wav").write_text(name)
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


def test_what_could_not_be_compared_is_said(table, tmp_path, capsys, monkeypatch):
    """As where files vanish after they were looked at."""
    monkeypatch.setattr("mm_fairseq.corpora.table.fault", lambda file: "")
    for name in "ab":
        (tmp_path / f"{name}.wav").unlink()
    out = tmp_path / "out"
    assert main(["prepare", "table", str(table), str(out), *OPTIONS, "--classes", "p,q"]) == 0
    told = "2 of 3 files could not be compared: missing file 2"
    assert f"in two splits: nothing; compared: files, words\n{told}\n" in capsys.readouterr().out
    assert told in (out / "account.html").read_text()


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


def test_what_is_printed_and_what_is_written(tmp_path, capsys):
    path = tmp_path / "t.csv"
    rows = ["a,Yes!,p,ann,train", "b,yes,p,bob,train", "c,No.,q,bob,train", "d,YES,p,ann,dev", "e,why,q,ann,test"]
    path.write_text("\n".join(["id,said,label,who,part", *rows]) + "\n")
    columns = "id=id,text=said,speaker=who,split=part"
    assert main(["prepare", "table", str(path), str(tmp_path / "out"), "--columns", columns, *OPTIONS[2:]]) == 0
    text = capsys.readouterr().out
    for line in (
        "words of valid in train 1 1 1 1 100.0",
        "speakers of test in train 1 1 1 1 100.0",
        "majority of train 0.0 0.0 0.0 0.0",
        "best constant of all 100.0 100.0 100.0 100.0",
        "durations: not known of 5 (no recording or times): a, b, c and others",
    ):
        assert line in " ".join("".join(sign if sign not in "│┃" else " " for sign in text).split())
    assert "LEAK" not in text
    audit = json.loads((tmp_path / "out/audit.json").read_text())
    assert audit["leaks"] == []
    assert audit["baselines"]["official"]["1"]["valid"]["transcript_lookup"]["metrics"]["wa"] == 1
    assert json.loads((tmp_path / "out/account.json").read_text())["durations"]["utterances"] == 0
    assert "words of valid in train" in (tmp_path / "out/account.html").read_text()


def test_leaks_end_with_status_1_and_nothing_written(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("id,path,label,part\na,x.wav,p,train\nb,x.wav,q,dev\nc,y.wav,q,test\n")
    for name in "xy":
        (tmp_path / f"{name}.wav").write_text(name)
    out = tmp_path / "out"
    command = ["prepare", "table", str(path), str(out), "--columns", "id=id,audio=path,split=part", *OPTIONS[2:]]
    command += ["--classes", "p,q"]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "--accept-leaks" in error
    assert error.endswith(": b\n")
    assert not error.endswith("\n\n")
    assert "protocol 'official', fold '1': 1 of the 1 utterances of valid are in train too: b" in error
    assert sorted(each.name for each in tmp_path.iterdir()) == ["t.csv", "x.wav", "y.wav"]
    assert main([*command, "--accept-leaks"]) == 0
    text = capsys.readouterr().out
    assert "utterances of valid in train: LEAK" in text
    assert "note: accepted leak: protocol 'official', fold '1': 1 of the 1 utterances of valid" in text
    assert json.loads((out / "audit.json").read_text())["accepted"] is True
    assert "1, accepted" in (out / "account.html").read_text()
    assert len(Prepared.read(out).splits["official", "1", "valid"]) == 1


def test_a_label_map_comes_before_the_audit(table, tmp_path, capsys):
    names = tmp_path / "names.toml"
    names.write_text('[emotion]\np = "r"\nq = "s"\n')
    command = ["prepare", "table", str(table), str(tmp_path / "out"), *OPTIONS, "--classes", "p,q"]
    assert main([*command, "--label-map", str(names)]) == 0
    assert read_targets(tmp_path / "out/targets.json")[0].classes == ("r", "s")
    assert json.loads((tmp_path / "out/audit.json").read_text())["baselines"]["official"]["1"]["test"]
    assert main([*command, "--overwrite", "--label-map", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: no such file" in capsys.readouterr().err


@pytest.mark.real
def test_meld_as_published(real_data, tmp_path, capsys):
    assert main(["prepare", "meld", str(real_data / "meld"), str(tmp_path / "out")]) == 0
    text = " ".join("".join(sign if sign not in "│┃" else " " for sign in capsys.readouterr().out).split())
    assert "transcripts of test in train 134 2,395 331 2,610 12.7" in text
    assert "majority of train 48.1 14.3 31.3 9.3" in text

"""What `prepare table` says and does where recordings that its rows name are not there."""

import pytest

from mm_fairseq.corpora.recordings import EMPTY, FOLDER, MISSING, POINTER
from mm_fairseq.errors import MMFairseqError

COLUMNS = ("--columns", "audio=path,text=said,speaker=who,split=part")
EMOTION = ("--target", "emotion=label")


def table(tmp_path, rows, recordings, header="path,said,who,part,label"):
    for name in recordings:
        (tmp_path / name).write_text(name)
    path = tmp_path / "corpus.csv"
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    return path


def missing(tmp_path):
    """A table of which some recordings are not there, each in its way, and `d.wav` in two rows."""
    rows = [
        "a.wav,x,S,train,p",
        "b.wav,,S,train,q",
        "c.wav,y,S,train,q",
        '"d.wav#t=0,1",z,S,train,p',
        '"d.wav#t=1,2",,S,train,q',
        "e.wav,,S,train,p",
        "f.wav,,S,train,q",
    ]
    path = table(tmp_path, [*rows, "g.wav,,S,train,p", "h.wav,,S,train,p"], ["h.wav"])
    (tmp_path / "c.wav").write_bytes(b"")
    (tmp_path / "e.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 82026\n")
    (tmp_path / "f.wav").mkdir()
    return path


def test_recordings_that_are_not_there_are_told_by_line(tmp_path, parse):
    path = missing(tmp_path)
    told = [
        f"{path}:2: utterance 'row000001': audio 'a.wav': {MISSING} (and 3 more: line 3, line 5, line 9)",
        f"{path}:4: utterance 'row000003': audio 'c.wav': {EMPTY}",
        f"{path}:7: utterance 'row000006': audio 'e.wav': {POINTER}",
        f"{path}:8: utterance 'row000007': audio 'f.wav': {FOLDER}",
    ]
    with pytest.raises(MMFairseqError) as error:
        parse("table", path, *COLUMNS, *EMOTION)
    assert str(error.value) == (
        f"{'; '.join(told)}; --accept-missing goes on without them; --root DIR reads them elsewhere"
    )
    prepared = parse("table", path, *COLUMNS, *EMOTION, "--accept-missing")
    assert [(row.id, row.audio, row.text) for row in prepared.manifest.utterances] == [
        ("row000001", "", "x"),
        ("row000003", "", "y"),
        ("row000004", "", "z"),
        ("row000009", "h.wav", ""),
    ]
    assert prepared.excluded == {"no recording": 5}
    assert prepared.notes[:5] == [
        *(f"accepted: {each}" for each in told),
        "8 of 9 rows lack such a file; left out, with nothing else: 5",
    ]
    assert sum(len(ids) for ids in prepared.protocols["official"]["1"].values()) == 4
    (tmp_path / "h.wav").unlink()
    with pytest.raises(MMFairseqError, match=r"corpus.csv: no row has a recording or a text"):
        parse("table", path, "--columns", "audio=path", *EMOTION, "--accept-missing")


def test_a_row_loses_only_the_file_that_is_missing(tmp_path, parse):
    rows = ["a.wav,a.mp4,a.npz,p", "b.wav,b.mp4,b.npz,q", "c.wav,,,q"]
    there = ["a.wav", "b.wav", "c.wav", "a.npz", "b.mp4"]
    path = table(tmp_path, rows, there, "sound,film,numbers,label")
    columns = ("--columns", "audio=sound,video=film,features=numbers", "--protocol", "random")
    with pytest.raises(MMFairseqError, match=r":2: utterance 'a': video 'a.mp4': no such file.* .and 1 more: li"):
        parse("table", path, *columns, *EMOTION)
    rows = parse("table", path, *columns, *EMOTION, "--accept-missing").manifest.utterances[:2]
    assert [(row.audio, row.video, row.features) for row in rows] == [("a.wav", "", "a.npz"), ("b.wav", "b.mp4", "")]


def test_each_path_is_looked_at_once(tmp_path, parse, monkeypatch):
    rows = [f'"{"xy"[i % 2]}.wav#t={i},{i + 1}",hm,s,train,{"ab"[i % 2]}' for i in range(50)]
    looked = []
    monkeypatch.setattr("mm_fairseq.corpora.table.fault", lambda file: looked.append(file.name) or "")
    assert len(parse("table", table(tmp_path, rows, []), *COLUMNS, *EMOTION).manifest) == 50
    assert looked == ["x.wav", "y.wav"]

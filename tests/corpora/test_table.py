import re

import pytest

from mm_fairseq.corpora.base import SPLIT_NAMES
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.targets import Target

COLUMNS = ("--columns", "audio=path,text=said,speaker=who,split=part")
HEARD = "path,said,who,part,label,heard"
EMOTION = ("--target", "emotion=label")
ROWS = ["x/a.wav,Hello.,S1,train,happy", "x/b.wav,,S2,dev,angry", "x/c.wav,Bye.,S3,test,happy"]


def table(tmp_path, rows=ROWS, header="path,said,who,part,label"):
    path = tmp_path / "corpus.csv"
    path.write_text("\n".join([header, *rows]) + "\n", "utf-8")
    record(tmp_path, rows)
    return path


def record(folder, rows):
    """Write the recordings that rows name, as far as they lie in the folder."""
    for name in re.findall(r"[\w./-]+\.(?:wav|flac|mp4|npz)", "\n".join(rows)):
        file = folder / name
        if ".." not in name and file.is_relative_to(folder):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)


def test_rows_targets_and_protocol(tmp_path, parse):
    prepared = parse("table", table(tmp_path), *COLUMNS, *EMOTION, "--classes", "angry,happy")
    assert prepared.manifest.root == tmp_path
    assert prepared.targets == [Target("emotion", "single", ("angry", "happy"))]
    first, second, _ = prepared.manifest.utterances
    assert (first.id, first.split, first.speaker, first.audio, first.text) == ("a", "train", "S1", "x/a.wav", "Hello.")
    assert first.labels == {"emotion": "happy"}
    assert (second.split, second.text) == ("valid", "")
    assert prepared.protocols == {"official": {"1": {"train": ["a"], "valid": ["b"], "test": ["c"]}}}


def test_every_column_has_its_place(tmp_path, parse):
    header = "key,beg,fin,film,ses,dlg,nr,label"
    path = table(tmp_path, ["u1,0.5,2,v.mp4,1,d1,3,a", "u2,2,3.25,v.mp4,1,d2,4,b", "u3,1,2,w.mp4,2,d3,1,a"], header)
    columns = "id=key,start=beg,end=fin,video=film,session=ses,dialogue=dlg,turn=nr"
    row = parse("table", path, "--columns", columns, *EMOTION).manifest.utterances[1]
    assert (row.id, row.start, row.end, row.video) == ("u2", 2.0, 3.25, "v.mp4")
    assert (row.session, row.dialogue, row.turn) == ("1", "d2", "4")


def test_what_a_recogniser_heard(tmp_path, parse):
    """A column beside the transcripts, of which nothing else is made; hearing nothing is no fault."""
    path = table(tmp_path, [f"{row},{heard}" for row, heard in zip(ROWS, ("yellow", "", "by"), strict=True)], HEARD)
    columns = ("--columns", f"{COLUMNS[1]},text_asr=heard")
    prepared = parse("table", path, *columns, *EMOTION, "--classes", "angry,happy")
    assert prepared.manifest.extra == ["emotion", "text_asr"]
    assert [row.labels["text_asr"] for row in prepared.manifest.utterances] == ["yellow", "", "by"]
    assert [row.text for row in prepared.manifest.utterances] == ["Hello.", "", "Bye."]
    with pytest.raises(MMFairseqError, match=r"corpus\.csv: no column 'asr'; columns: path, said, .*heard"):
        parse("table", path, "--columns", f"{COLUMNS[1]},text_asr=asr", *EMOTION)
    with pytest.raises(MMFairseqError, match=r"--columns: text_asr is what .*name text=COLUMN too, or .*text=heard"):
        parse("table", path, "--columns", "audio=path,text_asr=heard", *EMOTION)
    for options in ((*EMOTION, "--attributes", "text_asr=heard"), ("--target", "text_asr=heard")):
        with pytest.raises(MMFairseqError, match="text_asr"):
            parse("table", path, *COLUMNS, *options)


def test_several_targets_and_kinds(tmp_path, parse):
    path = table(tmp_path, ["a.wav,joy,1.5,lo:x", "b.wav,woe,-2,hi", "c.wav,,,hi"], "path,mood,score,level:x")
    options = ("--columns", "audio=path", "--target", "mood=mood:binary_each", "--target", "score=score:regression")
    prepared = parse("table", path, *options, "--target", "level=level:x", "--classes", "level=hi,lo:x")
    assert prepared.targets == [
        Target("mood", "binary_each", ("joy", "woe")),
        Target("score", "regression"),
        Target("level", "single", ("hi", "lo:x")),
    ]
    assert prepared.manifest.utterances[2].labels == {"mood": "", "score": "", "level": "hi"}
    assert "target 'mood': 1 of 3 utterances have no label" in prepared.notes


def test_sets_of_labels(tmp_path, parse):
    rows = ["a.wav,Speech | Music,x", "b.wav,|,y", "c.wav,,x", "d.wav,Dog|Speech|Dog,"]
    path = table(tmp_path, rows, "path,sounds,place")
    options = ("--columns", "audio=path", "--target", "tag=sounds:multilabel", "--target", "place=place")
    prepared = parse("table", path, *options, "--weight", "place=0.25", "--protocol", "random")
    assert prepared.targets == [
        Target("tag", "multilabel", ("Dog", "Music", "Speech")),
        Target("place", "single", ("x", "y"), 0.25),
    ]
    assert [row.labels["tag"] for row in prepared.manifest.utterances] == ["Speech|Music", "|", "", "Dog|Speech"]
    assert "target 'tag': 1 of 4 utterances have no label" in prepared.notes


def test_sets_with_another_separator(tmp_path, parse):
    rows = ['a.wav,"Speech, Music"', 'b.wav,","', "c.wav,Music"]
    path = table(tmp_path, rows, "path,sounds")
    options = ("--columns", "audio=path", "--target", "tag=sounds:multilabel", "--label-separator", ",")
    prepared = parse("table", path, *options, "--classes", "Speech,Music,Dog")
    assert prepared.targets[0].classes == ("Speech", "Music", "Dog")
    assert [row.labels["tag"] for row in prepared.manifest.utterances] == ["Speech|Music", "|", "Music"]
    path.write_text(path.read_text().replace("Speech, M", "Speech|M"))
    with pytest.raises(
        MMFairseqError, match=r"corpus.csv:2: utterance 'a': column 'sounds': label 'Speech\|Music' must"
    ):
        parse("table", path, *options)


def test_votes_as_text(tmp_path, parse):
    path = table(tmp_path, ["a.wav,p,p=2|q=0.5", "b.wav,q,", "c.wav,,q=1"], "path,label,said")
    options = ("--columns", "audio=path", *EMOTION, "--votes", "emotion=said")
    prepared = parse("table", path, *options)
    assert prepared.manifest.extra == ["emotion", "emotion_votes"]
    assert prepared.targets == [Target("emotion", "single", ("p", "q"), votes="emotion_votes")]
    assert [row.labels["emotion_votes"] for row in prepared.manifest.utterances] == ["p=2|q=0.5", "", "q=1"]
    path.write_text(path.read_text().replace("q=0.5", "r=1"))
    with pytest.raises(MMFairseqError, match=r"corpus.csv:2: utterance 'a': label 'r' .* none of p, q"):
        parse("table", path, *options)


def test_votes_as_one_column_a_class(tmp_path, parse):
    path = table(tmp_path, ["a.wav,p,2,0,1.0", "b.wav,q,,,", "c.wav,p,0,0,0"], "path,label,p:n,q_n,other")
    options = ("--columns", "audio=path", "--target", "emotion=label", "--attributes", "other=other")
    prepared = parse("table", path, *options, "--votes", "emotion=q:q_n,p:other")
    assert prepared.manifest.extra == ["emotion", "emotion_votes", "other"]
    assert [row.labels["emotion_votes"] for row in prepared.manifest.utterances] == ["p=1", "", ""]
    with pytest.raises(MMFairseqError, match="--votes emotion: x is none of the classes p, q; --classes can name more"):
        parse("table", path, *options, "--votes", "emotion=p:other,x:q_n")
    classes = (
        parse("table", path, *options, "--votes", "emotion=p:other,x:q_n", "--classes", "p,q,x").targets[0].classes
    )
    assert classes == ("p", "q", "x")


@pytest.mark.parametrize("text", ["-1", "two", "nan", "inf"])
def test_a_number_of_votes_that_is_none_is_named(tmp_path, parse, text):
    path = table(tmp_path, ["a.wav,p,1,1", f"b.wav,q,1,{text}"], "path,label,p,q")
    with pytest.raises(MMFairseqError, match=rf"corpus.csv:3: utterance 'b': column 'q': '{text}' is not a number of"):
        parse("table", path, "--columns", "audio=path", *EMOTION, "--votes", "emotion=p:p,q:q")


def test_votes_of_sets_are_shares_and_nobody_is_a_share(tmp_path, parse):
    path = table(tmp_path, ["a.wav,p,0.5,0.25", "b.wav,|,0,0", "c.wav,p,1,"], "path,label,p,q")
    options = ("--columns", "audio=path", "--target", "tag=label:multilabel", "--classes", "p,q")
    prepared = parse("table", path, *options, "--votes", "tag=p:p,q:q")
    assert [row.labels["tag_votes"] for row in prepared.manifest.utterances] == ["p=0.5|q=0.25", "p=0|q=0", "p=1"]
    path.write_text(path.read_text().replace("0.25", "3"))
    with pytest.raises(MMFairseqError, match=r"corpus.csv:2: utterance 'a': .*shares between 0 and 1"):
        parse("table", path, *options, "--votes", "tag=p:p,q:q")


def test_attributes_are_kept(tmp_path, parse):
    prepared = parse(
        "table",
        table(tmp_path),
        *COLUMNS,
        *EMOTION,
        "--classes",
        "angry,happy",
        "--attributes",
        "room=who,part=part",
        "--attributes",
        "x=said",
    )
    assert prepared.manifest.extra == ["emotion", "room", "part", "x"]
    assert prepared.manifest.utterances[2].labels == {"emotion": "happy", "room": "S3", "part": "test", "x": "Bye."}


@pytest.mark.parametrize(
    ("kind", "labels", "known"), [("", ("p", "q", "r"), "p, q"), (":multilabel", ("p|q", "q", "q|r"), "p, q")]
)
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_label_that_train_lacks(tmp_path, parse, kind, labels, known, split):
    rows = [f"{i}.wav,x,S,{part},{label}" for i, (part, label) in enumerate(zip(("train", "train", split), labels))]
    words = ["table", table(tmp_path, rows), *COLUMNS, "--target", f"emotion=label{kind}"]
    told = rf"corpus.csv:4: utterance '2': column 'label': label 'r' stands in {split} .* train, which has {known}; to"
    with pytest.raises(MMFairseqError, match=told):
        parse(*words)
    assert parse(*words, "--classes", "p,q,r").targets[0].classes == ("p", "q", "r")


def test_classes_give_the_order(tmp_path, parse):
    prepared = parse("table", table(tmp_path), *COLUMNS, *EMOTION, "--classes", "sad, happy,angry")
    assert prepared.targets[0].classes == ("sad", "happy", "angry")


@pytest.mark.parametrize(
    ("paths", "ids"),
    [
        (["x/a.wav", "x/b.b.wav", "c.flac"], ["a", "b.b", "c"]),
        (["x/a.wav", "y/a.wav", "c.wav"], ["x/a", "y/a", "c"]),
        (["a.wav#t=0,1", "a.wav#t=1,2", "a.wav#t=2,3"], ["row000001", "row000002", "row000003"]),
        (["a.wav", "", "c.wav"], ["row000001", "row000002", "row000003"]),
    ],
)
def test_ids_that_are_made(tmp_path, parse, paths, ids):
    rows = [f'"{path}",said,S{i},train,{"ab"[i % 2]}' for i, path in enumerate(paths)]
    prepared = parse("table", table(tmp_path, rows), *COLUMNS, *EMOTION)
    assert [row.id for row in prepared.manifest.utterances] == ids


def test_paths_become_relative_to_the_root(tmp_path, parse):
    (tmp_path / "lists").mkdir()
    path = table(tmp_path / "lists", [f"{tmp_path}/wavs/a.wav,x,S,train,p", "./wavs//b.wav#t=0,x,S,train,q"])
    record(tmp_path, ["wavs/a.wav", "wavs/b.wav"])
    prepared = parse("table", path, *COLUMNS, *EMOTION, "--root", str(tmp_path))
    assert prepared.manifest.root == tmp_path
    assert [row.audio for row in prepared.manifest.utterances] == ["wavs/a.wav", "wavs/b.wav#t=0"]


def test_quoted_line_breaks_become_spaces(tmp_path, parse):
    prepared = parse(
        "table", table(tmp_path, ['a.wav,"one,\n  two",S1,train,p', "b.wav,x,S2,train,q"]), *COLUMNS, *EMOTION
    )
    assert prepared.manifest.utterances[0].text == "one, two"


@pytest.mark.parametrize("sign", ["\x00", "\n", "\t"])
def test_signs_that_no_path_can_have(tmp_path, parse, sign):
    path = table(tmp_path, [f'"a{sign}b.wav",x,S1,train,p', "b.wav,x\x00y,S2,train,q"])
    with pytest.raises(MMFairseqError, match=r"csv:2: utterance .*: 'a.{2,4}b.wav': a path must hold no tab, line bre"):
        parse("table", path, *COLUMNS, *EMOTION)
    path.write_text(path.read_text().replace(sign + "b.wav", ".wav", 1))
    record(tmp_path, ["a.wav"])
    assert parse("table", path, *COLUMNS, *EMOTION).manifest.utterances[1].text == "xy"


def test_a_path_keeps_its_spaces(tmp_path, parse):
    (tmp_path / "a  b.wav").write_text("x")
    path = table(tmp_path, [" a  b.wav ,x  y,S1,train,p", "b.wav,x,S2,train,q"])
    row = parse("table", path, *COLUMNS, *EMOTION).manifest.utterances[0]
    assert (row.audio, row.text) == ("a  b.wav", "x y")


@pytest.mark.parametrize(("name", "split"), [*SPLIT_NAMES.items(), ("Train", "train"), ("VAL", "valid")])
def test_split_names(tmp_path, parse, name, split):
    path = table(tmp_path, [f"a.wav,x,S,{name},p", "b.wav,x,S,train,p", "c.wav,x,S,train,q"])
    assert parse("table", path, *COLUMNS, *EMOTION).manifest.utterances[0].split == split


def test_without_a_split_column_speakers_are_kept_apart(tmp_path, parse):
    rows = [f"{i}.wav,x,S{i % 5},,{'ab'[i % 2]}" for i in range(50)]
    prepared = parse("table", table(tmp_path, rows), "--columns", "audio=path,speaker=who", *EMOTION)
    speaker = {row.id: row.speaker for row in prepared.manifest.utterances}
    groups = [{speaker[i] for i in ids} for ids in prepared.protocols["by_speaker"]["1"].values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 5
    assert "no speaker is in two of them" in prepared.notes[0]


def test_folds_by_speaker(tmp_path, parse):
    rows = [f"{i}.wav,x,s{i % 7},,{'happy' if i % 2 else 'angry'}" for i in range(42)]
    options = ("--columns", "audio=path,speaker=who", *EMOTION, "--protocol", "by_speaker", "--folds")
    prepared = parse("table", table(tmp_path, rows), *options, "4")
    speaker = {row.id: row.speaker for row in prepared.manifest.utterances}
    folds = prepared.protocols["by_speaker"]
    tested = [{speaker[i] for i in fold["test"]} for fold in folds.values()]
    assert list(folds) == ["1", "2", "3", "4"]
    assert sorted(name for names in tested for name in names) == [f"s{i}" for i in range(7)]
    for wrong in ("2", "8", "0"):
        with pytest.raises(MMFairseqError, match=f"--folds {wrong}: 3 or more, at most one a speaker .here 7."):
            parse("table", table(tmp_path, rows), *options, wrong)


def test_without_speakers_recordings_are_kept_apart(tmp_path, parse):
    rows = [f"{i // 2}.wav#t={i % 2},x,,,{'ab'[i % 2]}" for i in range(40)]
    prepared = parse("table", table(tmp_path, rows), "--columns", "audio=path,speaker=who", *EMOTION)
    recording = {row.id: row.medium("audio").path for row in prepared.manifest.utterances}
    groups = [{recording[i] for i in ids} for ids in prepared.protocols["random"]["1"].values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20
    assert "a speaker may be in several of them" in prepared.notes[0]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            ["a.wav,x,S,train,p", "b.wav,x,S,TRIAN,q"],
            ":3: utterance 'b': column 'part': split 'TRIAN' is none of train",
        ),
        (["a.wav,x,S,train,p", ",,S,train,q"], ":3: utterance 'row000002': has no audio, no text and no video"),
        (
            ["a.wav,x,S,train,p", "../b.wav,x,S,train,q"],
            ":3: utterance 'b': audio path '../b.wav' leads out of the root",
        ),
        (["/etc/a.wav,x,S,train,p", "b.wav,x,S,train,q"], ":2: utterance 'a': '/etc/a.wav' lies outside the root"),
        (["a.wav#t=2,x,S,train,p", "b.wav#t=3,x,S,train,p"], "target 'emotion': kind 'single' needs at least 2"),
    ],
)
def test_a_bad_row_is_named(tmp_path, parse, rows, reason):
    with pytest.raises(MMFairseqError) as error:
        parse("table", table(tmp_path, rows), *COLUMNS, *EMOTION)
    assert reason in str(error.value)


def test_a_label_outside_the_classes_is_named(tmp_path, parse):
    with pytest.raises(MMFairseqError, match=r"corpus.csv:3: utterance 'b': label 'angry' .* none of happy, sad"):
        parse("table", table(tmp_path), *COLUMNS, *EMOTION, "--classes", "happy,sad")


def test_a_number_that_is_none_is_named(tmp_path, parse):
    path = table(tmp_path, ["a.wav,x,S,train,1.5", "b.wav,x,S,train,1;5"])
    with pytest.raises(MMFairseqError, match=r"corpus.csv:3: utterance 'b': label '1;5' .* not a finite number"):
        parse("table", path, *COLUMNS, "--target", "score=label:regression")


def test_bad_times_are_named(tmp_path, parse):
    path = table(tmp_path, ["a.wav,0,1,p", "b.wav,0,x,q"], "path,from,to,label")
    with pytest.raises(MMFairseqError, match=":3: utterance 'b': end 'x' is not a number of seconds"):
        parse("table", path, "--columns", "audio=path,start=from,end=to", *EMOTION)


def test_an_id_twice_names_both_lines(tmp_path, parse):
    path = table(tmp_path, ['a.wav,"x\ny",S,train,p', "b.wav,x,S,train,q", "c.wav,x,S,test,q"])
    with pytest.raises(MMFairseqError, match=":4: utterance 'S': the id stands already in line 2"):
        parse("table", path, "--columns", "id=who,audio=path", *EMOTION)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--columns", "audio=file", *EMOTION), "no column 'file'; columns: path, said, who, part, label"),
        (("--columns", "sound=path", *EMOTION), "expected FIELD=COLUMN with one of the fields id, split"),
        (("--columns", "audio", *EMOTION), "expected FIELD=COLUMN"),
        (("--columns", "audio=path,audio=said", *EMOTION), "'audio' is given twice"),
        (("--columns", "speaker=who", *EMOTION), "at least one of audio, text, video"),
        ((*COLUMNS, "--target", "emotion=mood"), "no column 'mood'; columns: path"),
        ((*COLUMNS, "--target", "emotion=label:many"), "unknown target kind 'many'; known: binary_each"),
        ((*COLUMNS, "--target", "split=label"), "expected NAME=COLUMN"),
        ((*COLUMNS, "--target", "label"), "expected NAME=COLUMN"),
        ((*COLUMNS, *EMOTION, *EMOTION), "two targets have the same name"),
        ((*COLUMNS, *EMOTION, "--target", "who=who", "--classes", "a,b"), "write TARGET=A,B,C with one of the targets"),
        ((*COLUMNS, *EMOTION, "--root", "/nowhere"), "--root /nowhere: no such folder"),
        (("--columns", "audio=path", *EMOTION, "--protocol", "official"), "name the split column"),
        ((*COLUMNS, *EMOTION, "--label-separator", ","), "no target is of kind multilabel"),
        ((*COLUMNS, *EMOTION, "--weight", "0.5"), "'0.5': expected TARGET=NUMBER with one of the targets emotion"),
        ((*COLUMNS, *EMOTION, "--weight", "mood=0.5"), "expected TARGET=NUMBER with one of the targets emotion"),
        ((*COLUMNS, *EMOTION, "--weight", "emotion=half"), "'half' is not a number"),
        ((*COLUMNS, *EMOTION, "--weight", "emotion=-1"), "target 'emotion': weight -1.0 is not"),
        ((*COLUMNS, *EMOTION, *("--weight", "emotion=1") * 2), "--weight: 'emotion' is given twice"),
        (
            (*COLUMNS, *EMOTION, "--votes", "mood=said"),
            "expected TARGET=COLUMN or TARGET=CLASS:COLUMN,CLASS:COLUMN with",
        ),
        ((*COLUMNS, *EMOTION, "--votes", "emotion=votes"), "'votes' is neither a column nor CLASS:COLUMN; columns of"),
        ((*COLUMNS, *EMOTION, "--votes", "emotion=a:who,b:w"), "no column 'w'; columns: path"),
        ((*COLUMNS, *EMOTION, "--votes", "emotion=a:who,a:who"), "class 'a' is given twice"),
        ((*COLUMNS, "--target", "x=who:regression", "--votes", "x=who"), "has neither classes nor votes"),
        ((*COLUMNS, *EMOTION, "--target", "emotion_votes=who", "--votes", "emotion=who"), "would have the same name"),
        ((*COLUMNS, *EMOTION, "--attributes", "who"), "'who': expected NAME=COLUMN; a name is a word"),
        ((*COLUMNS, *EMOTION, "--attributes", "speaker=who"), "none of id, .*, features, text_asr, emotion$"),
        ((*COLUMNS, *EMOTION, "--attributes", "emotion=who"), "expected NAME=COLUMN"),
        ((*COLUMNS, *EMOTION, "--attributes", "a=who,a=who"), "--attributes: 'a' is given twice"),
        ((*COLUMNS, *EMOTION, "--attributes", "a=age"), "no column 'age'; columns: path"),
        (("--columns", "audio=path", *EMOTION, "--protocol", "by_speaker"), "3 utterances have no speaker: a, b, c"),
    ],
)
def test_bad_options_say_what_is_allowed(tmp_path, parse, options, reason):
    with pytest.raises(MMFairseqError, match=reason):
        parse("table", table(tmp_path), *options)


@pytest.mark.real
def test_nemo(real_data, parse):
    columns = "audio=path,text=transcript,speaker=speaker,split=split_sentence"
    prepared = parse("table", real_data / "nemo/manifest.csv", "--columns", columns, *EMOTION)
    assert len(prepared.manifest) == 1490
    assert {split: len(ids) for split, ids in prepared.protocols["official"]["1"].items()} == {
        "train": 1040,
        "valid": 149,
        "test": 301,
    }
    assert len(prepared.targets[0].classes) == 6
    assert len({row.speaker for row in prepared.manifest.utterances}) == 9
    assert all((prepared.manifest.root / row.audio).is_file() for row in prepared.manifest.utterances)


@pytest.mark.real
def test_grid_has_neither_speakers_nor_splits(real_data, parse):
    columns = "video=path,text=transcript,speaker=speaker"
    prepared = parse("table", real_data / "grid/manifest.csv", "--columns", columns, "--target", "command=label")
    assert {split: len(ids) for split, ids in prepared.protocols["random"]["1"].items()} == {
        "train": 7,
        "valid": 2,
        "test": 1,
    }
    assert prepared.targets[0].classes == ("bin", "lay", "place", "set")


def test_a_table_without_valid_gets_one_from_train(tmp_path, parse):
    rows = [f"{i}.wav,hm,s{i % 4},{'test' if i % 5 == 0 else 'train'},{'ab'[i % 2]}" for i in range(40)]
    prepared = parse("table", table(tmp_path, rows), *COLUMNS, *EMOTION)
    fold = prepared.protocols["official"]["1"]
    speaker = {row.id: row.speaker for row in prepared.manifest.utterances}
    assert sorted(fold["train"] + fold["valid"] + fold["test"]) == sorted(speaker)
    assert {speaker[name] for name in fold["valid"]}
    assert not {speaker[name] for name in fold["valid"]} & {speaker[name] for name in fold["train"]}
    assert any("no valid" in note for note in prepared.notes)

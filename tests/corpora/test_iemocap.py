import re
from collections import Counter

import pytest

from mm_fairseq.corpora import base
from mm_fairseq.corpora.iemocap import MAPS, PUBLISHED, RATED, face_region, style
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.targets import kind_of

DIALOGUE = "Ses01M_script01_1b"


def evaluation(root):
    return root / f"Session1/dialog/EmoEvaluation/{DIALOGUE}.txt"


def edit(path, old, new, encoding="utf-8"):
    text = path.read_text("utf-8")
    assert old in text
    path.write_bytes(text.replace(old, new).encode(encoding))


def test_four_classes_count_exc_as_hap(iemocap, parse):
    prepared = parse("iemocap", iemocap)
    assert prepared.targets[0].classes == ("neu", "sad", "ang", "hap")
    assert Counter(row.labels["emotion"] for row in prepared.manifest.utterances) == {
        "neu": 5,
        "sad": 5,
        "ang": 5,
        "hap": 10,
    }
    assert prepared.excluded == {"fru": 5, "xxx": 5}
    assert prepared.details["evaluated"] == 35


def test_six_classes_keep_exc(iemocap, parse):
    prepared = parse("iemocap", iemocap, "--classes", "6")
    assert prepared.targets[0].classes == ("neu", "sad", "ang", "hap", "exc", "fru")
    assert set(Counter(row.labels["emotion"] for row in prepared.manifest.utterances).values()) == {5}
    assert prepared.excluded == {"xxx": 5}


def test_a_row(iemocap, parse):
    rows = {row.id: row for row in parse("iemocap", iemocap).manifest.utterances}
    row = rows[f"{DIALOGUE}_M001"]
    assert (row.speaker, row.session, row.dialogue, row.turn, row.split) == ("Ses01M", "Session1", DIALOGUE, "3", "")
    assert (row.start, row.end, row.text, row.labels) == (
        6.0,
        7.5,
        "Turn M001.",
        {"emotion": "ang", "emotion_votes": "ang=2.5", "style": "scripted"},
    )
    assert row.audio == f"Session1/sentences/wav/{DIALOGUE}/{row.id}.wav#t=0"
    assert row.video == f"Session1/dialog/avi/DivX/{DIALOGUE}.avi#xywh=0,112,360,256"
    assert row.medium("audio").start is None
    assert row.medium("video")[1:] == (6.0, 7.5, (0, 112, 360, 256))


def votes(prepared, name):
    return next(row.labels["emotion_votes"] for row in prepared.manifest.utterances if row.id == f"{DIALOGUE}_{name}")


def test_votes_are_the_evaluators(iemocap, parse):
    prepared = parse("iemocap", iemocap)
    assert prepared.manifest.extra == ["emotion", "emotion_votes", "style"]
    assert prepared.targets[0].votes == "emotion_votes"
    assert votes(prepared, "F001") == "hap=2.5"  # excited
    assert prepared.details["evaluators_not_understood"] == 0
    prepared = parse("iemocap", iemocap, "--classes", "6")
    assert votes(prepared, "F001") == "exc=2.5|fru=0.5"
    assert votes(prepared, "F003") == "fru=3"
    for row in prepared.manifest.utterances:
        kind_of(prepared.targets[0]).check(row.labels["emotion"], row.labels["emotion_votes"])


@pytest.mark.parametrize(
    ("evaluator", "expected"),
    [
        ("Neutral state;", "neu=3.5"),
        ("Happiness; Excited;", "neu=2.5|hap=1"),
        ("Sadness; Neutral; Anger;", "neu=2.83333|sad=0.333333|ang=0.333333"),
        ("Other; Sadness;", "neu=2.5|sad=0.5"),
        ("Disgust;", "neu=2.5"),
    ],
)
def test_who_names_several_emotions_has_one_vote(iemocap, parse, evaluator, expected):
    edit(evaluation(iemocap), "C-E4:\tFrustration; Neutral;", f"C-E1:\t{evaluator}\t()\nC-E4:\tFrustration; Neutral;")
    assert votes(parse("iemocap", iemocap), "F000") == expected


@pytest.mark.parametrize(("evaluator", "expected"), [(";", "neu=2"), ("Neutral; Joy;", "neu=2.5"), ("", "neu=2")])
def test_evaluators_who_are_not_understood_are_noted(iemocap, parse, evaluator, expected):
    edit(evaluation(iemocap), "C-E4:\tFrustration; Neutral;", f"C-E4:\t{evaluator}")
    prepared = parse("iemocap", iemocap)
    assert votes(prepared, "F000") == expected
    assert prepared.details["evaluators_not_understood"] == 1
    assert f"did not count: Session1/dialog/EmoEvaluation/{DIALOGUE}.txt:6: {evaluator!r}" in prepared.notes[-1]
    assert "(Neutral, Neutral state, Happiness, " in prepared.notes[-1]


def test_a_row_without_evaluators_has_no_votes(iemocap, parse):
    text = evaluation(iemocap).read_text()
    evaluation(iemocap).write_text(re.sub(r"C-E.*\n", "", text))
    assert votes(parse("iemocap", iemocap), "F000") == ""


@pytest.mark.parametrize(
    ("dialogue", "expected"),
    [("Ses01F_impro01", "improvised"), ("Ses05M_script03_2", "scripted"), ("Ses01F_x_impro", "")],
)
def test_style(dialogue, expected):
    assert style(dialogue) == expected


def test_rows_are_in_the_order_of_time(iemocap, parse):
    rows = parse("iemocap", iemocap).manifest.utterances[:5]
    assert [row.id[-4:] for row in rows] == ["F000", "M000", "F001", "M001", "F002"]
    assert [row.turn for row in rows] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("dialogue", "speaker", "swap", "x"),
    [
        ("Ses01F_impro01", "F", False, 0),
        ("Ses01F_impro01", "M", False, 360),
        ("Ses03M_script02_2", "M", False, 0),
        ("Ses03M_script02_2", "F", False, 360),
        ("Ses01F_impro01", "F", True, 360),
        ("Ses01F_impro01", "M", True, 0),
    ],
)
def test_face_region(dialogue, speaker, swap, x):
    assert face_region(dialogue, speaker, swap) == f"#xywh={x},112,360,256"


def test_swap_faces_option(iemocap, parse):
    rows = parse("iemocap", iemocap, "--swap-faces").manifest.utterances
    assert rows[0].id.endswith("F000")
    assert rows[0].medium("video").region == (0, 112, 360, 256)
    assert rows[1].medium("video").region == (360, 112, 360, 256)


def test_folds_are_disjoint_in_speakers_and_dialogues(iemocap, parse):
    prepared = parse("iemocap", iemocap)
    rows = {row.id: row for row in prepared.manifest.utterances}
    assert list(prepared.protocols) == ["leave_one_session_out"]
    folds = prepared.protocols["leave_one_session_out"]
    assert list(folds) == ["1", "2", "3", "4", "5"]
    for fold, splits in folds.items():
        sessions = {split: {rows[i].session for i in ids} for split, ids in splits.items()}
        assert sessions["test"] == {f"Session{fold}"}
        assert sessions["valid"] == {f"Session{int(fold) % 5 + 1}"}
        assert len(sessions["train"]) == 3
        assert sorted(i for ids in splits.values() for i in ids) == sorted(rows)
        for field in ("speaker", "dialogue", "session"):
            seen = Counter(value for ids in splits.values() for value in {getattr(rows[i], field) for i in ids})
            assert set(seen.values()) == {1}


def test_odd_transcript_lines_are_counted(iemocap, parse):
    details = parse("iemocap", iemocap).details
    assert details["transcripts_of_overlapping_speech"] == 5
    assert details["transcript_lines_without_id"] == 5
    assert details["without_transcript"] == 0


def test_old_encodings_are_read(iemocap, parse):
    path = iemocap / f"Session1/dialog/transcriptions/{DIALOGUE}.txt"
    edit(path, "Turn F000.", "It’s  a café.", "cp1252")
    edit(evaluation(iemocap), "(curious)", "(naïve)", "latin-1")
    assert parse("iemocap", iemocap).manifest.utterances[0].text == "It’s a café."


def test_missing_transcripts_are_noted(iemocap, parse):
    path = iemocap / f"Session1/dialog/transcriptions/{DIALOGUE}.txt"
    edit(path, f"{DIALOGUE}_F000", f"{DIALOGUE}_F009")
    prepared = parse("iemocap", iemocap)
    assert prepared.manifest.utterances[0].text == ""
    assert f"1 utterances have no transcript: {DIALOGUE}_F000" in prepared.notes
    assert f"{DIALOGUE}: 1 transcripts have no evaluation: {DIALOGUE}_F009" in prepared.notes


def test_missing_media_are_an_error_or_accepted(iemocap, parse):
    wav = iemocap / f"Session1/sentences/wav/{DIALOGUE}/{DIALOGUE}_F000.wav"
    wav.unlink()
    (iemocap / "Session2/dialog/avi").rename(iemocap / "avi")
    with pytest.raises(MMFairseqError) as error:
        parse("iemocap", iemocap)
    assert f"{wav}: no such file: copy or fetch it; {iemocap}/Session2/dialog/avi/DivX: no such" in str(error.value)
    prepared = parse("iemocap", iemocap, "--accept-missing")
    rows = prepared.manifest.utterances
    assert {row.session for row in rows if not row.video} == {"Session2"}
    assert [row.id for row in rows if not row.audio] == [wav.stem]
    assert f"accepted: {wav}: no such file: copy or fetch it" in prepared.notes
    assert f"accepted: {iemocap}/Session2/dialog/avi/DivX: no such folder" in prepared.notes


def test_empty_files_and_pointers_are_told_once(iemocap, parse):
    for name in ("F000", "M000"):
        (iemocap / f"Session1/sentences/wav/{DIALOGUE}/{DIALOGUE}_{name}.wav").write_bytes(b"")
    (iemocap / f"Session1/dialog/avi/DivX/{DIALOGUE}.avi").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(MMFairseqError) as error:
        parse("iemocap", iemocap)
    assert f"0 bytes in it: copy or fetch it again (and 1 more: {DIALOGUE}_M000.wav)" in str(error.value)
    assert str(error.value).count("`git lfs pull` fetches it") == 1
    rows = parse("iemocap", iemocap, "--accept-missing").manifest.utterances
    assert len(rows) == 25
    assert sum(not row.video for row in rows) == 5
    assert sum(not row.audio for row in rows) == 2


def test_a_copy_without_videos_is_noted(iemocap, parse):
    for session in range(1, 6):
        (iemocap / f"Session{session}/dialog/avi").rename(iemocap / f"Session{session}/gone")
    prepared = parse("iemocap", iemocap)
    assert not any(row.video for row in prepared.manifest.utterances)
    assert prepared.notes == ["no video: dialog/avi/DivX is in no session"]


def test_rows_without_any_recording_are_counted(iemocap, parse):
    for kind in ("sentences/wav", "dialog/avi/DivX", "dialog/transcriptions"):
        for file in (iemocap / "Session3" / kind).rglob("*.*"):
            file.unlink()
    prepared = parse("iemocap", iemocap, "--accept-missing")
    assert prepared.excluded == {"fru": 5, "xxx": 5, "no recording": 5}
    assert len(prepared.manifest) + sum(prepared.excluded.values()) == prepared.details["evaluated"] == 35
    assert prepared.protocols["leave_one_session_out"]["3"]["test"] == []


def test_five_and_nine_classes(iemocap, parse):
    prepared = parse("iemocap", iemocap, "--classes", "5")
    assert prepared.targets[0].classes == ("neu", "sad", "ang", "hap", "fru")
    assert (prepared.seen["all"], prepared.seen["hap"], prepared.excluded) == (30, 10, {"xxx": 5})
    edit(evaluation(iemocap), "\tneu\t", "\tfea\t")
    edit(evaluation(iemocap), "\thap\t", "\toth\t")
    prepared = parse("iemocap", iemocap, "--classes", "9")
    assert prepared.targets[0].classes == ("neu", "sad", "ang", "hap", "exc", "fru", "sur", "fea", "dis")
    assert prepared.seen["fea"] == 1
    assert prepared.excluded == {"oth": 1, "xxx": 5}
    assert votes(prepared, "F000") == "neu=2.5|fru=0.5"


def test_dimensions_of_all_rated_utterances(iemocap, parse):
    edit(evaluation(iemocap), "\tneu\t[2.5000, 2.5000, 2.5000]", "\tneu\t[2.3333, 5.5000, 1]")
    prepared = parse("iemocap", iemocap, "--vad")
    assert [target.name for target in prepared.targets] == ["emotion", "valence", "activation", "dominance"]
    assert {target.kind for target in prepared.targets[1:]} == {"regression"}
    rows = {row.id: row for row in prepared.manifest.utterances}
    row = rows[f"{DIALOGUE}_F000"]
    assert [row.labels[name] for name in ("valence", "activation", "dominance")] == ["2.3333", "5.5", "1"]
    assert len(rows) == 35
    assert prepared.excluded == {}
    assert [prepared.details[f"without_emotion_{label}"] for label in ("fru", "xxx")] == [5, 5]
    assert (prepared.seen["all"], prepared.seen["rated"]) == (25, 35)
    aside = [row for row in rows.values() if not row.labels["emotion"]]
    assert len(aside) == 10
    assert {(row.labels["emotion_votes"], row.labels["valence"]) for row in aside} == {("", "2.5")}
    assert prepared.notes == [f"1 utterances have a dimension outside 1 to 5, kept as it stands: {DIALOGUE}_F000"]
    for row in rows.values():
        for target in prepared.targets:
            kind_of(target).check(row.labels[target.name])


@pytest.mark.parametrize("bracket", ["2.5, 2.5", "2.5, x, 2.5", "2.5, nan, 2.5", "2.5, , 2.5"])
def test_dimensions_that_are_none(iemocap, parse, bracket):
    edit(evaluation(iemocap), "\tneu\t[2.5000, 2.5000, 2.5000]", f"\tneu\t[{bracket}]")
    assert len(parse("iemocap", iemocap).manifest) == 25
    with pytest.raises(MMFairseqError, match=rf"b.txt:3: utterance '.*F000': \[{bracket}\] are not three numbers"):
        parse("iemocap", iemocap, "--vad")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("\tneu\t", "\tglad\t", "label 'glad' is none of neu, sad, ang, hap, exc, fru, sur, fea, dis, oth, xxx"),
        (f"{DIALOGUE}_F000", "Ses02M_impro01_F000", "an id of this file is"),
        (f"{DIALOGUE}_F000", f"{DIALOGUE}_F001", "the id stands already in line"),
        ("[0.0000 - 1.5000]", "[1.5000 - 1.5000]", "end 1.5 s is not behind start 1.5 s"),
        ("[0.0000 - 1.5000]", "[0.0.0 - 1.5000]", "are not two times in seconds"),
    ],
)
def test_a_bad_rating_names_file_line_and_id(iemocap, parse, old, new, reason):
    edit(evaluation(iemocap), old, new)
    with pytest.raises(MMFairseqError) as error:
        parse("iemocap", iemocap)
    assert reason in str(error.value)
    assert str(error.value).startswith(f"{evaluation(iemocap)}:")
    assert ": utterance 'Ses0" in str(error.value)


def test_a_line_that_is_no_rating(iemocap, parse):
    edit(evaluation(iemocap), "\tneu\t[2.5000, 2.5000, 2.5000]", "")
    with pytest.raises(MMFairseqError, match=r"_script01_1b.txt:3: expected '\[START - END\]"):
        parse("iemocap", iemocap)


def test_a_wrong_folder_is_named(tmp_path, parse):
    with pytest.raises(MMFairseqError, match="Session1/dialog/EmoEvaluation: no such folder; RAW must be IEMOCAP"):
        parse("iemocap", tmp_path)


def test_the_folder_above_the_release_is_understood(iemocap, parse):
    release = iemocap.parent / "IEMOCAP_full_release"
    iemocap.rename(release)
    assert parse("iemocap", iemocap.parent).manifest.root == release


def test_published_counts_agree_with_each_other():
    for number, counts in PUBLISHED.items():
        classes = [name for name in counts if len(name) == 3 and name != "all"]
        assert len(classes) == number == len(set(MAPS[number].values()))
        assert counts["all"] == sum(counts[label] for label in classes)
    four, five, six, nine = PUBLISHED.values()
    assert four["all"] == sum(four[f"Session{session}"] for session in range(1, 6)) == 5531
    assert six["hap"] + six["exc"] == four["hap"]
    assert five["all"] == four["all"] + six["fru"] == six["all"] == 7380
    assert nine["all"] + 3 + 2507 == RATED


def test_counts_are_compared(iemocap, parse):
    prepared = parse("iemocap", iemocap)
    with pytest.raises(MMFairseqError, match=r"all 25 instead of 5531; neu 5 instead of 1708.*--accept-counts"):
        base.check_counts(prepared)
    base.check_counts(prepared, accept=True)
    assert prepared.notes[-1].startswith("accepted: counts differ")
    prepared.published = dict(prepared.seen)
    base.check_counts(prepared)

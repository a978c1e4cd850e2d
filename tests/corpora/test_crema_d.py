"""A miniature CREMA-D in the form of the repository; the lines of its tables are in the form of the real ones."""

import wave
from collections import Counter

import pytest

from mm_fairseq.corpora import base, writing
from mm_fairseq.corpora.crema_d import ACTORS, CLASSES, KNOWN_BAD, LETTERS, PUBLISHED, SENTENCES, by_actor
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.targets import kind_of, read_targets

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 82026\n"
# Clip: votes of raters who heard, saw, did both.
CLIPS = {
    "1001_IEO_SAD_HI": ({"N": 7, "A": 1, "H": 1}, {"A": 3, "F": 3, "N": 1}, {"N": 9}),
    "1001_IOM_ANG_XX": ({"N": 7, "F": 2}, {"N": 6, "A": 4}, {"F": 4, "N": 4, "S": 1}),
    "1002_TSI_HAP_XX": ({"F": 5, "N": 4}, {"H": 7}, {"H": 10}),
    "1003_DFA_NEU_XX": ({"N": 10}, {"N": 8, "S": 2}, {"N": 9, "D": 1}),
    "1050_WSI_DIS_XX": ({"N": 4, "D": 3}, {"D": 9}, {"D": 6, "F": 1, "S": 2}),
    "1091_ITS_FEA_XX": ({"F": 6}, {"F": 8}, {"F": 9}),
    "1076_MTI_SAD_XX": ({"S": 3}, {"S": 3}, {"S": 3}),
}
PEOPLE = {"1001": (51, "Male"), "1002": (21, "Female"), "1003": (20, "Female"), "1050": (62, "Male")}
PEOPLE |= {"1076": (25, "Female"), "1091": (29, "Female")}


@pytest.fixture
def crema_d(tmp_path):
    root = tmp_path / "CREMA-D"
    for folder in ("AudioWAV", "VideoFlash", "processedResults"):
        (root / folder).mkdir(parents=True)
    for name in CLIPS:
        with wave.open(str(root / "AudioWAV" / f"{name}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes(bytes(3200))
        (root / "VideoFlash" / f"{name}.flv").write_bytes(b"FLV\x01")
    people = [f'{actor},{age},"{sex}","Caucasian","Not Hispanic"\n' for actor, (age, sex) in PEOPLE.items()]
    (root / "VideoDemographics.csv").write_text('"ActorID","Age","Sex","Race","Ethnicity"\n' + "".join(people))

    summary = ['"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"']
    tabulated = [
        '"",' + ",".join(f'"{letter}"' for letter in LETTERS) + ',"fileName","numResponses","agreement","emoVote"'
    ]
    for number, (name, presented) in enumerate(CLIPS.items(), start=1):
        winners = [":".join(sorted(k for k in votes if votes[k] == max(votes.values()))) for votes in presented]
        strengths = [":".join("50.5" for _ in winner.split(":")) for winner in winners]
        cells = [f'"{cell}"' for pair in zip(winners, strengths, strict=True) for cell in pair]
        summary.append(f'"{number}","{name}",' + ",".join(cells))
        for kind, (votes, winner) in enumerate(zip(presented, winners, strict=True), start=1):
            counts = ",".join(str(votes.get(letter, 0)) for letter in LETTERS)
            tabulated.append(f'"{kind * 100000 + number}",{counts},"{name}",{sum(votes.values())},0.5,"{winner}"')
    (root / "processedResults/summaryTable.csv").write_text("\n".join(summary) + "\n")
    (root / "processedResults/tabulatedVotes.csv").write_text("\n".join(tabulated) + "\n")
    return root


def column(prepared, name):
    return {row.id: row.labels.get(name, "") for row in prepared.manifest.utterances}


def test_a_row(crema_d, parse):
    prepared = parse("crema_d", crema_d)
    assert prepared.manifest.root == crema_d
    row = prepared.manifest.utterances[1]
    assert (row.id, row.speaker, row.split, row.session) == ("1001_IOM_ANG_XX", "1001", "", "")
    assert (row.audio, row.video) == ("AudioWAV/1001_IOM_ANG_XX.wav", "VideoFlash/1001_IOM_ANG_XX.flv")
    assert row.text == "I'm on my way to the meeting"
    assert row.labels == {
        "emotion": "ANG",
        "emotion_votes": "FEA=4|NEU=4|SAD=1",
        "sex": "Male",
        "age_group": "50-59",
        "race": "Caucasian",
        "ethnicity": "Not Hispanic",
        "level": "XX",
        "sentence": "IOM",
    }
    assert prepared.manifest.extra == list(row.labels)
    assert column(prepared, "level")["1001_IEO_SAD_HI"] == "HI"
    assert column(prepared, "age_group")["1003_DFA_NEU_XX"] == "20-29"


@pytest.mark.parametrize(
    ("label", "labels", "votes"),
    [
        ("intended", ["SAD", "ANG", "HAP"], ["NEU=9", "FEA=4|NEU=4|SAD=1", "HAP=10"]),
        ("voice", ["NEU", "NEU", "FEA"], ["ANG=1|HAP=1|NEU=7", "FEA=2|NEU=7", "FEA=5|NEU=4"]),
        ("face", ["", "NEU", "HAP"], ["ANG=3|FEA=3|NEU=1", "ANG=4|NEU=6", "HAP=7"]),
        ("multimodal", ["NEU", "", "HAP"], ["NEU=9", "FEA=4|NEU=4|SAD=1", "HAP=10"]),
    ],
)
def test_labels_and_the_votes_that_belong_to_them(crema_d, parse, label, labels, votes):
    prepared = parse("crema_d", crema_d, "--label", label)
    assert list(column(prepared, "emotion").values())[:3] == labels
    assert list(column(prepared, "emotion_votes").values())[:3] == votes
    assert prepared.targets[0].classes == CLASSES
    assert prepared.targets[0].votes == "emotion_votes"
    assert any("1 utterances have no label: a tie" in note for note in prepared.notes) == ("" in labels)
    kind = kind_of(prepared.targets[0])
    for row in prepared.manifest.utterances:
        kind.check(row.labels["emotion"], row.labels["emotion_votes"])


def test_without_the_counts_the_summary_votes(crema_d, parse):
    (crema_d / "processedResults/tabulatedVotes.csv").unlink()
    prepared = parse("crema_d", crema_d)
    votes = column(prepared, "emotion_votes")
    assert votes["1001_IOM_ANG_XX"] == "FEA=0.5|NEU=0.5"
    assert votes["1001_IEO_SAD_HI"] == "NEU=1"
    assert (
        "no tabulatedVotes.csv: the votes are one a clip, for what most raters chose (MultiModalVote)" in prepared.notes
    )


def test_a_copy_with_nothing_but_sound(crema_d, parse):
    for path in [*(crema_d / "processedResults").iterdir(), *(crema_d / "VideoFlash").iterdir()]:
        path.unlink()
    (crema_d / "VideoDemographics.csv").unlink()
    prepared = parse("crema_d", crema_d)
    assert prepared.manifest.extra == ["emotion", "level", "sentence"]
    assert prepared.targets[0].votes == ""
    assert {row.video for row in prepared.manifest.utterances} == {""}
    assert prepared.notes == [
        "no video: VideoFlash is not there, or empty",
        "no processedResults: there are no votes",
        "no VideoDemographics.csv: sex, age, race and ethnicity of the actors are not known",
    ]
    with pytest.raises(MMFairseqError, match=r"--label face: .*summaryTable.csv: no such file"):
        parse("crema_d", crema_d, "--label", "face")


def test_pointers_and_missing_media_are_said(crema_d, parse):
    (crema_d / "VideoFlash/1002_TSI_HAP_XX.flv").write_text(POINTER)
    (crema_d / "VideoFlash/1003_DFA_NEU_XX.flv").unlink()
    (crema_d / "AudioWAV/1003_DFA_NEU_XX.wav").write_text(POINTER)
    with pytest.raises(MMFairseqError) as error:
        parse("crema_d", crema_d)
    text = str(error.value)
    assert f"{crema_d}/AudioWAV/1003_DFA_NEU_XX.wav: a git-lfs pointer" in text
    assert "fetches it (and 1 more: 1002_TSI_HAP_XX.flv); " in text
    assert f"{crema_d}/VideoFlash/1003_DFA_NEU_XX.flv: no such file: copy or fetch it; " in text
    assert text.endswith("--accept-missing goes on without them")
    prepared = parse("crema_d", crema_d, "--accept-missing")
    rows = {row.id: row for row in prepared.manifest.utterances}
    assert "1003_DFA_NEU_XX" not in rows
    assert prepared.excluded == {"known bad": 1, "no media": 1}
    assert (rows["1002_TSI_HAP_XX"].audio, rows["1002_TSI_HAP_XX"].video) == ("AudioWAV/1002_TSI_HAP_XX.wav", "")
    assert sum(note.startswith("accepted: ") for note in prepared.notes) == 2


def test_empty_files_are_said(crema_d, parse):
    for name in ("1002_TSI_HAP_XX", "1003_DFA_NEU_XX"):
        (crema_d / f"VideoFlash/{name}.flv").write_bytes(b"")
    reason = r"VideoFlash/1002_TSI_HAP_XX.flv: 0 bytes .* \(and 1 more: 1003_DFA_NEU_XX.flv\); --accept-missing"
    with pytest.raises(MMFairseqError, match=reason):
        parse("crema_d", crema_d)
    rows = parse("crema_d", crema_d, "--accept-missing").manifest.utterances
    assert [row.id for row in rows if not row.video] == ["1002_TSI_HAP_XX", "1003_DFA_NEU_XX"]


def test_known_bad_clips_are_left_out_and_need_not_be_whole(crema_d, parse):
    (crema_d / "AudioWAV/1076_MTI_SAD_XX.wav").write_text(POINTER)
    prepared = parse("crema_d", crema_d)
    assert prepared.known_bad == {"1076_MTI_SAD_XX": "almost nothing in it"}
    assert prepared.excluded == {"known bad": 1}
    assert len(prepared.manifest) == len(CLIPS) - 1
    assert not KNOWN_BAD.keys() & {row.id for row in prepared.manifest.utterances}


def test_the_name_that_older_copies_have_wrong(crema_d, parse):
    file = crema_d / "AudioWAV/1002_TSI_HAP_XX.wav"
    file.rename(file.with_name("1002_TSI_HAP_X.wav"))
    row = parse("crema_d", crema_d).manifest.utterances[2]
    assert (row.id, row.audio, row.video[-10:]) == ("1002_TSI_HAP_XX", "AudioWAV/1002_TSI_HAP_X.wav", "HAP_XX.flv")
    file.write_bytes(b"RIFF")
    with pytest.raises(MMFairseqError, match=r"_XX.wav: the same clip as 1002_TSI_HAP_X.wav"):
        parse("crema_d", crema_d)


@pytest.mark.parametrize("name", ["1002_TSI_JOY_XX", "1092_TSI_HAP_XX", "1002_TSI_HAP", "1002_ABC_HAP_XX", "x"])
def test_a_name_that_is_no_clip(crema_d, parse, name):
    (crema_d / f"AudioWAV/{name}.wav").write_bytes(b"RIFF")
    with pytest.raises(MMFairseqError, match=rf"AudioWAV/{name}.wav: not the name of a clip, ACTOR_SENTENCE_"):
        parse("crema_d", crema_d)


def test_other_files_are_passed_over(crema_d, parse):
    (crema_d / "AudioWAV/._1001_IEO_SAD_HI.wav").write_bytes(b"\x00\x05")
    (crema_d / "AudioWAV/README.txt").write_text("x")
    assert len(parse("crema_d", crema_d).manifest) == len(CLIPS) - 1


def test_a_wrong_folder_is_named(tmp_path, parse):
    with pytest.raises(MMFairseqError, match=r"neither AudioWAV/\*.wav nor VideoFlash/\*.flv; RAW must be the clone"):
        parse("crema_d", tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("summaryTable.csv", '"F:N"', '"F:X"', r"summaryTable.csv:3: MultiModalVote 'X' is none of A, D, F, H, N, S"),
        (
            "summaryTable.csv",
            "MultiModalVote",
            "Vote",
            r"summaryTable.csv:1: no column 'MultiModalVote'; columns: '', 'F",
        ),
        (
            "tabulatedVotes.csv",
            '"300003",0,0,0,10',
            '"300003",0,0,0,ten',
            r"tabulatedVotes.csv:10: 'ten' is not a number",
        ),
        ("tabulatedVotes.csv", '"",', '"row",', r"tabulatedVotes.csv:1: no column ''; columns: 'row', 'A'"),
        (
            "../VideoDemographics.csv",
            "1002,21",
            "1002,old",
            r"VideoDemographics.csv:3: age 'old' is not a number of years",
        ),
    ],
)
def test_faults_in_the_tables_name_the_line(crema_d, parse, file, old, new, reason):
    path = crema_d / "processedResults" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(MMFairseqError, match=reason):
        parse("crema_d", crema_d)


def test_clips_and_actors_without_a_line_are_noted(crema_d, parse):
    for file in ("processedResults/tabulatedVotes.csv", "VideoDemographics.csv"):
        path = crema_d / file
        path.write_text("".join(line for line in path.open() if "1091" not in line))
    prepared = parse("crema_d", crema_d)
    row = prepared.manifest.utterances[-1]
    assert row.labels == {"emotion": "FEA", "emotion_votes": "", "level": "XX", "sentence": "ITS"}
    assert "1 clips have no votes: 1091_ITS_FEA_XX" in prepared.notes
    assert "VideoDemographics.csv has no line for the actors 1091" in prepared.notes


def test_counts_are_compared(crema_d, parse):
    prepared = parse("crema_d", crema_d)
    assert prepared.seen == {"clips": 7, "actors": 6} | dict.fromkeys(CLASSES, 1) | {"SAD": 2}
    with pytest.raises(MMFairseqError, match=r"clips 7 instead of 7442; actors 6 instead of 91; ANG 1 instead of 1271"):
        base.check_counts(prepared)
    # Three levels of the first sentence and one of the others make 14 clips an actor, neutral 12; twenty are wanting.
    assert sum(PUBLISHED[label] for label in CLASSES) == PUBLISHED["clips"] == 91 * (5 * 14 + 12) - 20
    assert len(SENTENCES) == 12


def test_folds_by_actor():
    rows = [Utterance(f"{actor}_{n}", speaker=actor) for actor in ACTORS for n in range(82)]
    folds = by_actor(rows)
    assert list(folds) == ["1", "2", "3", "4", "5"]
    actors = {
        fold: {split: {name[:4] for name in ids} for split, ids in splits.items()} for fold, splits in folds.items()
    }
    for fold, splits in actors.items():
        assert {split: len(found) for split, found in splits.items()}["test"] in (18, 19)
        assert set.union(*splits.values()) == set(ACTORS)
        assert sum(map(len, splits.values())) == 91
        assert splits["valid"] == actors[str(int(fold) % 5 + 1)]["test"]
    assert Counter(actor for splits in actors.values() for actor in splits["test"]) == dict.fromkeys(ACTORS, 1)
    assert sorted(actors["1"]["test"])[:3] == ["1008", "1010", "1012"]  # by `sha256sum | sort`, every fifth line


def test_folds_of_a_part_are_those_of_the_whole():
    whole, part = (by_actor([Utterance(a, speaker=a) for a in actors]) for actors in (ACTORS, ACTORS[::3]))
    for fold, splits in part.items():
        for split, ids in splits.items():
            assert set(ids) == set(whole[fold][split]) & set(ACTORS[::3])


def test_the_prepared_folder(crema_d, parse, tmp_path):
    prepared = parse("crema_d", crema_d)
    account = writing.write("crema_d", prepared, tmp_path / "out")
    assert account["votes"] == {"emotion": {"utterances": 6, "mean": round(56 / 6, 6)}}
    assert account["attributes"]["sex"] == {"Female": 3, "Male": 3}
    assert list(account["splits"]) == ["by_actor"]
    assert Manifest.read(tmp_path / "out/manifest.tsv").utterances == prepared.manifest.utterances
    assert read_targets(tmp_path / "out/targets.json") == prepared.targets

"""Kaldi's data folders: the toy in their form, and what may be wrong with them."""

import shutil

import numpy as np
import pytest
import soundfile

from mm_fairseq.corpora.speech_lists import named_lines
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import kaldi as toy

COUNT = 40


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    toy.write(out := tmp_path_factory.mktemp("toy") / "data", COUNT, seed=2)
    return out


@pytest.fixture
def raw(written, tmp_path):
    shutil.copytree(written, tmp_path / "data")
    return tmp_path / "data"


def by_id(prepared):
    return {row.id: row for row in prepared.manifest.utterances}


def first_line(file, line):
    lines = file.read_text().splitlines()
    file.write_text("\n".join([line, *lines[1:]]) + "\n")


def test_rows(raw, parse):
    prepared = parse("kaldi", raw)
    rows = by_id(prepared)
    assert len(rows) == COUNT
    row = rows["spk04-talk-0001"]
    assert (row.split, row.speaker, row.dialogue) == ("valid", "spk04", "spk04-talk")
    assert row.audio == "wav/spk04-talk.wav"
    assert 0.25 < row.start < row.end
    assert row.text
    given = {name: rest for _, name, rest in named_lines(raw / "dev/utt2emo")}
    assert {name: row.labels["emotion"] for name, row in rows.items() if row.split == "valid"} == given
    assert prepared.targets[0].classes == ("ang", "hap", "neu", "sad")
    splits = prepared.protocols["official"]["1"]
    assert [len(splits[name]) for name in ("train", "valid", "test")] == [20, 10, 10]
    assert prepared.notes == []


def test_the_segments_are_where_the_sound_is(raw, parse):
    for row in list(by_id(parse("kaldi", raw)).values())[:6]:
        sound, rate = soundfile.read(raw / row.audio)
        inside = sound[round(row.start * rate) : round(row.end * rate)]
        assert np.abs(inside).mean() > 0.01
        before = sound[round(row.start * rate) - 2000 : round(row.start * rate) - 100]
        assert np.abs(before).max() == 0


def test_one_folder_alone_is_drawn_by_speaker(raw, parse):
    prepared = parse("kaldi", raw / "train", "--root", str(raw))
    assert list(prepared.protocols) == ["by_speaker"]
    parts = [{name[:5] for name in ids} for ids in prepared.protocols["by_speaker"]["1"].values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 4
    (raw / "train/utt2spk").unlink()
    assert list(parse("kaldi", raw / "train", "--root", str(raw)).protocols) == ["random"]


def test_without_dev_a_part_of_train_is_drawn(raw, parse):
    shutil.rmtree(raw / "dev")
    prepared = parse("kaldi", raw)
    splits = prepared.protocols["official"]["1"]
    assert {name[:5] for name in splits["train"]}.isdisjoint({name[:5] for name in splits["valid"]})
    assert splits["valid"]
    assert "no list of valid" in prepared.notes[0]


def test_without_segments_every_recording_is_an_utterance(raw, parse):
    for part in toy.PARTS:
        for name in ("segments", "text", "utt2emo", "utt2spk"):
            (raw / part / name).unlink()
        names = [line.split()[0] for line in (raw / part / "wav.scp").read_text().splitlines()]
        (raw / part / "utt2label").write_text("".join(f"{name}\t{int(name[4]) % 2} calm\n" for name in names))
    prepared = parse("kaldi", raw, "--target", "mood")
    assert len(prepared.manifest) == toy_speakers()
    row = by_id(prepared)["spk00-talk"]
    assert (row.start, row.end, row.text, row.dialogue, row.labels) == (None, None, "", "", {"mood": "0 calm"})


def toy_speakers():
    return sum(map(len, toy.PARTS.values()))


def test_absolute_paths_and_an_end_that_is_the_recordings(raw, parse):
    for part in toy.PARTS:
        file = raw / part / "wav.scp"
        file.write_text(file.read_text().replace("wav/", f"{raw}/wav/"))
    first_line(raw / "test/segments", "spk06-talk-0030 spk06-talk 0.25 -1")
    prepared = parse("kaldi", raw, "--root", str(raw / "train"))
    assert prepared.manifest.root == raw / "wav"
    assert by_id(prepared)["spk06-talk-0030"].end is None


@pytest.mark.parametrize("line", ["spk00-talk sox a.wav -t wav - |", "spk00-talk | cat a.wav"])
def test_commands_are_refused_and_not_run(raw, parse, line, tmp_path):
    first_line(raw / "train/wav.scp", line.replace("a.wav", f"{tmp_path}/ran; touch {tmp_path}/ran"))
    with pytest.raises(
        MMFairseqError, match=r"wav.scp:1: recording 'spk00-talk': .* is a command; commands are not run"
    ):
        parse("kaldi", raw)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("file", "line", "told"),
    [
        ("wav.scp", "spk00-talk raw.ark:17", r"wav.scp:1: recording 'spk00-talk': 'raw.ark:17' lies in an archive"),
        ("wav.scp", "spk00-talk", r"wav.scp:1: recording 'spk00-talk': expected 'NAME PATH', there is no path"),
        ("wav.scp", "spk01-talk a.wav", r"wav.scp:2: 'spk01-talk' stands already in line 1"),
        (
            "wav.scp",
            "spk00-talk no.wav",
            r"segments:1: utterance 'spk00-talk-0000': 'no.wav': no such file \(and 4 more\)",
        ),
        ("segments", "a spk99-talk 0 1", r"segments:1: utterance 'a': recording 'spk99-talk' is not in .*wav.scp"),
        ("segments", "a spk00-talk 0", r"segments:1: utterance 'a': expected 'UTT REC START END' with two times"),
        ("segments", "a spk00-talk 0 x", r"segments:1: utterance 'a': expected 'UTT REC START END' with two times"),
        ("segments", "a spk00-talk 2 1", r"segments:1: utterance 'a': end 1 s is not behind start 2 s"),
        ("segments", "spk00-talk-0001 spk00-talk 0 1", r"segments:2: 'spk00-talk-0001' stands already in line 1"),
        ("utt2emo", "spk00-talk-0000 \udcff", r"utt2emo:1: byte 0xff is not UTF-8"),
    ],
)
def test_faults_of_a_line(raw, parse, file, line, told):
    path = raw / "train" / file
    lines = path.read_text().splitlines()
    path.write_bytes("\n".join([line, *lines[1:]]).encode(errors="surrogateescape"))
    with pytest.raises(MMFairseqError, match=told):
        parse("kaldi", raw)


def test_labels(raw, parse):
    with pytest.raises(MMFairseqError, match=r"segments:\d+: utterance 'spk00-talk-\d+': .*'sad'"):
        parse("kaldi", raw, "--classes", "neu,hap,ang")
    assert parse("kaldi", raw, "--classes", "neu,hap,sad,ang,fea").targets[0].classes[-1] == "fea"
    lines = (raw / "test/utt2emo").read_text().splitlines()
    (raw / "test/utt2emo").write_text("\n".join([*lines[1:-1], f"{lines[-1].split()[0]} odd", "nobody sad"]))
    with pytest.raises(
        MMFairseqError,
        match=r"test/segments:10: utterance 'spk07-talk-0004': label 'odd' stands in test but nowhere in train, which "
        r"has ang, hap, neu, sad; correct it, or, to keep it, name all classes by --classes",
    ):
        parse("kaldi", raw)
    prepared = parse("kaldi", raw, "--classes", "neu,hap,sad,ang,odd")
    assert prepared.targets[0].classes[-1] == "odd"
    assert "target 'emotion': 1 of 40 utterances have no label: spk06-talk-0000" in prepared.notes
    assert any("1 lines belong to no utterance: nobody" in note for note in prepared.notes)
    with pytest.raises(MMFairseqError, match=r"no labels, none of valence; --labels FILE names another file"):
        parse("kaldi", raw, "--labels", "valence")
    for part in toy.PARTS:
        names = [line.split()[0] for line in (raw / part / "utt2emo").read_text().splitlines() if "nobody" not in line]
        (raw / part / "valence").write_text("".join(f"{name} 2.5\n" for name in names))
    numbers = parse("kaldi", raw, "--labels", "valence", "--target", "valence:regression")
    assert numbers.targets[0].kind == "regression"


def test_labels_of_no_utterance(raw, parse):
    (raw / "test/segments").unlink()
    told = r"test/utt2emo:1: none of its \d+ names, as spk06-talk-0000, is an utterance here, as spk06-talk; is .*ments"
    with pytest.raises(MMFairseqError, match=told):
        parse("kaldi", raw)


def test_dev_and_test_without_train(raw, parse):
    shutil.rmtree(raw / "train")
    with pytest.raises(MMFairseqError, match=r"no wav.scp here and none in train, but in test; RAW must be"):
        parse("kaldi", raw)


def test_missing_recordings_and_folders(raw, parse, tmp_path):
    (raw / "wav/spk05-talk.wav").unlink()
    prepared = parse("kaldi", raw, "--accept-missing")
    assert prepared.excluded == {"no recording": 5}
    assert len(prepared.manifest) == COUNT - 5
    with pytest.raises(MMFairseqError, match=r"no wav.scp here and none in train, dev or test"):
        parse("kaldi", tmp_path)
    shutil.copytree(raw / "dev", raw / "valid")
    with pytest.raises(MMFairseqError, match=r"dev.wav.scp: .*valid.wav.scp is the valid part already"):
        parse("kaldi", raw)
    shutil.rmtree(raw / "valid")
    shutil.copytree(raw / "dev", raw / "eval")
    shutil.rmtree(raw / "test")
    with pytest.raises(MMFairseqError, match=r"the id stands already in .*dev/segments:1; ids are unique over all"):
        parse("kaldi", raw, "--accept-missing")
    (raw / "dev/wav.scp").write_text("")
    with pytest.raises(MMFairseqError, match=r"dev/wav.scp: holds no lines"):
        parse("kaldi", raw)

"""The raw release of CMU-MOSI in miniature."""

import h5py
import pytest
from cmu_files import POINTER, mosi, put, text, write_media

from mm_fairseq.corpora import base, writing
from mm_fairseq.corpora.cmu_mosi import LABELS, SEQUENCE, standard_fold
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest

TRANSCRIPT = "Transcript/Segmented/03bSnISJMiM.annotprocessed"


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("media"))


@pytest.fixture
def raw(tmp_path, media):
    return mosi(tmp_path / "MOSI", media)


def rows(prepared):
    return {row.id: row for row in prepared.manifest.utterances}


def test_a_row(raw, parse):
    prepared = parse("cmu_mosi", raw)
    row = rows(prepared)["03bSnISJMiM_2"]
    assert (row.split, row.speaker, row.dialogue, row.turn) == ("train", "", "03bSnISJMiM", "2")
    assert (row.start, row.end, row.text) == (2.0, 4.25, "SEGMENT 2 OF 03bSnISJMiM")
    assert row.audio == row.video == "Video/Segmented/03bSnISJMiM_2.mp4#t=0"
    assert row.medium("video")[1:3] == (None, None)
    assert row.labels == {"sentiment": "-0.8"}
    assert [target.kind for target in prepared.targets] == ["regression"]
    fold = prepared.protocols["official"]["1"]
    assert {split: len(ids) for split, ids in fold.items()} == {"train": 2, "valid": 1, "test": 1}
    assert rows(prepared)["X3j2zQgwYgE_1"].labels == {"sentiment": "0"}
    assert prepared.excluded == {"no label": 1}
    assert prepared.notes == ["left out, 1 segments without a label: 03bSnISJMiM_3"]


def test_published_sizes_are_compared(raw, parse, tmp_path):
    prepared = parse("cmu_mosi", raw)
    assert prepared.published == {"train": 1284, "valid": 229, "test": 686}
    with pytest.raises(MMFairseqError, match="train 2 instead of 1284; valid 1 instead of 229; test 1 instead of 686"):
        base.check_counts(prepared)
    writing.write("cmu_mosi", prepared, tmp_path / "out")
    assert Manifest.read(tmp_path / "out/manifest.tsv").utterances == prepared.manifest.utterances


def test_standard_folds_go_by_the_order_of_names():
    # Videos of the release on both sides of each border.
    known = {
        "train": ["03bSnISJMiM", "VbQk4H8hgr0", "W8NXH0Djyww"],
        "valid": ["WKA5OygbEKI", "_dI--eQ6qVU", "c5xsKMxpXnc"],
    }
    known["test"] = ["c7UH_rxdZv4", "cM3Yna7AavY", "zhpQhgha_KU"]
    for split, videos in known.items():
        assert [standard_fold(video) for video in videos] == [split] * 3


def test_other_folds(raw, parse, tmp_path):
    text(tmp_path / "folds.json", '{"train": ["d3_k5Xpfmik"], "val": ["X3j2zQgwYgE"], "test": ["zhpQhgha_KU"]}')
    prepared = parse("cmu_mosi", raw, "--folds", str(tmp_path / "folds.json"))
    assert {row.id: row.split for row in prepared.manifest.utterances} == {
        "X3j2zQgwYgE_1": "valid",
        "d3_k5Xpfmik_1": "train",
    }
    assert prepared.excluded == {"in no fold": 2}


def test_sound_of_its_own_and_whole_videos(raw, parse, media):
    put(media / "sound.wav", raw / "Audio/WAV_16000/Full/03bSnISJMiM.wav")
    for video in ("X3j2zQgwYgE", "d3_k5Xpfmik"):
        put(media / "sound.wav", raw / f"Audio/WAV_16000/Full/{video}.wav")
    (raw / "Video/Segmented").rename(raw / "Video/Full")
    for file in list((raw / "Video/Full").iterdir()):
        file.rename(file.with_name(f"{file.stem[:11]}.mp4"))
    row = rows(parse("cmu_mosi", raw))["03bSnISJMiM_2"]
    assert row.audio == "Audio/WAV_16000/Full/03bSnISJMiM.wav"
    assert row.video == "Video/Full/03bSnISJMiM.mp4"
    assert (row.medium("audio").start, row.medium("video").end) == (2.0, 4.25)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file: copy or fetch it"),
        (b"", "0 bytes in it"),
        (POINTER.encode(), "a git-lfs pointer"),
        ("cut", "no index in it, as of an mp4 that was cut off"),
        ("dark", "no picture in it"),
        ("still", "no sound in it"),
    ],
)
def test_recordings_that_can_not_be_used(raw, parse, media, content, reason):
    file = raw / "Video/Segmented/03bSnISJMiM_1.mp4"
    if content is None:
        file.unlink()
    elif content == "cut":
        file.write_bytes((media / "both.mp4").read_bytes()[:700])
    elif isinstance(content, str):
        put(media / f"{content}.mp4", file)
    else:
        file.write_bytes(content)
    with pytest.raises(MMFairseqError, match=rf"{file}: {reason}.*; --accept-missing goes on with what there is"):
        parse("cmu_mosi", raw)
    row = rows(parse("cmu_mosi", raw, "--accept-missing"))["03bSnISJMiM_1"]
    assert (bool(row.audio), bool(row.video), bool(row.text)) == (content == "dark", content == "still", True)
    without = parse("cmu_mosi", raw, "--modalities", "text")
    assert not without.notes[1:]
    assert {(row.audio, row.video) for row in without.manifest.utterances} == {("", "")}


def test_a_half_extracted_archive(raw, parse):
    for file in (raw / "Video/Segmented").iterdir():
        file.unlink()
    (raw / "Video/Segmented").rmdir()
    with pytest.raises(MMFairseqError, match=r"Video/Segmented/03bSnISJMiM_1.mp4: no such file.* \(and 3 more: "):
        parse("cmu_mosi", raw)
    assert len(parse("cmu_mosi", raw, "--accept-missing").manifest) == 4
    silent = parse("cmu_mosi", raw, "--accept-missing", "--modalities", "audio,video")
    assert (len(silent.manifest), silent.excluded["nothing there"]) == (0, 4)
    (raw / "Transcript").rename(raw / "Transkript")
    (raw / "MOSI.zip").write_bytes(b"PK")
    with pytest.raises(
        MMFairseqError, match=r"neither the raw release \(Transcript/Segmented\).*extract MOSI.zip first"
    ):
        parse("cmu_mosi", raw)
    with pytest.raises(MMFairseqError, match=r"MOSI\.zip is an archive: extract it first"):
        parse("cmu_mosi", raw / "MOSI.zip")


def test_a_label_without_a_sentence(raw, parse):
    text(raw / TRANSCRIPT, "1_DELIM_ONE\n")
    (raw / "Transcript/Segmented/d3_k5Xpfmik.annotprocessed").unlink()
    with pytest.raises(
        MMFairseqError, match="2 labels have no sentence among the transcripts: 03bSnISJMiM_2, d3_k5Xpf"
    ):
        parse("cmu_mosi", raw)
    prepared = parse("cmu_mosi", raw, "--accept-missing")
    assert sorted(rows(prepared)) == ["03bSnISJMiM_1", "X3j2zQgwYgE_1"]
    assert prepared.excluded == {"no sentence": 2}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("1_DELIM_A\n2 DELIM B\n", r":2: expected NUMBER_DELIM_TEXT, found '2 DELIM B'"),
        ("1_DELIM_A\n\nx_DELIM_B\n", r":3: expected NUMBER_DELIM_TEXT"),
        ("1_DELIM_A\n1_DELIM_B\n", r":2: segment 1 stands already in line 1"),
    ],
)
def test_lines_that_are_none(raw, parse, content, reason):
    text(raw / TRANSCRIPT, content)
    with pytest.raises(MMFairseqError, match=TRANSCRIPT + reason):
        parse("cmu_mosi", raw)


@pytest.mark.parametrize("value", [3.5, -3.01, float("nan")])
def test_a_sentiment_out_of_range(raw, parse, value):
    with h5py.File(raw / "labels" / LABELS, "a") as content:
        content[SEQUENCE]["data/03bSnISJMiM/features"][1, 0] = value
    with pytest.raises(MMFairseqError, match=rf"{LABELS}: '03bSnISJMiM' row 1: sentiment {value:g} is not a number"):
        parse("cmu_mosi", raw)


def test_times_that_are_none(raw, parse):
    with h5py.File(raw / "labels" / LABELS, "a") as content:
        content[SEQUENCE]["data/03bSnISJMiM/intervals"][1] = 4.0, 2.0
    with pytest.raises(
        MMFairseqError, match=rf"{TRANSCRIPT}:2: utterance '03bSnISJMiM_2': end 2 s is not behind start"
    ):
        parse("cmu_mosi", raw)


def test_where_the_labels_are(raw, parse, tmp_path):
    (raw / "labels" / LABELS).rename(raw / "mine.csd")
    with pytest.raises(MMFairseqError, match=f"no {LABELS}, the labels as the CMU-MultimodalSDK releases them"):
        parse("cmu_mosi", raw)
    assert len(parse("cmu_mosi", raw, "--labels", "mine.csd").manifest) == 4
    with pytest.raises(MMFairseqError, match=r"--labels yours.csd: .*yours.csd: no such file"):
        parse("cmu_mosi", raw, "--labels", "yours.csd")


def test_texts_of_windows_and_hidden_files(raw, parse):
    (raw / TRANSCRIPT).write_bytes("1_DELIM_IT\u2019S\r\n2_DELIM_TWO\tTABS\r\n".encode("cp1252"))
    (raw / "Transcript/Segmented/._03bSnISJMiM.annotprocessed").write_bytes(b"\0\5")
    found = rows(parse("cmu_mosi", raw))
    assert found["03bSnISJMiM_1"].text == "IT\u2019S"
    assert found["03bSnISJMiM_2"].text == "TWO TABS"

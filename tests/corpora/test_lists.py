import json
import shutil

import pytest
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from mm_fairseq.corpora.lists import PRESETS, gpt2_decoder
from mm_fairseq.corpora.recordings import EMPTY, MISSING, POINTER
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.targets import Target

SUFFIX = {"a": ".wav", "t": ".txt", "v": ".mp4"}
NAMES = {"train": ["u1", "u2"], "valid": ["u3"], "test": ["u4"]}
LABELS = {"u1": "neu", "u2": "exc", "u3": "sad", "u4": "ang"}


def lists(tmp_path, names=NAMES, labels=LABELS, modalities="atv", column="Emotion", root=None):
    """A folder of lists whose files lie in `media/<modality>` beside it."""
    folder = tmp_path / "lists"
    folder.mkdir()
    for split, stems in names.items():
        for letter in modalities:
            media = tmp_path / "media" / letter
            media.mkdir(parents=True, exist_ok=True)
            files = [stem + SUFFIX[letter] for stem in stems]
            for file in files:
                (media / file).write_text(f"Words of {file}.\n")
            (folder / f"{split}_{letter}.tsv").write_text("\n".join([str(root or media), *files]) + "\n")
        rows = [f"{stem},{labels[stem]}" for stem in reversed(stems)]
        (folder / f"label_file_{split}.csv").write_text("\n".join([f"FileName,{column}", *rows]) + "\n")
    return folder


@pytest.fixture
def bpe(tmp_path):
    """dict.txt and encoder.json of a BPE whose tokens are the 256 bytes, and one token of two letters."""
    folder = tmp_path / "gpt2"
    folder.mkdir()
    tokens = [*bytes_to_unicode().values(), "He"]
    (folder / "encoder.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "dict.txt").write_text("".join(f"{number} 1\n" for number in reversed(range(len(tokens)))))
    return folder


def token_ids(text, bpe):
    tokens = json.loads((bpe / "encoder.json").read_text())
    lines = [line.split()[0] for line in (bpe / "dict.txt").read_text().splitlines()]
    letters = [bytes_to_unicode()[byte] for byte in text.encode()]
    if letters[:2] == ["H", "e"]:
        letters[:2] = ["He"]
    return [0, *(lines.index(str(tokens[letter])) + 4 for letter in letters), 2]


def test_rows(tmp_path, parse):
    prepared = parse("lists", lists(tmp_path), "--classes", "iemocap")
    assert prepared.manifest.root == tmp_path / "media"
    assert prepared.targets == [Target("emotion", "single", ("neu", "sad", "ang", "hap"))]
    row = prepared.manifest.utterances[1]
    assert (row.id, row.split, row.audio, row.video, row.text) == (
        "u2",
        "train",
        "a/u2.wav",
        "v/u2.mp4",
        "Words of u2.txt.",
    )
    assert row.labels == {"emotion": "hap"}
    assert prepared.protocols == {"official": {"1": {"train": ["u1", "u2"], "valid": ["u3"], "test": ["u4"]}}}


@pytest.mark.parametrize("modalities", ["a", "t", "v", "at", "tv"])
def test_any_subset_of_modalities(tmp_path, parse, modalities):
    prepared = parse("lists", lists(tmp_path, modalities=modalities), "--classes", "iemocap")
    row = prepared.manifest.utterances[0]
    assert (bool(row.audio), bool(row.text), bool(row.video)) == tuple(letter in modalities for letter in "atv")


def test_numbers_are_places_in_the_classes(tmp_path, parse):
    folder = lists(tmp_path, labels={"u1": "0", "u2": "3", "u3": "1", "u4": "2"})
    prepared = parse("lists", folder, "--classes", "iemocap")
    assert [row.labels["emotion"] for row in prepared.manifest.utterances] == ["neu", "hap", "sad", "ang"]


def test_numbers_without_names_are_an_error(tmp_path, parse):
    folder = lists(tmp_path, labels=dict.fromkeys(LABELS, "0"))
    with pytest.raises(MMFairseqError, match=r"the labels are numbers \(0\): give --classes.*iemocap, meld"):
        parse("lists", folder)


def test_names_without_classes_are_sorted(tmp_path, parse):
    assert parse("lists", lists(tmp_path)).targets[0].classes == ("ang", "exc", "neu", "sad")


def test_sentiment_is_a_number(tmp_path, parse):
    folder = lists(tmp_path, labels={"u1": "1.5", "u2": "-3", "u3": "0", "u4": "2"}, column="sentiment_score")
    prepared = parse("lists", folder)
    assert prepared.targets == [Target("sentiment", "regression")]
    assert prepared.manifest.utterances[0].labels == {"sentiment": "1.5"}


def test_map_renames_and_leaves_out(tmp_path, parse):
    prepared = parse("lists", lists(tmp_path), "--classes", "neu,sad,joy", "--map", "exc=joy,ang=")
    assert [row.labels["emotion"] for row in prepared.manifest.utterances] == ["neu", "joy", "sad"]
    assert prepared.excluded == {"ang": 1}
    assert prepared.protocols["official"]["1"]["test"] == []


def test_a_label_outside_the_classes_is_named(tmp_path, parse):
    with pytest.raises(
        MMFairseqError, match=r"label_file_train.csv:2: utterance 'u2': label 'exc' .* none of neu, sad, ang"
    ):
        parse("lists", lists(tmp_path), "--classes", "neu,sad,ang")


@pytest.mark.parametrize("text", ["Hello.", "Hey, it’s a café", " two  words\n"])
def test_token_ids_become_the_transcript(tmp_path, parse, bpe, text):
    folder = lists(tmp_path)
    (tmp_path / "media/t/u1.txt").write_text("\t".join(map(str, token_ids(text, bpe))))
    prepared = parse("lists", folder, "--classes", "iemocap", "--gpt2", str(bpe))
    assert prepared.manifest.utterances[0].text == " ".join(text.split())
    assert prepared.manifest.utterances[1].text == "Words of u2.txt."


def test_token_ids_without_the_vocabulary_are_an_error(tmp_path, parse):
    folder = lists(tmp_path)
    (tmp_path / "media/t/u1.txt").write_text("0\t713\t2")
    with pytest.raises(MMFairseqError, match=r"train_t.tsv:2: u1.txt holds token ids.*--gpt2 DIR"):
        parse("lists", folder, "--classes", "iemocap")


def test_token_ids_of_another_vocabulary_are_an_error(tmp_path, parse, bpe):
    folder = lists(tmp_path)
    (tmp_path / "media/t/u1.txt").write_text("0\t7130\t2")
    with pytest.raises(MMFairseqError, match=r"train_t.tsv:2: u1.txt: the token ids do not belong"):
        parse("lists", folder, "--classes", "iemocap", "--gpt2", str(bpe))


def test_a_folder_without_the_vocabulary(tmp_path):
    with pytest.raises(MMFairseqError, match=r"expected dict.txt and encoder.json of RoBERTa"):
        gpt2_decoder(tmp_path)


def test_a_transcript_of_numbers_stays(tmp_path, parse):
    folder = lists(tmp_path)
    (tmp_path / "media/t/u1.txt").write_text("2 0 1 9")
    assert parse("lists", folder, "--classes", "iemocap").manifest.utterances[0].text == "2 0 1 9"


def test_tensors_are_not_sound_unless_the_sound_lies_beside(tmp_path, parse):
    folder = lists(tmp_path)
    path = folder / "train_a.tsv"
    path.write_text(path.read_text().replace(".wav", ".pt"))
    rows = parse("lists", folder, "--classes", "iemocap").manifest.utterances
    assert [row.audio for row in rows[:2]] == ["a/u1.wav", "a/u2.wav"]
    (tmp_path / "media/a/u2.wav").unlink()
    with pytest.raises(MMFairseqError, match=r"train_a.tsv:3: u2.pt is a saved tensor, not sound"):
        parse("lists", folder, "--classes", "iemocap")


def test_an_utterance_in_two_splits_has_an_id_in_each(tmp_path, parse):
    folder = lists(tmp_path, names=NAMES | {"test": ["u4", "u3"]})
    prepared = parse("lists", folder, "--classes", "iemocap")
    assert prepared.protocols["official"]["1"]["valid"] == ["valid/u3"]
    assert prepared.protocols["official"]["1"]["test"] == ["test/u4", "test/u3"]
    assert prepared.same == {"valid/u3": "u3", "test/u3": "u3"}
    assert prepared.notes[0] == "1 names stand in two splits; ids are SPLIT/NAME: u3"
    assert prepared.manifest.utterances[-1].labels == {"emotion": "sad"}


def test_names_that_begin_anew_in_every_split_are_no_leak(tmp_path, parse):
    folder = lists(tmp_path, names=NAMES | {"test": ["u1", "u4"]})
    for letter in "atv":
        path = folder / f"test_{letter}.tsv"
        other = tmp_path / "tested" / letter
        shutil.copytree(tmp_path / "media" / letter, other)
        path.write_text(path.read_text().replace(str(tmp_path / "media" / letter), str(other)))
    prepared = parse("lists", folder, "--classes", "iemocap")
    assert prepared.protocols["official"]["1"]["test"] == ["test/u1", "test/u4"]
    assert prepared.same == {}
    path.write_text(path.read_text().replace(str(other), str(tmp_path / "media" / letter)))
    assert parse("lists", folder, "--classes", "iemocap").same == {"train/u1": "u1", "test/u1": "u1"}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("u1.wav\nu2.wav", "u2.wav\nu1.wav", r"train_t.tsv:2: 'u1' is another utterance than 'u2' in .*train_a.tsv:2"),
        ("u1.wav\nu2.wav", "u1.wav\nu1.wav", r"train_a.tsv:3: 'u1' stands already in .*train_a.tsv:2"),
        ("u1.wav\nu2.wav", "u1.wav", r"train_t.tsv: 2 files, but train_a.tsv has 1"),
        ("media", "elsewhere", r"train_a.tsv:1: .*elsewhere/a' is no folder here; correct the line, or give --root"),
        ("u1.wav", "../t/u1.wav", r"train_a.tsv:2: utterance 'u1': '../t/u1.wav' leads out of the folder '.*media/a'"),
    ],
)
def test_lists_that_do_not_fit_are_named(tmp_path, parse, old, new, reason):
    folder = lists(tmp_path)
    path = folder / "train_a.tsv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(MMFairseqError, match=reason):
        parse("lists", folder, "--classes", "iemocap")


def test_root_replaces_the_folders_of_the_lists(tmp_path, parse):
    folder = lists(tmp_path, root="/gone", modalities="a")
    prepared = parse("lists", folder, "--classes", "iemocap", "--root", str(tmp_path / "media/a"))
    assert prepared.manifest.root == tmp_path / "media/a"
    assert prepared.manifest.utterances[0].audio == "u1.wav"


def test_labels_that_do_not_fit_are_named(tmp_path, parse):
    folder = lists(tmp_path)
    path = folder / "label_file_train.csv"
    complete = path.read_text()
    path.write_text(complete + "u9.wav,neu\n")
    assert "train: 1 labels belong to no utterance of the lists: u9" in parse("lists", folder).notes
    path.write_text(complete + "u1.wav,sad\n")
    with pytest.raises(MMFairseqError, match=r":4: utterance 'u1': label 'sad', but 'neu' in an earlier line"):
        parse("lists", folder)
    path.write_text("FileName,Emotion\nu1,neu\n")
    with pytest.raises(MMFairseqError, match=r"label_file_train.csv: utterance 'u2': no line"):
        parse("lists", folder)
    path.write_text("FileName,Mood\nu1,neu\n")
    with pytest.raises(
        MMFairseqError, match=r":1: expected FileName and Emotion or sentiment_score, found FileName, Mood"
    ):
        parse("lists", folder)


def test_files_that_are_not_there(tmp_path, parse):
    """An utterance keeps what it has; one that has nothing is left out, and counted. A transcript may be empty."""
    folder, media = lists(tmp_path), tmp_path / "media"
    (media / "t/u2.txt").unlink()
    (media / "t/u3.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 82026\n")
    (media / "t/u1.txt").write_text("")
    (media / "v/u1.mp4").write_text("")
    for file in ("a/u4.wav", "t/u4.txt", "v/u4.mp4"):
        (media / file).unlink()
    told = [
        f"{media}/v/u1.mp4: {EMPTY}",
        f"{media}/t/u2.txt: {MISSING} (and 3 more: u4.wav, u4.txt, u4.mp4)",
        f"{media}/t/u3.txt: {POINTER}",
    ]
    with pytest.raises(MMFairseqError) as error:
        parse("lists", folder)
    assert str(error.value) == (
        f"{'; '.join(told)}; --accept-missing goes on without them; --root DIR reads them elsewhere"
    )
    prepared = parse("lists", folder, "--accept-missing")
    assert prepared.notes == [f"accepted: {each}" for each in told]
    assert [(row.id, row.audio, row.video, row.text) for row in prepared.manifest.utterances] == [
        ("u1", "a/u1.wav", "", ""),
        ("u2", "a/u2.wav", "v/u2.mp4", ""),
        ("u3", "a/u3.wav", "v/u3.mp4", ""),
    ]
    assert prepared.excluded == {"no recording": 1}
    assert prepared.protocols["official"]["1"] == {"train": ["u1", "u2"], "valid": ["u3"], "test": []}


def test_a_folder_without_lists(tmp_path, parse):
    with pytest.raises(MMFairseqError, match=r"no lists here; expected files such as train_a.tsv"):
        parse("lists", tmp_path)


def test_presets_have_the_originals_order():
    assert PRESETS["iemocap"][0].index("hap") == 3
    assert PRESETS["meld"][0].index("joy") == 3
    assert len(PRESETS["meld"][0]) == 7

"""A miniature Fluent Speech Commands in both forms of its tables, and the ways they can be damaged."""

import csv
import wave

import pytest

from mm_fairseq.corpora import base, writing
from mm_fairseq.corpora.fluent_speech_commands import CLASSES, PUBLISHED
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import normalised
from mm_fairseq.targets import kind_of

HEADER = ["", "path", "speakerId", "transcription", "action", "object", "location"]
SAID = {
    ("activate", "lights", "kitchen"): ["Turn on the kitchen lights", "Kitchen lights on", "Lights on in the kitchen"],
    ("activate", "music", "none"): ["Play the music", "Start the music", "Put on the music", "Play music"],
    ("bring", "socks", "none"): ["Bring me the socks", "Get me the socks"],
    ("change language", "none", "none"): ["Change language"],
}
SPEAKERS = {"train": ["AbC", "dEf", "7gH"], "valid": ["iJk"], "test": ["lMn"]}


def save(root, split, rows, columns=HEADER):
    places = [HEADER.index(name) for name in columns]
    file = root / "data" / f"{split}_data.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows([columns, *([row[place] for place in places] for row in rows)])


def record(path, frames=800):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(2 * frames))


@pytest.fixture
def tables():
    """{split: rows}: every speaker says every sentence."""
    return {
        split: [
            [str(n), f"wavs/speakers/{speaker}/{speaker.lower()}-{n}.wav", speaker, text, *intent]
            for n, (speaker, text, intent) in enumerate(
                (speaker, text, intent) for speaker in speakers for intent, texts in SAID.items() for text in texts
            )
        ]
        for split, speakers in SPEAKERS.items()
    }


@pytest.fixture
def corpus(tmp_path, tables):
    root = tmp_path / "fsc"
    for split, rows in tables.items():
        save(root, split, rows)
        for row in rows:
            record(root / row[1])
    return root


def test_a_row_and_the_targets(corpus, parse):
    prepared = parse("fluent_speech_commands", corpus)
    row = prepared.manifest.utterances[1]
    assert (row.id, row.speaker, row.audio) == ("AbC_abc-1", "AbC", "wavs/speakers/AbC/abc-1.wav")
    assert (row.text, row.split) == ("Kitchen lights on", "")
    assert row.labels == {"action": "activate", "object": "lights", "location": "kitchen"}
    assert {target.name: target.classes for target in prepared.targets} == CLASSES  # whatever this copy has
    assert [kind_of(target).outputs for target in prepared.targets] == [6, 14, 4]


def test_published_classes_make_the_intents_possible():
    assert [len(classes) for classes in CLASSES.values()] == [6, 14, 4]
    assert all(len(set(classes)) == len(classes) for classes in CLASSES.values())


def test_both_forms_of_the_tables_are_the_same_corpus(corpus, tables, parse):
    first = parse("fluent_speech_commands", corpus)
    for split, rows in tables.items():
        save(corpus, split, rows, [name for name in HEADER if name not in ("", "speakerId")])
    second = parse("fluent_speech_commands", corpus)
    assert first.manifest.utterances == second.manifest.utterances
    assert first.protocols == second.protocols


def test_tables_elsewhere_and_a_folder_around(corpus, parse):
    (corpus / "data").rename(corpus / "my tables")
    with pytest.raises(MMFairseqError, match=r"data/train_data\.csv: no such file.*--csv"):
        parse("fluent_speech_commands", corpus)
    first = parse("fluent_speech_commands", corpus, "--csv", "my tables")
    (corpus.parent / "around").mkdir()
    corpus.rename(corpus.parent / "around" / "fluent_speech_commands_dataset")
    second = parse("fluent_speech_commands", corpus.parent / "around", "--csv", "my tables")
    assert first.manifest.utterances == second.manifest.utterances


def test_counts_are_compared(corpus, parse):
    prepared = parse("fluent_speech_commands", corpus)
    assert prepared.seen == {"train": 30, "valid": 10, "test": 10, "speakers": 5, "intents": 4}
    assert prepared.details == {"sentences": 10}
    assert PUBLISHED == {"train": 23132, "valid": 3118, "test": 3793, "speakers": 97, "intents": 31}
    with pytest.raises(MMFairseqError, match=r"train 30 instead of 23132.*--accept-counts"):
        base.check_counts(prepared)


def test_official_and_speaker_disjoint_protocols(corpus, parse):
    prepared = parse("fluent_speech_commands", corpus)
    speaker = {row.id: row.speaker for row in prepared.manifest.utterances}
    official = prepared.protocols["official"]["1"]
    assert {split: sorted({speaker[i] for i in ids}) for split, ids in official.items()} == {
        split: sorted(names) for split, names in SPEAKERS.items()
    }
    folds = prepared.protocols["unseen_speakers"]
    assert list(folds) == ["1", "2", "3", "4", "5"]
    tested = []
    for fold in folds.values():
        people = [{speaker[i] for i in ids} for ids in fold.values()]
        assert sum(map(len, people)) == len(set.union(*people)) == 5
        assert sum(map(len, fold.values())) == len(speaker)
        tested += fold["test"]
    assert sorted(tested) == sorted(speaker)
    assert next(iter(prepared.protocols)) == "official"


def test_unseen_phrasings_share_no_sentence_but_every_label(corpus, parse):
    prepared = parse("fluent_speech_commands", corpus)
    rows = {row.id: row for row in prepared.manifest.utterances}
    fold = prepared.protocols["unseen_phrasings"]["1"]
    said = {split: {normalised(rows[i].text) for i in ids} for split, ids in fold.items()}
    assert not said["train"] & (said["valid"] | said["test"])
    assert not said["valid"] & said["test"]
    intents = {split: {tuple(rows[i].labels.values()) for i in ids} for split, ids in fold.items()}
    assert intents["train"] == set(SAID)
    assert intents["test"] == {intent for intent, texts in SAID.items() if len(texts) > 1}
    assert intents["valid"] == {intent for intent, texts in SAID.items() if len(texts) > 2}
    notes = " ".join(prepared.notes)
    assert "too few sentences for test: change language / none / none" in notes
    assert "too few sentences for valid: bring / socks / none, change language / none / none" in notes


def test_protocols_do_not_depend_on_the_order_of_rows(corpus, tables, parse):
    first = parse("fluent_speech_commands", corpus).protocols
    for split, rows in tables.items():
        save(corpus, split, rows[::-1])
    second = parse("fluent_speech_commands", corpus).protocols
    for protocol, folds in first.items():
        for fold, splits in folds.items():
            for split, ids in splits.items():
                assert sorted(ids) == sorted(second[protocol][fold][split])


def test_what_unseen_phrasings_cannot_meet_is_told(corpus, tables, parse):
    """One sentence with two labels goes as a whole; a word of test alone is named."""
    for rows in tables.values():
        for row in rows:
            if row[3] == "Play music":
                row[3] = "Bring me the socks"
    for split, rows in tables.items():
        save(corpus, split, rows)
    prepared = parse("fluent_speech_commands", corpus)
    rows = {row.id: row for row in prepared.manifest.utterances}
    fold = prepared.protocols["unseen_phrasings"]["1"]
    said = [{normalised(rows[i].text) for i in ids} for ids in fold.values()]
    assert not said[0] & (said[1] | said[2])
    assert "words of valid and test that train lacks" in " ".join(prepared.notes)


def test_too_few_speakers_or_sentences_leave_a_protocol_out(corpus, tables, parse):
    one = [row for row in tables["train"] if row[3] == "Change language"]
    save(corpus, "train", one[:1])
    for split in ("valid", "test"):
        (corpus / "data" / f"{split}_data.csv").unlink()
    with pytest.raises(MMFairseqError, match=r"valid_data\.csv: no such file; --accept-counts"):
        parse("fluent_speech_commands", corpus)
    prepared = parse("fluent_speech_commands", corpus, "--accept-counts")
    assert list(prepared.protocols) == ["official"]
    assert len([note for note in prepared.notes if note.startswith("no protocol")]) == 2
    assert prepared.protocols["official"]["1"] == {"train": ["AbC_abc-9"], "valid": [], "test": []}


@pytest.mark.parametrize("column", ["path", "transcription", "action", "object", "location"])
def test_a_column_that_is_missing(corpus, tables, parse, column):
    save(corpus, "valid", tables["valid"], [name for name in HEADER if name != column])
    with pytest.raises(MMFairseqError, match=rf"valid_data\.csv:1: no column '{column}'; columns: '', "):
        parse("fluent_speech_commands", corpus)


@pytest.mark.parametrize(
    ("split", "column", "value", "words"),
    [
        ("test", "action", "dance", r"test_data\.csv:4: column 'action': 'dance' is none of activate, bring, "),
        ("train", "object", "light", r"train_data\.csv:4: column 'object': 'light' is none of Chinese, "),
        ("valid", "location", "washroom", r"valid_data\.csv:4: column 'location': 'washroom' does not occur in train"),
        ("valid", "object", "", r"valid_data\.csv:4: column 'object' is empty"),
        ("valid", "path", "", r"valid_data\.csv:4: column 'path' is empty"),
        ("valid", "path", "wavs/speakers/iJk/nowhere.wav", r"valid_data\.csv:4: .*nowhere\.wav': no such file"),
        ("valid", "path", "wavs/speakers/xYz/ijk-2.wav", r"valid_data\.csv:4: .*'iJk', but the path is of .*'xYz'"),
        ("valid", "path", "../out/speakers/iJk/a.wav", r"valid_data\.csv:4: utterance 'iJk_a': .*out of the root"),
        ("valid", "path", "wavs/speakers/iJk/ijk-0.wav", r"valid_data\.csv:4: .*already in .*valid_data\.csv:2"),
        ("test", "path", "wavs/./speakers/lMn/lmn-0.wav", r"test_data\.csv:4: .*already in .*test_data\.csv:2"),
        ("valid", "path", "old/speakers/iJk/ijk-0.wav", r"valid_data\.csv:4: .*the same speaker and file name"),
    ],
)
def test_damaged_rows_are_named(corpus, tables, parse, split, column, value, words):
    tables[split][2][HEADER.index(column)] = value
    save(corpus, split, tables[split])
    with pytest.raises(MMFairseqError, match=words):
        parse("fluent_speech_commands", corpus)


def test_a_path_without_a_speaker(corpus, tables, parse):
    tables["train"][0][1] = "a.wav"
    save(corpus, "train", tables["train"], [name for name in HEADER if name != "speakerId"])
    with pytest.raises(MMFairseqError, match=r"train_data\.csv:2: column 'path': 'a\.wav' names no speaker"):
        parse("fluent_speech_commands", corpus)


def test_the_same_recording_in_two_splits(corpus, tables, parse):
    save(corpus, "test", [*tables["test"], tables["train"][4]])
    with pytest.raises(MMFairseqError, match=r"test_data\.csv:12: .*stands already in .*train_data\.csv:6"):
        parse("fluent_speech_commands", corpus)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data.replace(b"iJk,", b"i\xffk,", 1), r"valid_data\.csv:2: byte 0xff is not UTF-8"),
        (lambda data: data.replace(b"Kitchen lights on", b'"Kitchen', 1), r"valid_data\.csv:"),
        (lambda data: data.replace(b",none", b"", 1), r"valid_data\.csv:5: 6 fields, the header has 7"),
        (lambda data: data[: data.index(b"\n") + 1], r"valid_data\.csv: holds no records"),
        (lambda data: b"", r"valid_data\.csv: holds no records"),
    ],
)
def test_a_damaged_table(corpus, parse, damage, words):
    file = corpus / "data" / "valid_data.csv"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(MMFairseqError, match=words):
        parse("fluent_speech_commands", corpus)


def test_further_labels_and_missing_or_empty_recordings_can_be_accepted(corpus, tables, parse):
    for split in tables:
        tables[split][0][4] = "dim"
        save(corpus, split, tables[split])
    record(corpus / tables["valid"][3][1], frames=0)
    (corpus / tables["valid"][5][1]).write_bytes(b"")
    (corpus / tables["test"][1][1]).unlink()
    with pytest.raises(MMFairseqError, match=r"'dim' is none of .*--accept-counts takes further labels"):
        parse("fluent_speech_commands", corpus)
    with pytest.raises(MMFairseqError, match=r"test_data\.csv:3: .*no such file; --accept-missing"):
        parse("fluent_speech_commands", corpus, "--accept-counts")
    (corpus / tables["test"][1][1]).write_bytes(b"RIFF....")  # decoding will tell what that is
    with pytest.raises(MMFairseqError, match=r"valid_data\.csv:5: .*no samples in the file, and 1 more; --accept-m"):
        parse("fluent_speech_commands", corpus, "--accept-counts")
    prepared = parse("fluent_speech_commands", corpus, "--accept-counts", "--accept-missing")
    assert prepared.excluded == {"no samples in the file": 2}
    assert prepared.seen["valid"] == 8
    assert next(t for t in prepared.targets if t.name == "action").classes[-1] == "dim"
    assert "labels that the corpus does not have: dim" in " ".join(prepared.notes)


def test_it_is_written(corpus, parse, tmp_path):
    account = writing.write("fluent_speech_commands", parse("fluent_speech_commands", corpus), tmp_path / "out")
    assert [each["name"] for each in account["protocols"]] == ["official", "unseen_speakers", "unseen_phrasings"]
    assert (tmp_path / "out/splits/unseen_speakers/3/test").read_text().strip()

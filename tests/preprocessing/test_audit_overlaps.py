from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from mm_fairseq.corpora import ParsedCorpus
from mm_fairseq.corpora.base import APART, SPLITS
from mm_fairseq.manifest import Manifest, Utterance, normalised
from mm_fairseq.preprocessing.audit_files import Files
from mm_fairseq.preprocessing.audit_overlaps import named_paths, overlaps
from mm_fairseq.targets import Target


def corpus(rows, protocols=None, **settings):
    protocols = protocols or {"official": {"1": {split: [r.id for r in rows if r.split == split] for split in SPLITS}}}
    return ParsedCorpus(
        Manifest(Path("/data"), ["e"], rows), [Target("e", "single", ("no", "yes"))], protocols, **settings
    )


def found(prepared, **same_bytes):
    """The overlaps by pair and what, where paths named as keywords have the number of another path."""
    paths = named_paths(prepared.manifest.utterances)
    number = {path: n for n, path in enumerate(paths)}
    number |= {path: number[other] for path, other in same_bytes.items()}
    return {(*each.splits, each.what): each for each in overlaps(prepared, Files(number))}


def test_against_sets():
    draw = np.random.default_rng(1)
    rows = [
        Utterance(
            f"u{n}",
            split=str(draw.choice(SPLITS)),
            speaker=str(draw.integers(30)),
            session=draw.choice(["", "s1", "s2"]),
            dialogue=f"d{draw.integers(40)}",
            text=draw.choice(["", "Yes.", "yes", "YES", "no  way", f"t{draw.integers(50)}"]),
        )
        for n in range(300)
    ]
    parts = {split: [row for row in rows if row.split == split] for split in SPLITS}
    values = {
        "speakers": lambda row: row.speaker,
        "sessions": lambda row: row.session,
        "dialogues": lambda row: row.dialogue,
        "transcripts": lambda row: " ".join(row.text.lower().split()),
        "words": lambda row: normalised(row.text),
    }
    result = found(corpus(rows))
    assert {what for *_, what in result} == set(values)
    for early, late in combinations(SPLITS, 2):
        for what, value in values.items():
            each = result[early, late, what]
            sets = [{value(row) for row in parts[split]} - {""} for split in (early, late)]
            assert each.shared == len(sets[0] & sets[1])
            assert each.all == len(sets[1])
            assert each.items == tuple(
                sum(value(row) in sets[0] & sets[1] for row in parts[split]) for split in (early, late)
            )
            assert each.of == (len(parts[early]), len(parts[late]))
            assert each.share == each.items[1] / each.of[1]
            assert set(each.first) <= sets[0] & sets[1]
            assert not each.leak


def test_the_same_part_of_a_file_is_the_same_utterance():
    rows = [
        Utterance("a", "train", audio="x.wav", start=1, end=2),
        Utterance("b", "train", video="v.mp4#xywh=0,0,8,8"),
        Utterance("c", "test", audio="x.wav", start=1, end=2, video="w.mp4"),
        Utterance("d", "test", audio="x.wav", start=1.75, end=3),
        Utterance("e", "test", video="v.mp4#xywh=8,0,8,8"),
        Utterance("f", "test", video="x.wav#t=1,2"),
        Utterance("g", "valid", features="f.npz"),
        Utterance("h", "test", features="f.npz"),
    ]
    result = found(corpus(rows))
    same = result["train", "test", "utterances"]
    assert (same.items, same.first, same.leak) == ((1, 2), ("c", "f"), True)
    assert result["valid", "test", "utterances"].first == ("h",)
    whole = result["train", "test", "recordings"]
    assert (whole.shared, whole.items, whole.leak) == (2, (2, 4), False)
    assert ("train", "valid", "recordings") not in result


def test_parts_that_lie_upon_one_another_are_the_same_utterance():
    rows = [
        Utterance("whole", "train", audio="a1.wav"),
        Utterance("all of it", "test", audio="a1.wav", start=0, end=0.1),
        Utterance("cut", "train", audio="a2.wav", end=0.09),
        Utterance("cut later", "test", audio="a2.wav", start=0.001, end=0.1),
        Utterance("turn", "train", audio="a3.wav", start=1, end=3),
        Utterance("next turn", "test", audio="a3.wav", start=2.5, end=4),
        Utterance("last turn", "valid", audio="a3.wav", start=4, end=9),
    ]
    result = found(corpus(rows))
    same = result.pop(("train", "test", "utterances"))
    assert (same.shared, same.all, same.items, same.leak) == (2, 3, (2, 2), True)
    assert same.first == ("all of it", "cut later")
    assert not [what for *_, what in result if what == "utterances"]
    assert result["train", "test", "recordings"].items == (3, 3)


def test_cuts_of_copies_are_told_as_the_same_bytes():
    rows = [
        Utterance("a", "train", audio="x.wav"),
        Utterance("b", "test", audio="y.wav", start=1, end=2),
        Utterance("c", "test", audio="z.wav", start=1, end=2),
    ]
    result = found(corpus(rows), **{"y.wav": "x.wav"})
    hashes = result["train", "test", "file_hashes"]
    assert (hashes.items, hashes.first, hashes.leak) == ((1, 1), ("b",), True)
    assert ("train", "test", "utterances") not in result


def test_open_ends_are_those_of_the_files():
    rows = [Utterance("a", "train", audio="x.wav", start=4), Utterance("b", "test", audio="x.wav", end=7)]
    files = Files({"x.wav": 0})
    told = {length: {each.what for each in overlaps(corpus(rows), files, {"x.wav": length})} for length in (9, 16)}
    assert told == {9: {"utterances", "file_hashes", "recordings"}, 16: {"recordings"}}


def test_files_of_the_same_bytes():
    rows = [
        Utterance("a", "train", audio="x.wav", start=0, end=2),
        Utterance("b", "test", audio="y.wav", start=0, end=2),
        Utterance("c", "test", audio="y.wav", start=1.5, end=4),
    ]
    result = found(corpus(rows), **{"y.wav": "x.wav"})
    hashes = result["train", "test", "file_hashes"]
    assert (hashes.items, hashes.first, hashes.leak) == ((1, 1), ("b",), True)
    assert hashes.sentence() == (
        "protocol 'official', fold '1': 1 of the 2 utterances of test have the same bytes as files of train: b"
    )
    assert ("train", "test", "utterances") not in result
    assert result["train", "test", "recordings"].items == (1, 2)


def test_utterances_that_the_corpus_says_are_one():
    rows = [Utterance("valid/u1", "valid", text="x"), *(Utterance(f"test/u{n}", "test", text="y") for n in range(9))]
    same = {"valid/u1": "u1", "test/u1": "u1", "test/u2": "u2"}
    each = found(corpus(rows, same=same))["valid", "test", "utterances"]
    assert (each.shared, each.items, each.of, each.first) == (1, (1, 1), (1, 9), ("test/u1",))
    assert each.sentence() == ("protocol 'official', fold '1': 1 of the 9 utterances of test are in valid too: test/u1")


@pytest.mark.parametrize("what", APART)
def test_what_a_protocol_keeps_apart_is_a_leak_where_it_is_shared(what):
    rows = [
        Utterance(f"u{n}", split, "S", "1", "d", start=n, end=n + 1, audio="x.wav", text="Same.")
        for n, split in enumerate(["train", "test", "test", "test", "test"])
    ]
    fold = {"train": ["u0"], "valid": [], "test": ["u1", "u2", "u3", "u4"]}
    prepared = corpus(rows, {"apart": {"1": fold}, "plain": {"2": fold}}, apart={"apart": (what,)})
    each = [each for each in overlaps(prepared, Files({"x.wav": 0})) if each.leak]
    assert [(one.protocol, one.what) for one in each] == [("apart", what)]
    assert (
        each[0]
        .sentence()
        .startswith(
            f"protocol 'apart', fold '1': test shares 1 {what} with train, which the protocol keeps apart "
            "(4 of the 4 utterances of test): "
        )
    )


def test_long_lists_are_cut():
    same = {f"{split}{n}": f"u{n}" for split in ("valid", "test") for n in range(40)}
    rows = [Utterance(name, name.rstrip("0123456789"), text="x") for name in same]
    each = found(corpus(rows, same=same))["valid", "test", "utterances"]
    assert each.sentence().endswith(": test0, test1, test2 and 37 more")
    assert len(each.first) == 5

"""What is wrong with a prepared folder is told with file, line and id before any work is done."""

from dataclasses import replace

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.preprocessing.prepared import Prepared


def test_label_outside_the_map(corpus):
    corpus.rows[4] = replace(corpus.rows[4], labels={"emotion": "bored"})
    with pytest.raises(MMFairseqError, match=r"manifest\.tsv:7: utterance 'u04': label 'bored'.*none of sad, glad"):
        Prepared.read(corpus.write())


def test_target_without_a_column(corpus):
    path = corpus.write() / "targets.json"
    path.write_text(path.read_text().replace('"emotion"', '"mood"'))
    with pytest.raises(MMFairseqError, match="no column for target 'mood'"):
        Prepared.read(corpus.out)


@pytest.mark.parametrize(
    ("votes", "reason"),
    [
        ("sad=1|bored=2", "label 'bored'.*none of sad, glad"),
        ("sad", "votes 'sad' of target 'emotion': expected class=number"),
        ("sad=-1", "expected class=number"),
        ("sad=0|glad=0", "all are 0"),
    ],
)
def test_votes_are_checked(corpus, votes, reason):
    corpus.rows = [replace(row, labels=row.labels | {"emotion_votes": "sad=1|glad=0.5"}) for row in corpus.rows]
    corpus.votes = "emotion_votes"
    assert Prepared.read(corpus.write()).targets[0].votes == "emotion_votes"
    corpus.rows[4].labels["emotion_votes"] = votes
    with pytest.raises(MMFairseqError, match=rf"manifest\.tsv:7: utterance 'u04': .*{reason}"):
        Prepared.read(corpus.write())


def test_votes_without_a_column(corpus):
    path = corpus.write() / "targets.json"
    path.write_text(path.read_text().replace('"votes": ""', '"votes": "said"'))
    with pytest.raises(MMFairseqError, match=r"manifest\.tsv:2: no column 'said', where targets.json has the votes of"):
        Prepared.read(corpus.out)


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        ({"p/1/train": ["u00", "u99"]}, r"p/1/train:2: utterance 'u99' is not in the manifest"),
        ({"p/1/train": ["u00", "u00"]}, r"p/1/train:2: utterance 'u00' stands already in train"),
        ({"p/1/train": ["u00"], "p/1/test": ["u01", "u00"]}, r"p/1/train:1: utterance 'u00' stands already in test"),
    ],
)
def test_lists_that_are_wrong(corpus, lists, reason):
    corpus.lists = lists
    with pytest.raises(MMFairseqError, match=reason):
        Prepared.read(corpus.write())


def test_default_train_split(corpus):
    corpus.lists = {"a/1/train": ["u01"], "b/2/train": ["u03"], "b/2/test": ["u04"]}
    corpus.write()
    assert Prepared.read(corpus.out).default_train() == [1]
    (corpus.out / "account.json").write_text('{"protocols": [{"name": "b"}]}')
    assert Prepared.read(corpus.out).default_train() == [3]
    (corpus.out / "account.json").write_text("{}")
    with pytest.raises(MMFairseqError, match=r"account\.json: expected"):
        Prepared.read(corpus.out)


def test_nothing_in_it(corpus):
    corpus.rows = []
    with pytest.raises(MMFairseqError, match="no utterances"):
        Prepared.read(corpus.write())
    with pytest.raises(MMFairseqError, match="no such manifest"):
        Prepared.read(corpus.raw)

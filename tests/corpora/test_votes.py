import pytest

from mm_fairseq.corpora.votes import shared, summed, vote_account, votes_text
from mm_fairseq.manifest import Utterance
from mm_fairseq.targets import Target, kind_of

TARGET = Target("e", "single", ("neu", "ang", "fru"), votes="e_votes")


@pytest.mark.parametrize(
    ("votes", "text"),
    [({}, ""), ({"neu": 2, "fru": 1.0}, "neu=2|fru=1"), ({"neu": 1 / 3, "ang": 12.5}, "neu=0.333333|ang=12.5")],
)
def test_text_is_what_targets_read(votes, text):
    assert votes_text(votes) == text
    kind_of(TARGET).check("neu", text)
    if votes:
        goal = kind_of(TARGET, soft=True).goal("neu", text)
        total = sum(votes.values())
        assert goal == pytest.approx([votes.get(label, 0) / total for label in TARGET.classes], abs=1e-6)


def test_shared():
    assert shared(["a"]) == {"a": 1}
    assert shared(["a", "b"]) == {"a": 0.5, "b": 0.5}
    assert shared(["a", "b", "a", "c"]) == {"a": 0.5, "b": 0.25, "c": 0.25}
    assert shared([]) == {}


def test_summed():
    ballots = [{"a": 1.0}, {"b": 0.5, "c": 0.5}, {"a": 0.25, "x": 0.75}]
    assert list(summed(ballots, ("c", "a", "d")).items()) == [("c", 0.5), ("a", 1.25)]
    assert summed([], ("a",)) == {}


def test_account():
    rows = [Utterance(str(i), labels={"e_votes": text}) for i, text in enumerate(["neu=2|fru=1", "", "ang=0.5"])]
    assert vote_account(TARGET, rows) == {"utterances": 2, "mean": 1.75}
    assert vote_account(TARGET, rows[1:2]) == {"utterances": 0, "mean": 0}

"""The paired test of two systems: values, direction, and what makes them incomparable."""

import math

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.evaluation import compare, scores

GOOD = {f"u{n}": ("sad", "sad") for n in range(12)}
BAD = GOOD | {f"u{n}": ("sad", "neu") for n in (0, 1, 2, 3, 6)}


def test_difference_is_second_minus_first(predictions):
    bad, good = (scores.load(predictions(f"{n}.jsonl", rows)) for n, rows in enumerate((BAD, GOOD)))
    (found,) = compare.compare(bad, good, ["wa"], n=100)
    assert (found.metric, found.first, found.second) == ("wa", pytest.approx(7 / 12), 1)
    assert found.difference.value == pytest.approx(5 / 12)
    assert 0 < found.difference.low < 5 / 12 < found.difference.high < 1
    assert (found.items, found.groups) == (12, 6)
    (other,) = compare.compare(good, bad, ["wa"], n=100)
    assert other.difference.value == -found.difference.value
    assert other.difference.low == pytest.approx(-found.difference.high)
    assert other.difference.p == found.difference.p


def test_by_utterance_is_narrower_where_speakers_err_as_one(predictions):
    """Speakers 0 and 1 are wrong altogether, and one utterance of speaker 3: p by utterance is the smaller one."""
    bad, good = (scores.load(predictions(f"{n}.jsonl", rows)) for n, rows in enumerate((BAD, GOOD)))
    ((*_, speaker, _, six), (*_, utterance, _, twelve)) = (
        compare.compare(bad, good, ["wa"], by=by, n=300)[0] for by in ("speaker", "utterance")
    )
    assert (six, twelve) == (6, 12)
    assert utterance.high - utterance.low < speaker.high - speaker.low
    assert utterance.p < speaker.p


def test_the_same_twice(predictions):
    groups = scores.load(predictions("p.jsonl", BAD))
    for each in compare.compare(groups, groups, n=30):
        assert each.difference == (0, 0, 0, 1)


def test_one_speaker_has_a_difference_and_no_p(predictions):
    bad, good = (scores.load(predictions(f"{n}.jsonl", rows, speaker="s")) for n, rows in enumerate((BAD, GOOD)))
    (found,) = compare.compare(bad, good, ["wa"], n=10)
    assert found.difference.value == pytest.approx(5 / 12)
    assert math.isnan(found.difference.p)
    assert compare.table("", [found]).rows == [("wa", "0.583", "1.000", "+0.417", "-", "-", "12")]


def test_table_says_where_lower_is_better(predictions):
    groups = scores.load(predictions("p.jsonl", BAD))
    table = compare.table("t", compare.compare(groups, groups, ["ece", "wa"], n=9))
    assert [row[0] for row in table.rows] == ["ece (lower is better)", "wa"]


def test_what_does_not_compare_is_named(predictions):
    first = scores.load(predictions("1.jsonl", GOOD))
    others = {
        r"wa: not the same labelled utterances: 5 only in A \(u0, u1, u2, ...\), 2 only in B \(u12, u13\); 7 in both": {
            f"u{n}": ("sad", "sad") for n in range(5, 14)
        },
        r"wa: the true labels of 1 utterances differ: u3; .* different data": GOOD | {"u3": ("neu", "sad")},
    }
    for number, (message, rows) in enumerate(others.items()):
        second = scores.load(predictions(f"other{number}.jsonl", rows))
        with pytest.raises(MMFairseqError, match=message):
            compare.compare(first, second, ["wa"])
    with pytest.raises(MMFairseqError, match="--resamples 0: at least 1"):
        compare.compare(first, first, n=0)
    unlabelled = scores.load(predictions("u.jsonl", dict.fromkeys(GOOD, (None, "neu"))))
    with pytest.raises(MMFairseqError, match="wa: no utterance has a true label"):
        compare.compare(unlabelled, unlabelled, ["wa"])
    regression = dict.fromkeys(GOOD, (0.0, 0.5))
    second = scores.load(predictions("r.jsonl", regression, kind="regression", scores={}))
    with pytest.raises(MMFairseqError, match="the second predictions have no metric 'wa'; they have mae"):
        compare.compare(first, second, ["wa"])

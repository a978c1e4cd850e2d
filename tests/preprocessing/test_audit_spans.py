"""Parts of files that are the same material: against every pair, one by one."""

import time

import numpy as np
import pytest

from mm_fairseq.manifest import Medium
from mm_fairseq.preprocessing.audit_spans import spans

LENGTHS = {"a": 10.0, "b": 3.0}  # of c and d it is not known
FILES = {"a": 0, "b": 1, "c": 2, "d": 0}


def drawn(count, seed, medium_share=0.8):
    """Rows of two media each; quarters of a second, so that halves are exact."""
    draw = np.random.default_rng(seed)

    def medium():
        if draw.random() > medium_share:
            return None
        start, length = draw.integers(0, 40) / 4, draw.integers(1, 20) / 4
        return Medium(
            str(draw.choice(list(FILES))),
            draw.choice([None, start]) if start else None,
            draw.choice([None, start + length]),
            (0, 0, 8, 8) if draw.random() < 0.2 else None,
        )

    return [[medium(), medium()] for _ in range(count)]


def same(one, other):
    """By the words of the module."""
    if not one or not other or (FILES[one.path], one.region) != (FILES[other.path], other.region):
        return False
    ends = []
    for each in (one, other):
        start, length = each.start or 0.0, LENGTHS.get(each.path, 1e15)
        ends.append((start, each.end if each.end is not None else length if length > start else 1e15))
    (start, end), (first, last) = ends
    return min(end, last) - max(start, first) > min(end - start, last - first) / 2


@pytest.mark.parametrize("seed", range(40))
def test_against_every_pair(seed):
    count = 4 + seed
    media = drawn(count, seed)
    found = spans(media, FILES, LENGTHS)
    split = np.random.default_rng(seed).random(count) < 0.5
    for these, others in ((split, ~split), (~split, split)):
        these, others = np.flatnonzero(these), np.flatnonzero(others)
        expected = [[any(same(one, two) for n in others for two in media[n]) for one in media[m]] for m in these]
        got = found.of(these).met(found.of(others))
        np.testing.assert_array_equal(got, np.array(expected, bool).reshape(len(these), 2))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((None, None), (0, 0.1), True),  # the whole, and a part that is all of it
        ((0, 0.09), (0.001, 0.1), True),
        ((0, 1), (0, 1), True),
        ((2, 3), (0, 90), True),  # a piece of a long part
        ((0, 2), (2, 4), False),  # turns that touch
        ((0, 2), (1.5, 9), False),  # and that talk over one another
        ((0, 2), (1, 3), False),  # half, not more
        ((0, 2), (0.75, 3), True),
        ((None, 5), (4, None), False),  # the end of an unknown file lies far away
        ((7, None), (9, None), True),
        ((7, None), (None, None), True),
    ],
)
def test_two_parts_of_one_file(one, other, expected):
    found = spans([[Medium("c", *one)], [Medium("c", *other)]], FILES, {})
    first, second = found.of(np.array([0])), found.of(np.array([1]))
    assert (first.met(second).item(), second.met(first).item()) == (expected, expected)


def test_a_known_length_is_where_an_open_part_ends():
    media = [[Medium("a", 4.0, None)], [Medium("a", None, 7.0)]]
    for length, expected in ((9.0, True), (16.0, False)):
        found = spans(media, FILES, {"a": length})
        assert found.of(np.array([0])).met(found.of(np.array([1]))).item() is expected


def test_nothing_meets_nothing():
    found = spans([[None], [Medium("a", 0, 1)]], FILES, {})
    nothing, rows = np.zeros(0, np.int64), np.arange(2)
    assert not found.of(rows).met(found.of(nothing)).any()
    assert found.of(nothing).met(found.of(rows)).shape == (0, 1)
    assert not found.of(np.array([1])).met(found.of(np.array([0]))).any()


def test_all_of_one_file_takes_no_square():
    """100,000 parts that all overlap: pair by pair it would take minutes."""
    draw = np.random.default_rng(0)
    media = [[Medium("a", start, start + 50.0)] for start in draw.random(100_000) * 100]
    begin = time.process_time()
    found = spans(media, FILES, {})
    assert found.of(np.arange(50_000)).met(found.of(np.arange(50_000, 100_000))).all()
    assert time.process_time() - begin < 60

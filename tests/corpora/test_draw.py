import hashlib
import random
from collections import Counter

import pytest

from mm_fairseq.corpora.draw import SHARES, deal, draw, draw_by_class, rotate
from mm_fairseq.errors import MMFairseqError


def test_shares_are_kept_and_nothing_is_lost():
    fold = draw([(f"g{i}", f"u{i}") for i in range(1000)], "recordings")
    assert {split: len(ids) for split, ids in fold.items()} == {
        split: round(1000 * share) for split, share in SHARES.items()
    }
    assert sorted(i for ids in fold.values() for i in ids) == sorted(f"u{i}" for i in range(1000))


def test_groups_stay_whole():
    members = [(f"s{i % 9}", f"u{i}") for i in range(90)]
    group_of = {name: group for group, name in members}
    fold = draw(members, "speakers")
    groups = [{group_of[name] for name in ids} for ids in fold.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 9
    assert all(groups)


def test_order_of_rows_does_not_matter():
    members = [(f"s{i % 17}", f"u{i}") for i in range(200)]
    shuffled = random.Random(1).sample(members, len(members))
    assert {k: set(v) for k, v in draw(members, "x").items()} == {k: set(v) for k, v in draw(shuffled, "x").items()}


@pytest.mark.parametrize("sizes", [(1, 1, 1), (100, 1, 1), (1, 100, 100), (5, 5, 5, 5)])
def test_no_split_is_empty(sizes):
    members = [(f"s{group}", f"u{group}_{i}") for group, size in enumerate(sizes) for i in range(size)]
    assert all(draw(members, "speakers").values())


def test_two_groups_are_too_few():
    with pytest.raises(MMFairseqError, match=r"2 speakers cannot be divided.*--columns split=COLUMN"):
        draw([("a", "1"), ("b", "2")], "speakers")


def test_dealing_is_even_and_the_same_for_every_order():
    names = [f"s{i}" for i in range(23)]
    parts = deal(names, 5)
    assert sorted(Counter(parts.values()).values()) == [4, 4, 5, 5, 5]
    assert deal(reversed(names), 5) == parts
    assert list(parts) == sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())


@pytest.mark.parametrize("parts", [3, 5])
def test_folds_test_every_group_once(parts):
    speakers = [f"s{number}" for number in range(11)]
    members = [(speaker, f"{speaker}_{turn}") for speaker in speakers for turn in range(3)]
    folds = rotate(members, speakers, parts)
    assert list(folds) == [str(fold + 1) for fold in range(parts)]
    for split in ("test", "valid"):
        assert sorted(name for fold in folds.values() for name in fold[split]) == sorted(name for _, name in members)
    for fold in folds.values():
        assert sorted(name for names in fold.values() for name in names) == sorted(name for _, name in members)
        voices = [{name.split("_")[0] for name in names} for names in fold.values()]
        assert all(voices)
        assert sum(map(len, voices)) == len(set.union(*voices))


@pytest.mark.parametrize("shares", [{"train": 7 / 8, "valid": 1 / 8}, {"train": 0.7, "valid": 0.1, "test": 0.2}])
def test_by_class_each_class_has_its_share_and_groups_stay_whole(shares):
    rng = random.Random(0)
    members = []
    for number in range(900):
        classes = [rng.choices("abcd", [8, 4, 2, 1])[0]]
        if rng.random() < 0.2:
            classes = sorted({*classes, rng.choice("abcd")})
        members.append((f"group {number // 3 if number < 300 else number}", f"row {number}", classes))
    fold = draw_by_class(members, shares)
    assert sorted(name for ids in fold.values() for name in ids) == sorted(name for _, name, _ in members)
    group = {name: group for group, name, _ in members}
    groups = [{group[name] for name in ids} for ids in fold.values()]
    assert sum(map(len, groups)) == len(set(group.values()))
    for label in "abcd":
        rows = {name for _, name, classes in members if label in classes}
        for split, share in shares.items():
            assert abs(len(rows & set(fold[split])) - share * len(rows)) <= 0.03 * len(rows) + 3
    shuffled = rng.sample(members, len(members))
    assert {split: set(ids) for split, ids in draw_by_class(shuffled, shares).items()} == {
        split: set(ids) for split, ids in fold.items()
    }


def test_by_class_no_split_stays_empty_where_groups_suffice():
    shares = {"train": 0.7, "valid": 0.1, "test": 0.2}
    members = [(name, name, ["a"]) for name in "xyz"]
    assert sorted(map(len, draw_by_class(members, shares).values())) == [1, 1, 1]
    assert sum(map(len, draw_by_class(members[:2], shares).values())) == 2
    assert draw_by_class([], shares) == {"train": [], "valid": [], "test": []}

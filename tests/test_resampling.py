"""The bootstrap over speakers, against scipy on independent items, by its coverage, and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from mm_fairseq.resampling import interval, paired


def mean_of(values):
    values = np.asarray(values, float)
    return lambda items: float(values[items].mean())


def test_items_without_a_speaker_are_scipys_percentile_bootstrap():
    values = np.random.default_rng(0).normal(size=60)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert interval(mean_of(values), [""] * 60, n=4000) == pytest.approx(tuple(expected), abs=0.02)


def test_speakers_of_equal_size_are_scipys_bootstrap_of_their_means():
    speakers = np.random.default_rng(0).normal(size=12)
    values = np.repeat(speakers, 5) + np.tile([-1, 0, 0, 0, 1], 12)
    expected = stats.bootstrap(
        (speakers,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = interval(mean_of(values), [f"s{item // 5}" for item in range(60)], n=4000)
    assert found == pytest.approx(tuple(expected), abs=0.03)


def test_two_speakers_by_hand():
    """Speaker a has one item worth 1, b three worth 0: aa gives 1, ab and ba a quarter, bb 0."""
    seen = []

    def statistic(items):
        seen.append(sorted(items.tolist()))
        return mean_of([0, 1, 0, 0])(items)

    groups = ["b", "a", "b", "b"]
    assert interval(statistic, groups, n=400) == (0.0, 1.0)
    assert interval(statistic, groups, n=400, level=0.4) == (0.25, 0.25)
    resamples = {tuple(items) for items in seen}
    assert resamples == {(1, 1), (0, 1, 2, 3), (0, 0, 2, 2, 3, 3)}
    assert np.mean([tuple(items) == (0, 1, 2, 3) for items in seen]) == pytest.approx(0.5, abs=0.06)


def test_coverage_needs_the_speakers():
    """Items share their speaker's mean: intervals over speakers hold the truth about 19 times in 20, others do not."""
    rng = np.random.default_rng(5)
    groups = [f"s{item // 8}" for item in range(30 * 8)]
    held = {"speaker": 0, "utterance": 0}
    for _ in range(150):
        values = np.repeat(rng.normal(size=30), 8) + rng.normal(0, 0.3, 240)
        for name, by in (("speaker", groups), ("utterance", [""] * 240)):
            low, high = interval(mean_of(values), by, n=200)
            held[name] += low <= 0 <= high
    assert 0.88 <= held["speaker"] / 150 <= 0.99
    assert held["utterance"] / 150 < 0.7


def test_same_seed_same_interval():
    values, groups = np.arange(20.0), [""] * 20
    assert interval(mean_of(values), groups, seed=3) == interval(mean_of(values), groups, seed=3)
    assert interval(mean_of(values), groups, seed=3) != interval(mean_of(values), groups, seed=4)


def test_paired_uses_the_same_resample_for_both():
    """Two systems that differ by a constant: no resample changes the difference, however the items vary."""
    values = np.random.default_rng(0).normal(0, 10, 40)
    found = paired(mean_of(values), mean_of(values + 0.5), [""] * 40)
    assert found[:3] == pytest.approx((0.5, 0.5, 0.5))
    assert found.p == pytest.approx(2 / 1001)


@pytest.mark.parametrize(("speakers", "p"), [(2, 0.5), (3, 2 / 27), (5, 2 / 1001)])
def test_few_speakers_prove_little(speakers, p):
    values = np.arange(30.0)
    groups = [f"s{item % speakers}" for item in range(30)]
    assert paired(mean_of(values), mean_of(values + 1), groups).p == pytest.approx(p)


def test_paired_p_is_near_that_of_the_t_test():
    rng = np.random.default_rng(2)
    first = rng.normal(size=200)
    second = first + rng.normal(0.14, 1, 200)
    found = paired(mean_of(first), mean_of(second), [""] * 200, n=4000)
    assert found.value == pytest.approx((second - first).mean())
    expected = stats.ttest_rel(second, first)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=0.03)


def test_no_difference_is_p_1():
    values = mean_of(np.arange(10))
    assert paired(values, values, [""] * 10) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("groups", [["s"] * 4, ["s"], [""]])
def test_one_speaker_has_no_interval(groups):
    statistic = mean_of(np.arange(len(groups)))
    assert np.isnan(interval(statistic, groups)).all()
    found = paired(statistic, statistic, groups)
    assert found.value == 0
    assert np.isnan(found[1:]).all()


def test_a_speaker_named_like_a_number_is_not_an_item():
    """Item 1 has no speaker, items 0 and 2 belong to a speaker called 1: two groups."""
    seen = set()

    def statistic(items):
        seen.add(tuple(sorted(items.tolist())))
        return 0.0

    interval(statistic, ["1", "", "1"], n=100)
    assert seen == {(1, 1), (0, 1, 2), (0, 0, 2, 2)}


def test_resamples_where_the_statistic_is_undefined_are_left_out():
    def statistic(items):
        return math.nan if set(items.tolist()) == {0} else float((items == 1).mean())

    assert interval(statistic, ["a", "b"], n=300) == (0.5, 1.0)
    assert np.isnan(interval(lambda items: math.nan, ["a", "b"])).all()
    assert np.isnan(paired(lambda items: math.nan, statistic, ["a", "b"])).all()

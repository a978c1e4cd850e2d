"""Mixed goals: the loss of a mixture is the mixture of the losses, and a missing label stays missing."""

import math

import numpy as np
import pytest
import torch
from test_kinds import LABELS, TARGETS, VOTES

from mm_fairseq.losses import LossOptions
from mm_fairseq.targets import MISSING, kind_of

SIZE = 30
SHARES = ("neu=0.3|hap=1", "sad=0.5", "neu=0")
OPTIONS = {
    "plain": LossOptions(),
    "all": LossOptions(0.1, 0.5, torch.tensor([0.3, 1.0, 2.5, 4.0]), torch.tensor([-0.5, -1.0, -2.0, -3.0])),
}


def goals_of(name, soft=False, missing=0.0, seed=0):
    kind, rng = kind_of(TARGETS[name], soft), np.random.default_rng(seed)
    labels = ["" if rng.random() < missing else str(rng.choice(LABELS[name])) for _ in range(SIZE)]
    votes = [str(rng.choice(SHARES if name == "multilabel" else VOTES)) if soft and label else "" for label in labels]
    return kind, kind.collate([kind.goal(*pair) for pair in zip(labels, votes, strict=True)])


def pairs(seed=0):
    torch.manual_seed(seed)
    return torch.randperm(SIZE), torch.rand(SIZE)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", ["single", "binary_each", "multilabel"])
def test_the_loss_is_mixed(name, soft, options):
    kind, goal = goals_of(name, soft)
    partner, share = pairs()
    logits = 2 * torch.randn(SIZE, kind.outputs)
    mixed = kind.mix(goal, partner, share)
    assert mixed.shape == (SIZE, 4)
    assert mixed.dtype == torch.float
    for row in range(SIZE):
        one = slice(row, row + 1)
        own, other = (kind.loss(logits[one], g, options) for g in (goal[one], goal[partner[one]]))
        expected = share[row] * own + (1 - share[row]) * other
        torch.testing.assert_close(kind.loss(logits[one], mixed[one], options), expected, atol=1e-5, rtol=1e-5)


def test_numbers_are_mixed_linearly():
    kind, goal = goals_of("regression")
    partner, share = pairs()
    mixed = kind.mix(goal, partner, share)
    assert mixed.shape == (SIZE,)
    torch.testing.assert_close(mixed, share * goal + (1 - share) * goal[partner])


@pytest.mark.parametrize("name", TARGETS)
def test_a_label_missing_on_either_side_is_missing(name):
    kind, goal = goals_of(name, missing=0.3)
    partner, share = pairs()
    there = kind.present(goal)
    assert 0 < there.sum() < SIZE
    mixed = kind.mix(goal, partner, share)
    assert torch.equal(kind.present(mixed), there & there[partner])
    logits = torch.randn(SIZE, kind.outputs)
    assert kind.loss(logits, mixed, OPTIONS["plain"]).isfinite()
    counts = kind.counts(logits, mixed)
    assert all(value.isfinite().all() for value in counts.values())


def test_metrics_of_train_count_the_larger_share():
    kind = kind_of(TARGETS["single"])
    goal = torch.tensor([0, 1, 2, MISSING])
    mixed = kind.mix(goal, torch.tensor([1, 2, 0, 0]), torch.tensor([0.9, 0.2, 0.6, 0.5]))
    confusion = kind.counts(torch.zeros(4, 4), mixed)["confusion"]
    assert confusion.sum(1).tolist() == [1, 0, 2, 0]  # neu, then twice ang


def test_alone_with_itself_nothing_changes():
    for name in TARGETS:
        kind, goal = goals_of(name)
        logits = torch.randn(SIZE, kind.outputs)
        mixed = kind.mix(goal, torch.arange(SIZE), torch.rand(SIZE))
        torch.testing.assert_close(kind.loss(logits, mixed), kind.loss(logits, goal), atol=1e-4, rtol=1e-5)
    assert math.isnan(kind.mix(torch.tensor([math.nan]), torch.tensor([0]), torch.tensor([0.3])))

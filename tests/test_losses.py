"""Losses against PyTorch, torchvision and the definitions of the papers in NumPy."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit, log_softmax
from torchvision.ops import sigmoid_focal_loss

from mm_fairseq.losses import PLAIN, REGRESSION, LossOptions, sigmoid_loss, softmax_loss

B, K = 12, 4
WEIGHTS = torch.tensor([0.3, 1.0, 2.5, 4.0])
PRIOR = np.array([0.6, 0.25, 0.1, 0.05])


def by_definition(name, logits, shares, options):
    """The loss in float64, term by term."""
    smoothing, gamma = options.smoothing, options.gamma
    weights = np.ones(K) if options.weights is None else options.weights.double().numpy()
    logits = logits if options.adjustment is None else logits + options.adjustment.double().numpy()
    total = 0.0
    for row, truth in zip(logits, shares, strict=True):
        logs = log_softmax(row)
        for k in range(K):
            if name == "softmax":
                share = (1 - smoothing) * truth[k] + smoothing / K
                total -= weights[k] * share * (1 - np.exp(logs[k])) ** gamma * logs[k]
            else:
                share, p = (1 - smoothing) * truth[k] + smoothing / 2, expit(row[k])
                total -= weights[k] * share * (1 - p) ** gamma * np.log(p)
                total -= (1 - share) * p**gamma * np.log(1 - p)
    return total


LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}
EVERY = [
    LossOptions(smoothing, gamma, weights, adjustment)
    for smoothing, gamma, weights, adjustment in product(
        (0, 0.1), (0, 0.5, 2), (None, WEIGHTS), (None, torch.from_numpy(1.5 * np.log(PRIOR)))
    )
]


def batch(name, soft, seed=0):
    rng = np.random.default_rng(seed)
    if soft:
        shares = rng.dirichlet(np.ones(K), B) if name == "softmax" else rng.random((B, K))
    else:
        shares = np.eye(K)[rng.integers(K, size=B)] if name == "softmax" else rng.integers(2, size=(B, K)).astype(float)
    return rng.normal(0, 2, (B, K)), shares


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("options", EVERY, ids=lambda o: f"{o.smoothing}-{o.gamma}-{o.weights is not None}")
def test_value_and_gradient_are_the_definitions(name, soft, options):
    numbers, shares = batch(name, soft)
    logits = torch.tensor(numbers, requires_grad=True)
    loss = LOSSES[name](logits, torch.tensor(shares, dtype=torch.float), options)
    assert loss.item() == pytest.approx(by_definition(name, numbers, shares, options), rel=1e-5)
    loss.backward()
    step = 1e-5
    for row, k in ((0, 0), (3, 1), (7, 2), (11, 3)):
        ends = []
        for sign in (1, -1):
            moved = numbers.copy()
            moved[row, k] += sign * step
            ends.append(by_definition(name, moved, shares, options))
        expected = (ends[0] - ends[1]) / (2 * step)
        assert logits.grad[row, k].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_softmax_is_cross_entropy(smoothing, weights):
    numbers, shares = batch("softmax", soft=False)
    logits, truth = torch.tensor(numbers).float(), torch.tensor(shares).argmax(1)
    expected = F.cross_entropy(logits, truth, weights, label_smoothing=smoothing, reduction="sum")
    one_hot = F.one_hot(truth, K).float()
    torch.testing.assert_close(softmax_loss(logits, one_hot, LossOptions(smoothing, weights=weights)), expected)
    numbers, shares = batch("softmax", soft=True)
    logits, shares = torch.tensor(numbers).float(), torch.tensor(shares).float()
    expected = F.cross_entropy(logits, shares, weights, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(softmax_loss(logits, shares, LossOptions(smoothing, weights=weights)), expected)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("soft", [False, True])
def test_sigmoid_is_binary_cross_entropy(soft, weights):
    numbers, shares = batch("sigmoid", soft)
    logits, shares = torch.tensor(numbers).float(), torch.tensor(shares).float()
    expected = F.binary_cross_entropy_with_logits(logits, shares, pos_weight=weights, reduction="sum")
    torch.testing.assert_close(sigmoid_loss(logits, shares, LossOptions(weights=weights)), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focus_is_torchvisions(gamma):
    numbers, shares = batch("sigmoid", soft=False)
    logits, shares = torch.tensor(numbers).float(), torch.tensor(shares).float()
    expected = sigmoid_focal_loss(logits, shares, alpha=-1, gamma=gamma, reduction="sum")
    torch.testing.assert_close(sigmoid_loss(logits, shares, LossOptions(gamma=gamma)), expected)
    # Of two classes, a softmax is the sigmoid of the difference of the logits.
    two = torch.stack([torch.zeros(B), logits[:, 0]], 1)
    sides = torch.stack([1 - shares[:, 0], shares[:, 0]], 1)
    expected = sigmoid_focal_loss(logits[:, 0], shares[:, 0], alpha=-1, gamma=gamma, reduction="sum")
    torch.testing.assert_close(softmax_loss(two, sides, LossOptions(gamma=gamma)), expected)


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_adjustment_is_a_margin_between_classes(tau):
    """Menon et al. 2021, equation 10: log(1 + sum over y' != y of (prior y' / prior y)^tau * e^(f y' - f y))."""
    numbers, shares = batch("softmax", soft=False)
    expected = 0.0
    for row, y in zip(numbers, shares.argmax(1), strict=True):
        others = [(PRIOR[k] / PRIOR[y]) ** tau * np.exp(row[k] - row[y]) for k in range(K) if k != y]
        expected += np.log1p(sum(others))
    options = LossOptions(adjustment=torch.from_numpy(tau * np.log(PRIOR)))
    found = softmax_loss(torch.tensor(numbers), torch.tensor(shares).float(), options)
    assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_options_at_their_neutral_values_are_plain(name):
    numbers, shares = batch(name, soft=True)
    logits, shares = torch.tensor(numbers), torch.tensor(shares)
    neutral = LossOptions(0.0, 0.0, torch.ones(K), torch.zeros(K))
    assert torch.equal(LOSSES[name](logits, shares, neutral), LOSSES[name](logits, shares, PLAIN))
    assert torch.equal(LOSSES[name](logits, shares), LOSSES[name](logits, shares, PLAIN))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [60.0, 200.0, 1e4, 1e30])
def test_extreme_logits_stay_finite(name, gamma, size):
    sides = torch.tensor([[1.0, -1, -1, -1], [-1, 1, -1, -1], [1, 1, 1, 1], [0, 0, 0, 0]])
    logits = (size * sides).requires_grad_()
    shares = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]])
    for smoothing in (0.0, 0.1):
        loss = LOSSES[name](logits, shares, LossOptions(smoothing, gamma, WEIGHTS))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(name, dtype):
    numbers, shares = batch(name, soft=True)
    logits, shares = torch.tensor(numbers).to(dtype), torch.tensor(shares).float()
    options = LossOptions(0.1, 1.0, WEIGHTS, torch.from_numpy(np.log(PRIOR)))
    found = LOSSES[name](logits, shares, options)
    assert found.dtype == torch.float32
    assert torch.equal(found, LOSSES[name](logits.float(), shares, options))
    huge = torch.full((1, K), torch.finfo(dtype).max, dtype=dtype).requires_grad_()
    (gradient,) = torch.autograd.grad(LOSSES[name](huge, shares[:1]), huge)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_costs_nothing(name):
    logits = torch.zeros(0, K, requires_grad=True)
    loss = LOSSES[name](logits, torch.zeros(0, K), LossOptions(0.1, 2.0, WEIGHTS))
    loss.backward()
    assert loss.item() == 0


def test_losses_of_numbers():
    numbers, truth = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    assert {name: loss(numbers, truth, reduction="sum").item() for name, loss in REGRESSION.items()} == {
        "l1": 1 + 3,
        "mse": 1 + 9,
    }

"""Kinds of targets against PyTorch, scikit-learn and the labels themselves."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_class_weight

from mm_fairseq import metrics
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.losses import LossOptions
from mm_fairseq.targets import KINDS, MISSING, Target, kind_of

CLASSES = ("neu", "sad", "ang", "hap")
K = len(CLASSES)
TARGETS = {
    "single": Target("emotion", "single", CLASSES, votes="votes"),
    "binary_each": Target("emotion", "binary_each", CLASSES, votes="votes"),
    "multilabel": Target("events", "multilabel", CLASSES, votes="votes"),
    "regression": Target("sentiment", "regression"),
}
LABELS = {
    "single": CLASSES,
    "binary_each": CLASSES,
    "multilabel": ("neu", "neu|hap", "ang|sad", "|", "neu|sad|ang|hap"),
    "regression": ("-3", "0.5", "0", "1e0"),
}
SOFT = ["single", "binary_each", "multilabel"]
VOTES = ("neu=3", "neu=2|sad=1|hap=1", "ang=0.5|sad=1.5", "hap=1|neu=0")
OPTIONS = LossOptions(0.1, 0.5, torch.tensor([0.3, 1.0, 2.5, 4.0]), torch.tensor([-0.5, -1.0, -2.0, -3.0]), "mse")


def batch(name, size=40, missing=0.3, seed=0):
    """A kind, random logits and goals with missing labels."""
    torch.manual_seed(seed)
    kind = kind_of(TARGETS[name])
    rng = np.random.default_rng(seed)
    labels = ["" if rng.random() < missing else str(rng.choice(LABELS[name])) for _ in range(size)]
    return kind, 2 * torch.randn(size, kind.outputs), kind.collate([kind.goal(label) for label in labels])


def test_every_kind_is_covered():
    assert sorted(TARGETS) == KINDS.names()


# Labels


@pytest.mark.parametrize("name", TARGETS)
def test_encode_and_label_are_opposites(name):
    kind = kind_of(TARGETS[name])
    for text in LABELS[name]:
        found = kind.label(kind.encode(text))
        if name == "multilabel":
            assert found == [label for label in CLASSES if label in text.split("|")]
        else:
            assert found == (float(text) if name == "regression" else text)
        assert json.loads(json.dumps(found)) == found
    assert kind.label(kind.encode("")) is None


def test_encoded_labels_are_what_metrics_count():
    assert [kind_of(TARGETS["single"]).encode(label) for label in ("sad", "")] == [1, MISSING]
    kind = kind_of(TARGETS["multilabel"])
    rows = {"sad|hap": [0, 1, 0, 1], "hap|sad": [0, 1, 0, 1], "neu": [1, 0, 0, 0], "|": [0, 0, 0, 0]}
    assert {text: kind.encode(text).tolist() for text in rows} == rows
    assert np.isnan(kind.encode("")).all()
    assert math.isnan(kind_of(TARGETS["regression"]).encode(""))


@pytest.mark.parametrize(
    ("name", "label", "words"),
    [
        ("single", "fru", r"'fru' of target 'emotion' is none of neu, sad, ang, hap"),
        ("binary_each", "Neu", r"'Neu' of target 'emotion' is none of neu, sad, ang, hap"),
        ("single", "0", r"'0' of target 'emotion'"),
        ("single", "neu|sad", r"'neu\|sad' of target 'emotion'"),
        ("multilabel", "neu|fru", r"'fru' of target 'events' is none of neu, sad, ang, hap"),
        ("multilabel", "neu, sad", r"'neu, sad' of target 'events'"),
        *(("regression", number, rf"'{number}' of target 'sentiment'") for number in ("high", "nan", "inf", "1,5")),
    ],
)
def test_a_label_out_of_range_names_the_allowed(name, label, words):
    for read in (kind_of(TARGETS[name]).encode, kind_of(TARGETS[name]).check, kind_of(TARGETS[name], True).goal):
        with pytest.raises(MMFairseqError, match=words):
            read(label)


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize(
    ("votes", "words"),
    [
        ("neu", r"expected class=number\|class=number, found 'neu'"),
        ("neu=1|", r"found ''"),
        ("neu=1,sad=0", r"found 'neu=1,sad=0'|is none of"),
        ("neu=many", r"found 'neu=many'"),
        ("neu=-1", r"found 'neu=-1'"),
        ("neu=nan", r"found 'neu=nan'"),
        ("neu=inf", r"found 'neu=inf'"),
        ("fru=1", r"'fru' of target '\w+' is none of neu, sad, ang, hap"),
    ],
)
def test_bad_votes_are_named(name, votes, words):
    for read in (kind_of(TARGETS[name]).check, kind_of(TARGETS[name], True).goal):
        with pytest.raises(MMFairseqError, match=words):
            read("neu", votes)


def test_votes_must_say_something():
    for name in ("single", "binary_each"):
        with pytest.raises(
            MMFairseqError, match=r"'neu=0\|sad=0' of target 'emotion': all are 0; leave the field empty"
        ):
            kind_of(TARGETS[name]).check("neu", "neu=0|sad=0")
    with pytest.raises(MMFairseqError, match=r"'neu=2' of target 'events'.*shares between 0 and 1"):
        kind_of(TARGETS["multilabel"]).check("neu", "neu=2")
    kind_of(TARGETS["multilabel"]).check("|", "neu=0|sad=0")


# Soft labels


@pytest.mark.parametrize("name", ["single", "binary_each"])
def test_votes_are_shares(name):
    kind = kind_of(TARGETS[name], soft=True)
    assert kind.goal("neu", "neu=2|sad=1|hap=1").tolist() == [0.5, 0.25, 0, 0.25]
    assert kind.goal("", "hap=0.1|ang=0.3").tolist() == pytest.approx([0, 0, 0.75, 0.25])
    assert kind.goal("neu", "sad=1|sad=1|ang=2").tolist() == [0, 0.5, 0.5, 0]
    assert kind.encode("neu") == 0  # the true label stays


def test_votes_for_sets_are_shares_of_the_annotators():
    kind = kind_of(TARGETS["multilabel"], soft=True)
    assert kind.goal("neu", "neu=0.75|sad=1").tolist() == [0.75, 1, 0, 0]


def test_loss_of_votes_is_cross_entropy_of_shares():
    torch.manual_seed(0)
    logits = torch.randn(len(VOTES), K)
    shares = torch.tensor([[1, 0, 0, 0], [0.5, 0.25, 0, 0.25], [0, 0.75, 0.25, 0], [0, 0, 0, 1]])
    kind = kind_of(TARGETS["single"], soft=True)
    goal = kind.collate([kind.goal("neu", votes) for votes in VOTES])
    torch.testing.assert_close(kind.loss(logits, goal), F.cross_entropy(logits, shares, reduction="sum"))
    logits = torch.randn(len(VOTES), 2 * K)
    kind = kind_of(TARGETS["binary_each"], soft=True)
    sides = torch.stack([1 - shares, shares], -1)
    expected = sum(F.cross_entropy(logits.view(-1, K, 2)[:, k], sides[:, k], reduction="sum") for k in range(K))
    torch.testing.assert_close(kind.loss(logits, goal), expected)


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("options", [LossOptions(), OPTIONS])
def test_without_votes_a_soft_label_is_the_hard_one(name, options):
    hard, soft = kind_of(TARGETS[name]), kind_of(TARGETS[name], soft=True)
    torch.manual_seed(0)
    texts = [*LABELS[name], ""]
    logits = torch.randn(len(texts), hard.outputs)
    goals = [kind.collate([kind.goal(text) for text in texts]) for kind in (hard, soft)]
    assert goals[1].shape == (len(texts), K)
    assert torch.equal(hard.present(goals[0]), soft.present(goals[1]))
    assert hard.present(goals[0]).tolist() == [True] * len(LABELS[name]) + [False]
    torch.testing.assert_close(hard.loss(logits, goals[0], options), soft.loss(logits, goals[1], options))
    for key, value in hard.counts(logits, goals[0]).items():
        assert torch.equal(soft.counts(logits, goals[1])[key], value)


# Losses


def test_single_is_cross_entropy():
    kind, logits, goal = batch("single")
    expected = F.cross_entropy(logits, goal, reduction="sum", ignore_index=-100)
    torch.testing.assert_close(kind.loss(logits, goal), expected)


def test_binary_each_is_the_original_systems():
    """Four two-way softmaxes over pairs of outputs [no, yes], negative log-likelihood summed over classes and rows."""
    kind, logits, goal = batch("binary_each")
    assert kind.outputs == 8
    kept = goal >= 0
    expected = 0.0
    for index in range(4):
        pair = F.log_softmax(logits[kept][:, 2 * index : 2 * index + 2], dim=-1)
        expected += F.nll_loss(pair, (goal[kept] == index).long(), reduction="sum").item()
    assert kind.loss(logits, goal).item() == pytest.approx(expected, rel=1e-5)


def test_multilabel_is_binary_cross_entropy():
    kind, logits, goal = batch("multilabel")
    kept = ~goal.isnan().any(1)
    expected = F.binary_cross_entropy_with_logits(logits[kept], goal[kept], reduction="sum")
    torch.testing.assert_close(kind.loss(logits, goal), expected)


def test_regression_is_l1_or_squared():
    kind, logits, goal = batch("regression")
    pairs = [(p, t) for p, t in zip(logits[:, 0].tolist(), goal.tolist(), strict=True) if not math.isnan(t)]
    assert kind.loss(logits, goal).item() == pytest.approx(sum(abs(p - t) for p, t in pairs), rel=1e-5)
    squared = LossOptions(regression="mse")
    assert kind.loss(logits, goal, squared).item() == pytest.approx(sum((p - t) ** 2 for p, t in pairs), rel=1e-5)


@pytest.mark.parametrize("options", [LossOptions(), OPTIONS], ids=["plain", "options"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("name", TARGETS)
def test_missing_labels_enter_nothing(name, soft, options):
    kind = kind_of(TARGETS[name], soft)
    _, logits, _ = batch(name)
    rng = np.random.default_rng(1)
    texts = [str(rng.choice(["", *LABELS[name]])) for _ in range(40)]
    goal = kind.collate([kind.goal(text) for text in texts])
    kept = kind.present(goal)
    assert kept.tolist() == [text != "" for text in texts]
    assert 0 < kept.sum() < len(kept)
    logits = logits.requires_grad_()
    loss = kind.loss(logits, goal, options)
    torch.testing.assert_close(loss, kind.loss(logits[kept], goal[kept], options))
    for key, value in kind.counts(logits, goal).items():
        torch.testing.assert_close(value, kind.counts(logits[kept], goal[kept])[key])
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[~kept] == 0).all()
    assert (gradient[kept] != 0).any(1).all()
    wild = logits.detach().clone()
    wild[~kept] = math.nan
    assert torch.equal(kind.loss(wild, goal, options), loss)
    nothing = kind.collate([kind.goal("")] * 3)
    loss = kind.loss(logits[:3], nothing, options)
    assert loss.item() == 0
    assert (torch.autograd.grad(loss, logits)[0] == 0).all()


@pytest.mark.parametrize("name", TARGETS)
def test_half_precision_logits_are_read_in_single(name):
    kind, logits, goal = batch(name)
    assert kind.loss(logits.half(), goal).dtype == torch.float32
    torch.testing.assert_close(kind.loss(logits.half(), goal), kind.loss(logits, goal), rtol=1e-2, atol=1e-2)
    for key, value in kind.counts(logits.half(), goal).items():
        torch.testing.assert_close(value, kind.counts(logits.half().float(), goal)[key])


@pytest.mark.parametrize("options", [LossOptions(), LossOptions(0.1, regression="mse")], ids=["plain", "options"])
@pytest.mark.parametrize("name", TARGETS)
def test_half_precision_goals_are_read_in_single(name, options):
    """fairseq's --fp16 and --bf16 convert every number of a batch, goals too."""
    kind, logits, goal = batch(name)
    goal = goal.half() if goal.is_floating_point() else goal
    logits = logits.half().requires_grad_()
    loss = kind.loss(logits, goal, options)
    loss.backward()
    expected = kind.loss(logits.float(), goal.float() if goal.is_floating_point() else goal, options)
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)
    assert logits.grad.isfinite().all()


# Balance and prior


def test_class_counts_leave_out_missing_labels():
    single, sets = kind_of(TARGETS["single"]), kind_of(TARGETS["multilabel"])
    positives, items = single.positives([single.encode(text) for text in ("sad", "", "neu", "sad")])
    assert (positives.tolist(), items) == ([1, 2, 0, 0], 3)
    positives, items = sets.positives([sets.encode(text) for text in ("sad|neu", "", "|", "sad")])
    assert (positives.tolist(), items) == ([1, 2, 0, 0], 3)
    for kind in (single, sets):
        positives, items = kind.positives([])
        assert (positives.tolist(), items) == ([0, 0, 0, 0], 0)


def test_balance_of_classes_is_sklearns():
    kind = kind_of(TARGETS["single"])
    truth = np.repeat(range(4), [60, 25, 10, 5])
    expected = compute_class_weight("balanced", classes=np.arange(4), y=truth)
    assert kind.balance(*kind.positives(truth)) == pytest.approx(expected, rel=1e-12)
    assert kind.balance(np.array([3, 0, 1, 0]), 4).tolist() == [4 / 12, 1, 1, 1]  # what train lacks stays as it is


@pytest.mark.parametrize("name", ["binary_each", "multilabel"])
def test_balance_of_decisions_is_sklearns(name):
    kind = kind_of(TARGETS[name])
    positives, items = np.array([60, 25, 10, 5]), 100
    for k, weight in enumerate(kind.balance(positives, items)):
        truth = np.repeat([0, 1], [items - positives[k], positives[k]])
        no, yes = compute_class_weight("balanced", classes=np.arange(2), y=truth)
        assert weight == pytest.approx(yes / no, rel=1e-12)
    assert kind.balance(np.array([4, 0, 1, 2]), 4).tolist() == [1, 1, 3, 1]  # always, never, one in four, half


def test_log_prior():
    positives, items = np.array([60, 25, 15, 0]), 100
    assert kind_of(TARGETS["single"]).log_prior(positives, items) == pytest.approx(np.log([0.6, 0.25, 0.15, 0.005]))
    expected = np.log([60 / 40, 25 / 75, 15 / 85, 0.5 / 100])
    assert kind_of(TARGETS["multilabel"]).log_prior(positives, items) == pytest.approx(expected)
    assert kind_of(TARGETS["binary_each"]).log_prior(np.array([100] * 4), 100) == pytest.approx(np.log([200] * 4))


# Metrics


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("size", [1, 7, 40])
def test_counts_add_up_over_any_batching_to_the_metrics(name, size):
    kind, logits, goal = batch(name)
    parts = [kind.counts(a, b) for a, b in zip(logits.split(size), goal.split(size), strict=True)]
    assert all(value.dtype == torch.float64 for part in parts for value in part.values())
    summed = {key: sum(part[key] for part in parts).numpy() for key in parts[0]}
    found = kind.from_counts(summed)
    expected = metrics.compute(name, kind.classes, goal.numpy(), kind.probabilities(logits).numpy())
    assert set(found) == set(kind.counted)
    assert found == pytest.approx({key: expected[key] for key in kind.counted}, rel=1e-6)


@pytest.mark.parametrize("name", TARGETS)
def test_counts_of_nothing_are_undefined(name):
    kind, logits, goal = batch(name, size=3, missing=2)
    counts = {key: value.numpy() for key, value in kind.counts(logits, goal).items()}
    assert {math.isnan(value) for value in kind.from_counts(counts).values()} == {True}


def test_counted_metrics_are_sklearns():
    for name in ("single", "binary_each"):
        kind, logits, goal = batch(name)
        kept = goal >= 0
        truth, scores = goal[kept].numpy(), logits[kept] if name == "single" else logits[kept, 1::2] - logits[kept, ::2]
        prediction = scores.argmax(1).numpy()
        found = kind.from_counts({key: value.numpy() for key, value in kind.counts(logits, goal).items()})
        assert found["wa"] == pytest.approx(sk.accuracy_score(truth, prediction))
        assert found["ua"] == pytest.approx(sk.balanced_accuracy_score(truth, prediction))
        assert found["wf1"] == pytest.approx(sk.f1_score(truth, prediction, average="weighted", zero_division=0))
        assert found["mf1"] == pytest.approx(sk.f1_score(truth, prediction, average="macro", zero_division=0))


@pytest.mark.parametrize("name", TARGETS)
def test_metrics_are_those_of_the_kind(name):
    kind, logits, goal = batch(name)
    scores = kind.probabilities(logits).numpy()
    found = kind.metrics(goal.numpy(), scores)
    assert found == metrics.compute(name, TARGETS[name].classes, goal.numpy(), scores)
    assert tuple(found) == kind.metric_names == metrics.names(name, TARGETS[name].classes)


@pytest.mark.parametrize("size", [20, 21])
def test_the_log_has_single_classes_where_they_are_few(size):
    kind = kind_of(Target("events", "multilabel", tuple(f"e{k}" for k in range(size))))
    found = kind.metrics(np.eye(size), np.full((size, size), 0.25))
    assert set(kind.metric_names) <= set(found)
    assert ("acc_e0" in kind.metric_names) == (size <= 20)
    assert "f1_e19" in found  # in results.json they always are


# Answers


def test_probabilities():
    _, logits, _ = batch("single")
    assert torch.equal(kind_of(TARGETS["single"]).probabilities(logits), logits.softmax(1))
    assert torch.equal(kind_of(TARGETS["multilabel"]).probabilities(logits), logits.sigmoid())
    pairs = torch.randn(5, 2 * K)
    expected = pairs.view(5, K, 2).softmax(-1)[..., 1]
    torch.testing.assert_close(kind_of(TARGETS["binary_each"]).probabilities(pairs), expected)
    assert kind_of(TARGETS["regression"]).probabilities(torch.tensor([[0.25], [-1]])).tolist() == [0.25, -1]


@pytest.mark.parametrize(
    ("name", "scores", "prediction"),
    [
        ("single", [0.25, 0.5, 0.125, 0.125], "sad"),
        ("binary_each", [0.25, 0.125, 0.375, 0.0], "ang"),
        ("multilabel", [0.25, 0.75, 0.5, 0.625], ["sad", "hap"]),
        ("multilabel", [0.25, 0.0, 0.5, 0.125], []),
    ],
)
def test_decode_is_plain_and_the_most_probable(name, scores, prediction):
    found = kind_of(TARGETS[name]).decode(np.array(scores, np.float32))
    assert found == {"prediction": prediction, "scores": dict(zip(CLASSES, scores, strict=True))}
    assert json.loads(json.dumps(found)) == found


def test_decode_of_a_number():
    found = kind_of(TARGETS["regression"]).decode(np.float32(0.25))
    assert found == {"prediction": 0.25, "scores": {}}
    assert type(found["prediction"]) is float


@pytest.mark.parametrize("name", SOFT)
def test_right_is_what_decode_says(name):
    kind, logits, goal = batch(name, missing=0)
    scores = kind.probabilities(logits).numpy()
    expected = [kind.decode(row)["prediction"] == kind.label(truth) for row, truth in zip(scores, goal.numpy())]
    assert kind.right(goal.numpy(), scores).tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_a_number_is_never_right():
    assert kind_of(TARGETS["regression"]).right(np.zeros(2), np.zeros(2)) is None

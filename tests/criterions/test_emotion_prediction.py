"""The criterion: weighted sum of the kinds' losses with their options, and logs that add up."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics
from sklearn.utils.class_weight import compute_class_weight

from mm_fairseq.criterions.emotion_prediction import EmotionPredictionCriterion
from mm_fairseq.criterions.options import EmotionPredictionCriterionConfig
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.targets import Target, kind_of

TARGETS = (
    Target("emotion", "single", ("a", "b", "c"), weight=0.5),
    Target("events", "multilabel", ("x", "y"), weight=0.0),
    Target("score", "regression", weight=2.0),
)
OUTPUTS = {"emotion": 3, "events": 2, "score": 1}
TRAIN = {"emotion": ([30, 10, 0], 40), "events": ([5, 20], 40)}


class Task(SimpleNamespace):
    """Notes whether the counts of train are asked for."""

    asked = False

    @property
    def positives(self):
        self.asked = True
        return {name: (np.array(positives), items) for name, (positives, items) in TRAIN.items()}


def criterion_of(targets=TARGETS, **options):
    task = Task(kinds={target.name: kind_of(target) for target in targets})
    return EmotionPredictionCriterion.build_criterion(EmotionPredictionCriterionConfig(**options), task)


@pytest.fixture
def criterion():
    return criterion_of()


def sample(size, seed=0):
    torch.manual_seed(seed)
    target = {
        "emotion": torch.randint(0, 3, (size,)),
        "events": torch.randint(0, 2, (size, 2)).float(),
        "score": torch.randn(size),
    }
    target["emotion"][0], target["events"][0], target["score"][-1] = -100, float("nan"), float("nan")
    logits = {name: torch.randn(size, width, requires_grad=True) for name, width in OUTPUTS.items()}
    return {"target": target, "nsentences": size, "ntokens": 9 * size}, {"logits": logits}


def losses(output, batch, class_weights=None, yes_weights=None):
    """The plain loss of each target, over labelled rows."""
    logits, target = output["logits"], batch["target"]
    return {
        "emotion": F.cross_entropy(logits["emotion"][1:], target["emotion"][1:], class_weights, reduction="sum"),
        "events": F.binary_cross_entropy_with_logits(
            logits["events"][1:], target["events"][1:], pos_weight=yes_weights, reduction="sum"
        ),
        "score": (logits["score"][:-1, 0] - target["score"][:-1]).abs().sum(),
    }


def test_loss_is_the_weighted_sum_over_labelled_rows(criterion):
    batch, output = sample(6)
    loss, size, log = criterion.score(output, batch)
    plain = losses(output, batch)
    torch.testing.assert_close(loss, 0.5 * plain["emotion"] + 2.0 * plain["score"])  # events weigh 0
    assert (size, log["sample_size"], log["nsentences"], log["ntokens"]) == (6, 6, 6, 54)
    assert log["loss"] == loss.detach()
    loss.backward()
    logits = output["logits"]
    assert logits["emotion"].grad[0].eq(0).all()
    assert logits["score"].grad[-1].eq(0).all()
    assert all(each.grad.isfinite().all() for each in logits.values())


def test_losses_of_the_architecture_are_added_and_logged():
    batch, output = sample(5)
    plain, _, _ = criterion_of().score(output, batch)
    own = torch.arange(5.0, requires_grad=True)
    criterion = criterion_of()
    total, size, log = criterion.score({**output, "losses": {"reconstruction": own}}, batch)
    assert total.item() == pytest.approx(plain.item() + 10)
    total.backward()
    assert own.grad.tolist() == [1] * 5
    with metrics.aggregate(new_root=True) as found:
        criterion.reduce_metrics([log, log])
    assert found.get_smoothed_values()["reconstruction_loss"] == pytest.approx(10 / size)


def test_target_weights_replace_those_of_the_data_bin():
    batch, output = sample(6)
    plain = losses(output, batch)
    found = criterion_of(target_weights="events=14,score=4").score(output, batch)[0]
    torch.testing.assert_close(found, 0.5 * plain["emotion"] + 14 * plain["events"] + 4 * plain["score"])


def test_class_weights_go_to_their_target():
    batch, output = sample(6)
    weights = {"class_weights": torch.tensor([1.0, 2.0, 3.0]), "yes_weights": torch.tensor([1.0, 5.0])}
    plain = losses(output, batch, **weights)
    found = criterion_of(class_weights="emotion:1,2,3;events:y=5", target_weights="events=1").score(output, batch)[0]
    torch.testing.assert_close(found, 0.5 * plain["emotion"] + plain["events"] + 2 * plain["score"])


def test_balanced_weights_are_those_of_train():
    batch, output = sample(6)
    seen = compute_class_weight("balanced", classes=np.arange(2), y=np.repeat([0, 1], [30, 10]))
    weights = torch.tensor([*(seen * 2 / 3), 1.0]).float()  # of three classes, of which train lacks the last
    plain = losses(output, batch, weights, torch.tensor([35 / 5, 20 / 20]))
    found = criterion_of(class_weights="balanced", target_weights="events=1").score(output, batch)[0]
    torch.testing.assert_close(found, 0.5 * plain["emotion"] + plain["events"] + 2 * plain["score"])


def test_logit_adjustment_shifts_by_the_prior_of_train():
    batch, output = sample(6)
    shift = {"emotion": np.log([30 / 40, 10 / 40, 0.5 / 40]), "events": np.log([5 / 35, 20 / 20]), "score": [0.0]}
    shifted = {name: each + 1.5 * torch.tensor(shift[name]).float() for name, each in output["logits"].items()}
    plain = losses({"logits": shifted}, batch)
    found = criterion_of(logit_adjustment=1.5, target_weights="events=1").score(output, batch)[0]
    torch.testing.assert_close(found, 0.5 * plain["emotion"] + plain["events"] + 2 * plain["score"])


def test_smoothing_focus_and_loss_of_numbers_reach_the_kinds():
    batch, output = sample(6)
    logits, target = output["logits"], batch["target"]
    found = criterion_of(TARGETS[:1], label_smoothing=0.1).score(output, batch)[0]
    expected = F.cross_entropy(logits["emotion"][1:], target["emotion"][1:], label_smoothing=0.1, reduction="sum")
    torch.testing.assert_close(found, 0.5 * expected)
    found = criterion_of(TARGETS[:1], focal_gamma=2.0).score(output, batch)[0]
    p = logits["emotion"][1:].softmax(1).gather(1, target["emotion"][1:, None])
    torch.testing.assert_close(found, 0.5 * (-((1 - p) ** 2) * p.log()).sum())
    found = criterion_of(TARGETS[2:], regression_loss="mse").score(output, batch)[0]
    torch.testing.assert_close(found, 2 * (logits["score"][:-1, 0] - target["score"][:-1]).square().sum())


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, False),
        ({"class_weights": "emotion:1,2,3", "label_smoothing": 0.1, "focal_gamma": 1.0}, False),
        ({"class_weights": "events:balanced"}, True),
        ({"logit_adjustment": 0.5}, True),
    ],
)
def test_train_is_counted_only_where_the_loss_needs_it(options, asked):
    assert criterion_of(**options).task.asked == asked


@pytest.mark.parametrize(
    "option", [{"class_weights": "emotion:1,2"}, {"target_weights": "mood=1"}, {"focal_gamma": -1}]
)
def test_bad_options_end_it_before_the_training(option):
    with pytest.raises(MMFairseqError, match=f"--{next(iter(option)).replace('_', '-')}"):
        criterion_of(**option)


def test_forward_gives_the_model_its_inputs_only(criterion):
    batch, output = sample(3)
    batch["net_input"] = {"inputs": {"audio": 1}, "padding_masks": {"audio": 2}}

    def model(**given):
        assert given == batch["net_input"]
        return output

    assert criterion(model, batch)[0] == criterion.score(output, batch)[0]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_logs_add_up_to_the_loss_per_utterance(criterion, size):
    batch, output = sample(11)
    whole = criterion.score(output, batch)
    logs = []
    for start in range(0, 11, size):
        rows = slice(start, start + size)
        part = {name: value[rows] for name, value in batch["target"].items()}
        given = {"target": part, "nsentences": len(part["emotion"]), "ntokens": 1}
        logits = {name: value[rows] for name, value in output["logits"].items()}
        logs.append(criterion.score({"logits": logits}, given)[2])
    assert criterion.logging_outputs_can_be_summed()
    counts = {key for key in whole[2] if key.startswith("_")}
    assert counts == {"_emotion:confusion", "_events:binary", "_score:error", "_score:items"}
    for key in counts:
        torch.testing.assert_close(sum(log[key] for log in logs), whole[2][key])
    with metrics.aggregate(new_root=True) as found:
        EmotionPredictionCriterion.reduce_metrics([{}, *logs])  # an empty log comes from a rank without a batch
    assert found["loss"].avg == pytest.approx(whole[0].item() / 11, rel=1e-5)


def test_in_validation_nothing_is_counted_or_summed(criterion):
    batch, output = sample(4)
    log = criterion.eval().score(output, batch)[2]
    assert set(log) == {"loss", "sample_size", "nsentences", "ntokens"}
    assert not criterion.logging_outputs_can_be_summed()


def test_no_utterance_logs_no_loss():
    with metrics.aggregate(new_root=True) as found:
        EmotionPredictionCriterion.reduce_metrics([{}])
    assert "loss" not in found

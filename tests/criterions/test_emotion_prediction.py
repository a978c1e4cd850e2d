"""The criterion: weighted sum of the kinds' losses, and logs that add up."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from fairseq.logging import metrics

from mm_fairseq.criterions.emotion_prediction import EmotionPredictionCriterion
from mm_fairseq.targets import Target, kind_of

TARGETS = [Target("emotion", "single", ("a", "b", "c"), weight=0.5), Target("score", "regression", weight=2.0)]


@pytest.fixture
def criterion():
    return EmotionPredictionCriterion(SimpleNamespace(kinds={target.name: kind_of(target) for target in TARGETS}))


def sample(size, seed=0):
    torch.manual_seed(seed)
    emotion = torch.randint(0, 3, (size,))
    score = torch.randn(size)
    emotion[0], score[-1] = -100, float("nan")
    logits = {"emotion": torch.randn(size, 3, requires_grad=True), "score": torch.randn(size, 1, requires_grad=True)}
    batch = {"target": {"emotion": emotion, "score": score}, "nsentences": size, "ntokens": 9 * size}
    return batch, {"logits": logits}


def test_loss_is_the_weighted_sum_over_labelled_rows(criterion):
    batch, output = sample(6)
    loss, size, log = criterion.score(output, batch)
    logits, target = output["logits"], batch["target"]
    expected = 0.5 * F.cross_entropy(logits["emotion"][1:], target["emotion"][1:], reduction="sum")
    expected = expected + 2.0 * (logits["score"][:-1, 0] - target["score"][:-1]).abs().sum()
    torch.testing.assert_close(loss, expected)
    assert (size, log["sample_size"], log["nsentences"], log["ntokens"]) == (6, 6, 6, 54)
    assert log["loss"] == loss.detach()
    loss.backward()
    assert logits["emotion"].grad[0].eq(0).all()
    assert logits["score"].grad[-1].eq(0).all()
    assert logits["score"].grad.isfinite().all()


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
    for key in [key for key in whole[2] if key.startswith("_")]:
        torch.testing.assert_close(sum(log[key] for log in logs), whole[2][key])
    with metrics.aggregate(new_root=True) as found:
        EmotionPredictionCriterion.reduce_metrics([{}, *logs])  # an empty log comes from a rank without a batch
    assert found["loss"].avg == pytest.approx(whole[0].item() / 11, rel=1e-5)


def test_no_utterance_logs_no_loss():
    with metrics.aggregate(new_root=True) as found:
        EmotionPredictionCriterion.reduce_metrics([{}])
    assert "loss" not in found

"""--heads: which targets are predicted, and the weighted mean of their losses."""

import pytest
import torch
from task_factory import checkpoint_task, criterion_of, state_of, task_of

from mm_fairseq.criterions.options import EmotionPredictionCriterionConfig
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.tasks._choices import heads


def test_shares_add_up_to_one():
    assert heads("") == {}
    assert heads("action,object, location") == pytest.approx({"action": 1 / 3, "object": 1 / 3, "location": 1 / 3})
    found = heads("action=6, object = 14,location=4")
    assert found == pytest.approx({"action": 6 / 24, "object": 14 / 24, "location": 4 / 24})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("action,", r"--heads '': expected TARGET or TARGET=W"),
        ("action=0", "--heads 'action=0': .* a number above 0"),
        ("action=-1,object=2", "--heads 'action=-1'"),
        ("action=six", "--heads 'action=six'"),
        ("action=inf", "--heads 'action=inf'"),
        ("action=", "--heads 'action='"),
        ("=3", "--heads '=3'"),
        ("action,action", "'action' is given twice"),
        ("action=2,object", "weigh all targets, or none"),
    ],
)
def test_bad_heads_are_named(text, words):
    with pytest.raises(MMFairseqError, match=words):
        heads(text)


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"heads": "sentiment=3,emotion=1"}, {"emotion": 0.25, "sentiment": 0.75}),
        ({"heads": "emotion,events"}, {"emotion": 0.5, "events": 0.5}),
        ({"heads": "emotion,events", "targets": "events,emotion"}, {"emotion": 0.5, "events": 0.5}),
        ({"targets": "emotion,events"}, {"emotion": 1.0, "events": 1.0}),
    ],
)
def test_targets_and_weights_are_chosen(every_kind, options, weights):
    task = task_of(every_kind, **options)
    assert {name: kind.target.weight for name, kind in task.kinds.items()} == pytest.approx(weights)
    assert list(task.outputs) == list(weights)  # in the order of the data-bin


def test_the_loss_is_the_weighted_mean(every_kind):
    task = task_of(every_kind, heads="emotion=6,events=14,sentiment=4")
    task.load_dataset("valid")
    batch = task.dataset("valid").collater([task.dataset("valid")[number] for number in range(4)])
    torch.manual_seed(0)
    output = {"logits": {name: torch.randn(4, size) for name, size in task.outputs.items()}}
    found = criterion_of(task).score(output, batch)[0]
    alone = {
        name: kind.loss(output["logits"][name], batch["target"][name], criterion_of(task).options[name])
        for name, kind in task.kinds.items()
    }
    expected = (6 * alone["emotion"] + 14 * alone["events"] + 4 * alone["sentiment"]) / 24
    torch.testing.assert_close(found, expected)


def test_contradictions_are_errors(every_kind):
    with pytest.raises(MMFairseqError, match=r"--heads 'mood' is not in .*; it has emotion"):
        task_of(every_kind, heads="emotion,mood").kinds  # noqa: B018
    with pytest.raises(MMFairseqError, match="--heads emotion contradicts --targets emotion,events"):
        task_of(every_kind, heads="emotion", targets="emotion,events").kinds  # noqa: B018
    task = task_of(every_kind, heads="emotion,events")
    with pytest.raises(MMFairseqError, match="--heads emotion,events and --target-weights events=2 both weigh"):
        task.build_criterion(EmotionPredictionCriterionConfig(target_weights="events=2"))


def test_a_checkpoint_remembers_and_is_checked(every_kind):
    state = state_of(task_of(every_kind, heads="emotion=1,events=3"))
    again = checkpoint_task(every_kind, state, heads="events=3,emotion=1")
    assert {name: kind.target.weight for name, kind in again.kinds.items()} == {"emotion": 0.25, "events": 0.75}
    with pytest.raises(MMFairseqError, match="--heads emotion: the checkpoint predicts emotion, events"):
        checkpoint_task(every_kind, state, heads="emotion").kinds  # noqa: B018

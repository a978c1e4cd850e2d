"""--backbone-lr, and backbones that wait."""

import pytest
import torch
from omegaconf import OmegaConf
from small_backbones import entry
from task_factory import model_cfg, task_of

from mm_fairseq.backbones import BackboneSet
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.tasks._backbones import separate_learning_rate


class Model(torch.nn.Module):
    def __init__(self, frozen=False):
        super().__init__()
        self.backbones = BackboneSet({"text": entry("roberta", frozen=frozen) | {"sha256": {"file": "ab"}}})
        self.head = torch.nn.Linear(2, 2)


def options(rate, lr=(0.1,), **common):
    root = OmegaConf.create(
        {
            "model": {"backbone_lr": rate},
            "optimization": {"lr": list(lr)},
            "optimizer": {"_name": "adam", "lr": "${optimization.lr}", "adam_eps": 1e-6},
            "lr_scheduler": {"_name": "fixed", "lr": "${optimization.lr}", "warmup_updates": 3},
            "common": {"fp16": False, "fp16_no_flatten_grads": False, **common},
        }
    )
    OmegaConf.set_struct(root, True)
    return root


def test_two_groups_with_the_optimizer_and_scheduler_that_were_asked_for():
    root, model = options(0.001), Model()
    separate_learning_rate(root.model, model)
    assert root.optimizer._name == "composite"
    assert root.lr_scheduler._name == "pass_through"
    for name, rate in (("default", 0.1), ("backbones", 0.001)):
        group = root.optimizer.groups[name]
        assert (group.optimizer._name, group.optimizer.adam_eps, group.optimizer.lr) == ("adam", 1e-6, [rate])
        assert (group.lr_scheduler._name, group.lr_scheduler.warmup_updates) == ("fixed", 3)
    groups = {name: getattr(weight, "param_group", "default") for name, weight in model.named_parameters()}
    assert {name.partition(".")[0]: group for name, group in groups.items()} == {
        "backbones": "backbones",
        "head": "default",
    }


@pytest.mark.parametrize(("lr", "rates"), [([0.1, 0.2], [0.001, 0.002]), ([0.0], [0.001])])
def test_a_rate_for_each_epoch_keeps_its_shape(lr, rates):
    root = options(0.001, lr)
    separate_learning_rate(root.model, Model())
    assert root.optimizer.groups.default.optimizer.lr == lr
    assert root.optimizer.groups.backbones.optimizer.lr == pytest.approx(rates)


def test_nothing_changes_unasked():
    root = options(0.0)
    before = OmegaConf.to_container(root)
    separate_learning_rate(root.model, Model())
    assert OmegaConf.to_container(root) == before


@pytest.mark.parametrize(
    ("rate", "frozen", "common", "words"),
    [
        (-1.0, False, {}, r"--backbone-lr -1\.0: must not be negative"),
        (0.1, True, {}, r"--backbone-lr 0\.1: no pretrained backbone learns; .*--finetune-backbones"),
        (0.1, False, {"fp16": True}, r"--fp16-no-flatten-grads"),
    ],
)
def test_rates_that_mean_nothing(rate, frozen, common, words):
    with pytest.raises(MMFairseqError, match=words):
        separate_learning_rate(options(rate, **common).model, Model(frozen))


def test_half_precision_without_flat_gradients():
    root = options(0.001, fp16=True, fp16_no_flatten_grads=True)
    separate_learning_rate(root.model, Model())
    assert root.optimizer._name == "composite"


@pytest.mark.parametrize("updates", [0, 1])
def test_waiting_backbones_are_not_touched_by_weight_decay(roberta_data_bin, checkpoints, updates):
    task = task_of(roberta_data_bin, t_only=True)
    pretrained = {"text_backbone": f"roberta:{checkpoints}/roberta", "finetune_backbones": "text"}
    model = task.build_model(model_cfg(freeze_finetune_updates=1, encoder_attention_heads=4, **pretrained))
    task.load_dataset("valid")
    data = task.dataset("valid")
    model.train().set_num_updates(updates)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    model(**data.collater([data[0]])["net_input"])["logits"]["emotion"].sum().backward()
    task.optimizer_step(optimizer, model, updates)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert any("backbones" in name for name in changed) == bool(updates)
    assert any("heads" in name for name in changed)

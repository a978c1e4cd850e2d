"""--backbone-lr, and backbones that wait."""

import pytest
import torch
from fairseq.optim.fp16_optimizer import FP16Optimizer
from omegaconf import OmegaConf
from small_backbones import entry
from task_factory import model_cfg, task_of

from mm_fairseq.backbones import BackboneSet
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.tasks._backbones import leave_alone, separate_learning_rate


class Model(torch.nn.Module):
    def __init__(self, frozen=False):
        super().__init__()
        self.backbones = BackboneSet({"text": entry("roberta", frozen=frozen) | {"sha256": {"file": "ab"}}})
        self.head = torch.nn.Linear(2, 2)


def options(rate, lr=(0.1,), **common):
    root = OmegaConf.create(
        {
            "model": {"backbone_lr": rate, "freeze_finetune_updates": 0},
            "optimization": {"lr": list(lr)},
            "optimizer": {"_name": "adam", "lr": "${optimization.lr}", "adam_eps": 1e-6},
            "lr_scheduler": {"_name": "fixed", "lr": "${optimization.lr}", "warmup_updates": 3},
            "common": {"fp16": False, "bf16": False, "fp16_no_flatten_grads": False, **common},
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
    ("rate", "waits", "common", "words"),
    [
        (-1.0, 0, {}, r"--backbone-lr -1\.0: must not be negative"),
        (0.1, 0, {"fp16": True}, r"--backbone-lr in half precision needs --fp16-no-flatten-grads"),
        (0.0, 3, {"fp16": True}, r"--freeze-finetune-updates in half precision needs --fp16-no-flatten-grads"),
        (0.0, 3, {"bf16": True}, r"--freeze-finetune-updates in half precision needs"),
    ],
)
def test_options_that_cannot_be_followed(rate, waits, common, words):
    root = options(rate, **common)
    root.model.freeze_finetune_updates = waits
    with pytest.raises(MMFairseqError, match=words):
        separate_learning_rate(root.model, Model())


@pytest.mark.parametrize("option", [{"backbone_lr": 0.1}, {"finetune_top_layers": 1}, {"freeze_finetune_updates": 2}])
@pytest.mark.parametrize("frozen", [True, False])
def test_options_with_nothing_to_act_on(roberta_data_bin, checkpoints, option, frozen):
    name = next(iter(option)).replace("_", "-")
    text = f"roberta:{checkpoints}/roberta" if frozen else "embedding:dim=8"
    task = task_of(roberta_data_bin, t_only=True)
    with pytest.raises(MMFairseqError, match=rf"--{name} .*no pretrained backbone learns.*--finetune-backbones"):
        task.build_model(model_cfg(text_backbone=text, encoder_attention_heads=4, **option))


def test_a_backbone_that_cannot_be_fine_tuned_is_named(data_bin, caplog):
    task_of(data_bin, t_only=True).build_model(model_cfg(finetune_backbones="text,audio"))
    assert "--finetune-backbones text: embedding has no pretrained file" in caplog.text
    assert "audio" not in caplog.text


@pytest.mark.parametrize("option", ["finetune_top_layers", "freeze_finetune_updates"])
def test_negative_numbers(roberta_data_bin, checkpoints, option):
    task = task_of(roberta_data_bin, t_only=True)
    tuned = {"text_backbone": f"roberta:{checkpoints}/roberta", "finetune_backbones": "text"}
    with pytest.raises(MMFairseqError, match=rf"--{option.replace('_', '-')} -1: must not be negative"):
        task.build_model(model_cfg(encoder_attention_heads=4, **tuned, **{option: -1}))


def test_half_precision_without_flat_gradients():
    root = options(0.001, fp16=True, fp16_no_flatten_grads=True)
    separate_learning_rate(root.model, Model())
    assert root.optimizer._name == "composite"


@pytest.mark.parametrize("updates", [0, 1])
def test_waiting_backbones_are_not_touched_in_half_precision(updates):
    model = Model().half()
    adam = {"_name": "adam", "adam_betas": [0.9, 0.999], "adam_eps": 1e-6, "weight_decay": 0.5, "use_old_adam": True}
    cfg = OmegaConf.create(
        {
            "optimizer": {**adam, "tpu": False, "lr": [0.1]},
            "common": {
                "fp16": True,
                "bf16": False,
                "fp16_no_flatten_grads": True,
                "fp16_init_scale": 1,
                "fp16_scale_window": 8,
                "fp16_scale_tolerance": 0.0,
                "min_loss_scale": 1e-4,
                "threshold_loss_scale": None,
                "on_cpu_convert_precision": False,
            },
            "distributed_training": {"distributed_world_size": 1, "pipeline_model_parallel": False},
            "optimization": {"update_freq": [1]},
        }
    )
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    before = [weight.detach().clone() for weight in weights]
    optimizer = FP16Optimizer.build_optimizer(cfg, weights)
    waiting = model.backbones.tuned_parameters() if not updates else []
    for _ in range(2):
        optimizer.zero_grad()
        optimizer.backward(sum((0 if any(w is x for x in waiting) else 1) * w.float().sum() for w in weights))
        optimizer.clip_grad_norm(0.0)
        leave_alone(optimizer, waiting)
        optimizer.step()
    still = [torch.equal(weight, old) for weight, old in zip(weights, before, strict=True)]
    assert still == [any(weight is each for each in waiting) for weight in weights]


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

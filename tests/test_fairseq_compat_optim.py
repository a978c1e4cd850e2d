"""Repairs of fairseq's composite optimizer."""

import pytest
import torch
from fairseq.optim import build_optimizer
from fairseq.optim.composite import CompositeLRScheduler
from fairseq.optim.lr_scheduler import FairseqLRScheduler, build_lr_scheduler
from fairseq.optim.lr_scheduler.pass_through import PassThroughScheduleSchedule
from omegaconf import OmegaConf

from mm_fairseq import fairseq_compat


@pytest.fixture
def unrepaired(monkeypatch):
    """fairseq as it is released."""

    def step(self, epoch, val_loss=None):
        for scheduler in self.lr_schedulers.values():
            scheduler.step(epoch)

    monkeypatch.setattr(CompositeLRScheduler, "step", step)
    monkeypatch.setattr(PassThroughScheduleSchedule, "step", FairseqLRScheduler.step)


def rates_after_bad_epochs():
    weight = torch.nn.Parameter(torch.zeros(1))
    other = torch.nn.Parameter(torch.zeros(1))
    weight.param_group = "backbones"
    adam = {"_name": "adam", "adam_betas": [0.9, 0.999], "adam_eps": 1e-8, "weight_decay": 0.0, "use_old_adam": True}
    plateau = {
        "_name": "reduce_lr_on_plateau",
        "lr_shrink": 0.1,
        "lr_threshold": 0.0,
        "lr_patience": 0,
        "warmup_updates": 0,
        "warmup_init_lr": -1,
        "maximize_best_checkpoint_metric": False,
    }
    groups = {
        name: {"optimizer": {**adam, "tpu": False, "lr": [rate]}, "lr_scheduler": {**plateau, "lr": [rate]}}
        for name, rate in (("default", 1.0), ("backbones", 0.01))
    }
    cfg = OmegaConf.create({"_name": "composite", "groups": groups, "dynamic_groups": False})
    optimizer = build_optimizer(cfg, [weight, other])
    scheduler = build_lr_scheduler(OmegaConf.create({"_name": "pass_through"}), optimizer)
    for epoch, loss in enumerate((1.0, 2.0), start=1):
        scheduler.step(epoch, loss)
    return {name: each.get_lr() for name, each in optimizer.optimizers.items()}


def test_a_plateau_lowers_the_rate_of_every_group():
    assert rates_after_bad_epochs() == pytest.approx({"default": 0.1, "backbones": 0.001})


def test_fairseq_itself_keeps_the_loss_from_them(unrepaired):
    assert rates_after_bad_epochs() == {"default": 1.0, "backbones": 0.01}


def test_the_repair_is_in_place():
    assert CompositeLRScheduler.step is fairseq_compat._step_of_groups
    assert PassThroughScheduleSchedule.step is fairseq_compat._step_of_optimizer

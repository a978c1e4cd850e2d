"""Splits under stress and the options that were given, which `fairseq-validate` keeps from a task."""

import pytest
from fairseq.distributed import utils as distributed_utils
from omegaconf import OmegaConf

from mm_fairseq import fairseq_compat


def config(stress, subsets="test"):
    return OmegaConf.create(
        {"task": {"_name": "emotion_prediction", "stress": stress}, "dataset": {"valid_subset": subsets}}
    )


@pytest.fixture
def scored(monkeypatch):
    """What the command loops over after `call_main`."""
    told = []

    def original(cfg, main, **kwargs):
        told.append(cfg.dataset.valid_subset)

    repaired = fairseq_compat._stressed_subsets(original)

    def call(cfg, **kwargs):
        repaired(cfg, None, **kwargs)
        return told[-1]

    return call


def test_the_repair_is_made():
    assert distributed_utils.call_main.__wrapped__.__module__ == "fairseq.distributed.utils"
    assert distributed_utils.call_main.__module__ == "fairseq.distributed.utils"  # as functools.wraps leaves it
    assert distributed_utils.call_main.__code__.co_filename == fairseq_compat.__file__


@pytest.mark.parametrize(
    ("stress", "subsets", "expected"),
    [
        ("", "valid,test", "valid,test"),
        ("noise=20, without=audio", "test", "test,test@noise=20,test@without=audio"),
        ("noise=0", "valid,test", "valid,valid@noise=0,test,test@noise=0"),
        ("noise=0", "test,test@noise=0,test@noise=9", "test,test@noise=0,test@noise=9"),
    ],
)
def test_each_split_is_scored_under_each_stress(scored, stress, subsets, expected):
    assert scored(config(stress, subsets), override_args=None) == expected


def test_training_and_other_tasks_are_left_alone(scored):
    assert scored(config("noise=0")) == "test"  # fairseq-train has no override_args; the task refuses --stress
    assert scored(OmegaConf.create({"dataset": {"valid_subset": "test"}}), override_args=None) == "test"


def test_options_that_were_given_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr(fairseq_compat, "_asked", {})
    monkeypatch.setattr(fairseq_compat, "overridden", set())
    (tmp_path / "checkpoint.pt").touch()
    seen = []

    def original(*_):
        seen.append(set(fairseq_compat.overridden))
        raise LookupError

    for options in ({"word_drop": 0.3, "path": "x"}, None):
        with pytest.raises(LookupError):
            fairseq_compat._remember_loggers(original)([str(tmp_path / "checkpoint.pt")], options)
    assert seen == [{"word_drop", "path"}, set()]

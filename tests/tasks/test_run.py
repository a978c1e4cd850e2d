"""What the task reads of the options around its own, and how the best checkpoint is chosen."""

import dataclasses
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from fairseq.dataclass.configs import FairseqConfig
from omegaconf import OmegaConf
from task_factory import around, model_cfg, task_of

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.tasks import _run
from mm_fairseq.tasks._run import Run

NAMES = ("wa", "ua", "mae", "ece_emotion", "mae_sentiment", "acc2_has0_sentiment", "acc_loss", "exact_match", "loss")


def settings(**options):
    return _run.settings(OmegaConf.create({**around(**options), "task": {}}).task)


@pytest.mark.parametrize(
    ("select", "maximize"),
    [
        ("loss", False),
        ("ua", True),
        ("mae", False),
        ("mae_sentiment", False),
        ("ece_emotion", False),
        ("acc2_has0_sentiment", True),
        ("acc_loss", True),  # accuracy of a class of that name
        ("exact_match", True),
        ("", True),  # nothing is validated
    ],
)
def test_good_selections_pass(select, maximize):
    Run(select=select, maximize=maximize).check_selection(NAMES)


@pytest.mark.parametrize(
    ("select", "maximize", "words"),
    [
        ("uar", True, r"--best-checkpoint-metric 'uar'; this training logs wa, ua, mae.*loss"),
        ("wa_emotion", True, r"'wa_emotion'; this training logs wa"),
        ("wa", False, r"wa: the worst checkpoint would be kept; add --maximize-best-checkpoint-metric"),
        ("exact_match", False, r"exact_match: .*; add --maximize-best-checkpoint-metric"),
        ("mae", True, r"mae: the worst checkpoint would be kept; leave out --maximize-best-checkpoint-metric"),
        ("mae_sentiment", True, r"mae_sentiment: .*; leave out --maximize"),
        ("ece_emotion", True, r"ece_emotion: .*; leave out --maximize"),
        ("loss", True, r"loss: .*; leave out --maximize"),
    ],
)
def test_bad_selections_are_named(select, maximize, words):
    with pytest.raises(MMFairseqError, match=words):
        Run(select=select, maximize=maximize).check_selection(NAMES)


def test_selection_is_checked_before_the_training(data_bin):
    """By the names that this data-bin's targets will be logged under."""
    for select, maximize, words in (
        ("mf2", True, r"'mf2'; this training logs wa, ua, wf1, mf1, map, auc, ece, loss"),
        ("wa", False, r"add --maximize"),
        ("ece", True, r"leave out --maximize"),
    ):
        task = task_of(data_bin, around=around(select=select, maximize=maximize), modalities="text")
        with pytest.raises(MMFairseqError, match=words):
            task.build_model(model_cfg())
    task_of(data_bin, around=around(select="mf1", maximize=True), modalities="text").build_model(model_cfg())


def test_settings_of_a_training():
    found = settings(select="ua", maximize=True, max_valid_steps=5)
    assert found == Run(3, "ssl_fusion", "", None, True, "ua", True)
    assert found.about() == {"seed": 3, "arch": "ssl_fusion", "checkpoint": ""}
    assert settings(max_valid_steps=0).partial  # one batch, as fairseq counts
    assert not settings().partial


def test_settings_of_a_validation(tmp_path):
    path = tmp_path / "run" / "best.pt"
    found = settings(checkpoint=path, max_valid_steps=5)
    assert (found.checkpoint, found.predictions_dir) == ("best.pt", tmp_path / "run")
    assert not found.partial  # the options are those of the training, which was cut short; this is not
    found = settings(checkpoint=path, results_path=str(tmp_path / "elsewhere"))
    assert found.predictions_dir == tmp_path / "elsewhere"
    assert settings(checkpoint="best.pt").predictions_dir == Path(".")


def test_nothing_is_chosen_without_validation():
    options = around(select="ua")
    options["dataset"]["disable_validation"] = True
    assert _run.settings(OmegaConf.create({**options, "task": {}}).task).select == ""


@pytest.mark.parametrize("subsets", ["test", "valid,test"])
def test_training_does_not_look_at_test(subsets):
    options = around()
    options["dataset"]["valid_subset"] = subsets
    run = _run.settings(OmegaConf.create({**options, "task": {}}).task)
    with pytest.raises(MMFairseqError, match=f"--valid-subset {subsets}: training must not look at test"):
        run.check_selection(["loss"])


def test_fairseqs_own_options_are_understood():
    root = OmegaConf.create({**dataclasses.asdict(FairseqConfig()), "task": {}, "model": {"_name": "semiemo"}})
    assert _run.settings(root.task) == Run(arch="semiemo", select="loss")


@pytest.mark.parametrize("cfg", [OmegaConf.create({}), OmegaConf.create({"task": {}}).task])
def test_defaults_where_a_task_is_made_by_itself(cfg):
    assert _run.settings(cfg) == Run()


def test_resume_path(tmp_path):
    def path_of(restore, folder, **more):
        root = {"model": {}, "checkpoint": {"save_dir": str(folder), "restore_file": str(restore), **more}}
        return _run.resume_path(OmegaConf.create(root).model)

    last, other = tmp_path / "checkpoint_last.pt", tmp_path / "other.pt"
    assert path_of("checkpoint_last.pt", tmp_path) is None
    for path in (last, other):
        torch.save({}, path)
    assert path_of("checkpoint_last.pt", tmp_path) == last
    best = tmp_path / "checkpoint_best.pt"
    torch.save({"optimizer_history": [{"num_updates": 3}]}, best)
    last.write_bytes(last.read_bytes()[:-1])
    assert path_of("checkpoint_last.pt", tmp_path) == best
    best.rename(tmp_path / "checkpoint_best_x.pt")
    assert path_of("checkpoint_last.pt", tmp_path, checkpoint_suffix="_x") is None
    shutil.copy(last, tmp_path / "checkpoint_last_x.pt")
    found = path_of("checkpoint_last.pt", tmp_path, checkpoint_suffix="_x")
    assert found == tmp_path / "checkpoint_best_x.pt"
    assert path_of(tmp_path / "checkpoint_best.pt", tmp_path, checkpoint_suffix="_x") == found
    assert last.is_file()
    assert path_of("checkpoint_last.pt", tmp_path) is None
    assert (tmp_path / "checkpoint_last.pt.damaged").is_file()
    assert path_of(other, tmp_path / "new") == other
    assert path_of(tmp_path / "gone.pt", tmp_path) is None
    assert _run.resume_path(OmegaConf.create({})) is None


def test_description_of_this_process():
    found = _run.describe()
    assert found["command"] == sys.argv
    assert found["command"] is not sys.argv
    assert found["versions"]["torch"] == version("torch")
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"mm-fairseq", "fairseq-fixed", "numpy", "scikit-learn"} <= set(found["versions"])


def test_a_process_alone_is_the_first():
    assert _run.rank() == 0

"""Checkpoints of strangers do nothing but be refused."""

import hostile_files
import pytest
import torch
from changed_models import changed, refused

HOSTILE = {
    "a tokeniser of no bytes": lambda state: state["task_state"]["tokenizer"].update({"vocab.bpe": "words"}),
    "pictures without end": lambda state: state["task_state"]["meta"].update(fps=1e6),
    "a number of 5000 digits": lambda state: state["task_state"]["meta"].update(fps=10**5000),
    "an option that is a program": lambda state: state["cfg"]["model"].update(adam_betas=hostile_files.EVAL),
    "a backbone's": lambda state: state["cfg"]["model"]["backbone_args"]["audio"]["args"].update(
        conv_feature_layers=hostile_files.EVAL
    ),
    "the environment": lambda state: state["cfg"]["model"].update(d_model="${oc.env:HOME}"),
    "terabytes": lambda state: state["cfg"]["model"].update(d_model=2**22),
    "weights of words": lambda state: state.update(model={"w": "x"}),
    "weights of others": lambda state: state.update(model={"w": torch.ones(2)}),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_checkpoint_of_ours_that_was_changed(small_models, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    refused(changed(small_models, tmp_path, HOSTILE[name]), "")
    assert not (tmp_path / "owned").exists()


def test_hostile_checkpoints_do_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pickles").mkdir()
    (tmp_path / "options").mkdir()
    tricks = hostile_files.checkpoints(tmp_path / "pickles") | hostile_files.options(tmp_path / "options")
    assert len(tricks) > 50
    for path in list(tricks.values())[::3]:  # all of them are tried in tests/untrusted
        refused(path, "")
    assert not list(tmp_path.rglob("owned*"))

"""A pretrained fusion: read once, kept in the options, not needed to resume."""

import pytest
import torch
from fairseq.models import MODEL_REGISTRY
from omegaconf import OmegaConf

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.tasks import _fusion


class Fused:
    """An architecture whose pretrained file says how wide it is."""

    may_be_pretrained = True

    @classmethod
    def fusion_file(cls, cfg):
        return cfg.fused

    @classmethod
    def read_fusion(cls, path):
        return {"width": int(path.read_text()), "layers": 2}, {"weight": torch.ones(1)}


@pytest.fixture
def resolve(tmp_path, monkeypatch):
    monkeypatch.setitem(MODEL_REGISTRY, "fused", Fused)

    def resolve(file, saved=None):
        checkpoint = None
        if saved is not None:
            checkpoint = tmp_path / "checkpoint_last.pt"
            torch.save({"cfg": {"model": {"_name": "fused", "fusion_args": saved}}}, checkpoint)
        return _fusion.resolve(OmegaConf.create({"_name": "fused", "fused": str(file)}), checkpoint)

    return resolve


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "fused.txt"
    path.write_text("8")
    return path


def test_a_new_training_takes_arguments_and_weights_from_the_file(resolve, file):
    found = resolve(file)
    assert found.args == {"width": 8, "layers": 2}
    assert found.weights.keys() == {"weight"}


def test_without_a_file_there_is_nothing(resolve):
    assert resolve("") == (None, None)


def test_a_resumed_training_does_without_the_file(resolve, tmp_path):
    assert resolve(tmp_path / "gone", {"width": 8, "layers": 2}) == ({"width": 8, "layers": 2}, None)


def test_a_training_is_resumed_with_a_file_only_where_it_began_with_one(resolve, file, tmp_path):
    with pytest.raises(MMFairseqError, match="begun with a pretrained fusion, now without"):
        resolve("", {"width": 8, "layers": 2})
    torch.save({"cfg": {"model": {"_name": "fused", "fusion_args": None}}}, tmp_path / "plain.pt")
    with pytest.raises(MMFairseqError, match=r"begun without a pretrained fusion, now with .*fused.txt"):
        _fusion.resolve(OmegaConf.create({"_name": "fused", "fused": str(file)}), tmp_path / "plain.pt")


def test_a_new_training_does_not(resolve, tmp_path):
    with pytest.raises(FileNotFoundError, match="gone"):
        resolve(tmp_path / "gone")


def test_a_training_is_resumed_with_the_fusion_that_it_began_with(resolve, file):
    assert resolve(file, {"width": 8, "layers": 2}).args == {"width": 8, "layers": 2}
    with pytest.raises(MMFairseqError, match=r"begun with another .*fused.txt: width differ"):
        resolve(file, {"width": 9, "layers": 2})

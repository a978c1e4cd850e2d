"""Latent features of wav2vec v1; its context features are in test_pretrained.py."""

import pytest
import torch
from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel
from public_files import features, load

from mm_fairseq.backbones import BackboneSet
from mm_fairseq.errors import MMFairseqError


@pytest.mark.parametrize("file", ["wav2vec.pt", "wav2vec_args.pt"])
def test_latent_features_equal_upstream(checkpoints, file):
    state = torch.load(checkpoints / "wav2vec" / file, weights_only=True)
    options = vars(state["args"]) if state["args"] else state["cfg"]["model"]
    config = Wav2VecConfig()
    for key, value in options.items():
        setattr(config, key, value)
    upstream = Wav2VecModel(config).eval()
    upstream.load_state_dict(state["model"])
    x = torch.randn(1, 7000)
    with torch.no_grad():
        expected = upstream.feature_extractor(x).transpose(1, 2)
    found = features(load("audio", f"wav2vec:{checkpoints / 'wav2vec' / file},features=z"), "audio", x)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_latent_features_are_as_wide_as_the_extractor_and_leave_the_aggregator_alone():
    args = {"conv_feature_layers": [[8, 10, 5]], "conv_aggregator_layers": [[12, 2, 1]], "features": "z"}
    backbones = BackboneSet({"audio": {"name": "wav2vec", "args": args, "frozen": False}}).train()
    x = torch.randn(1, 100)
    out = backbones({"audio": x}, {"audio": torch.zeros(x.shape, dtype=torch.bool)})["audio"].x
    assert out.shape == (1, 19, 8)
    out.square().sum().backward()
    learning = {name for name, weight in backbones.named_parameters() if weight.requires_grad}
    assert learning == {name for name, weight in backbones.named_parameters() if weight.grad is not None}
    assert learning
    assert not any("aggregator" in name for name in learning)


def test_other_features_are_an_error(checkpoints):
    with pytest.raises(MMFairseqError, match=r"features='x'.*c and z"):
        load("audio", f"wav2vec:{checkpoints / 'wav2vec' / 'wav2vec.pt'},features=x")


@pytest.mark.parametrize("file", ["wav2vec.pt", "wav2vec_args.pt"])
def test_another_sample_rate_is_an_error(checkpoints, tmp_path, file):
    state = torch.load(checkpoints / "wav2vec" / file, weights_only=True)
    if state["args"]:
        state["args"].sample_rate = 8000
    else:
        state["cfg"]["task"]["sample_rate"] = 8000
    torch.save(state, tmp_path / "slow.pt")
    with pytest.raises(MMFairseqError, match=r"slow\.pt: sample_rate is 8000.*16000"):
        load("audio", f"wav2vec:{tmp_path / 'slow.pt'}")

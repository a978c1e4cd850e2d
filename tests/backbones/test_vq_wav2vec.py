"""vq-wav2vec against fairseq's own class, on files of the public forms."""

import pytest
import torch
from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel
from public_files import SAVERS, features, load
from torch import nn

from mm_fairseq.backbones import BackboneSet
from mm_fairseq.backbones.vq_wav2vec import _nearest
from mm_fairseq.errors import MMFairseqError

LAYERS = "[(16, 10, 5), (16, 8, 4), (16, 4, 2), (16, 4, 2), (16, 4, 2), (16, 1, 1)]"
TASK = {"_name": "audio_pretraining", "sample_rate": 16000, "normalize": False}


def upstream(**options):
    torch.manual_seed(0)
    config = Wav2VecConfig(
        conv_feature_layers=LAYERS, conv_aggregator_layers="[(16, 2, 1)]", prediction_steps=2, **options
    )
    model = Wav2VecModel(config).eval()
    for module in model.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 2 * module.in_features**-0.5)
    if options["vq_type"] == "kmeans":
        nn.init.normal_(model.vector_quantizer.embedding)  # so that many codes are used
    return config, model


def saved(folder, form="args", **options):
    config, model = upstream(**{"vq_type": "kmeans", "vq_vars": 32, **options})
    return model, SAVERS[form](folder / "vq.pt", model, config, TASK)


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("args", {"combine_groups": True}),
        ("cfg", {"combine_groups": False}),
        ("args", {"vq_groups": 4, "activation": "gelu", "skip_connections_feat": True}),
        ("args", {"vq_type": "gumbel"}),
        ("cfg", {"vq_type": "gumbel", "combine_groups": True, "vq_dim": 24, "vq_depth": 3}),
    ],
)
def test_equals_upstream(tmp_path, form, options):
    model, path = saved(tmp_path, form, **options)
    backbones = load("audio", f"vq_wav2vec:{path}")
    x = torch.randn(2, 16000)
    with torch.no_grad():
        expected, ids = model.vector_quantizer.forward_idx(model.feature_extractor(x))
        found = backbones.encoders["audio"].codes(x, torch.zeros(x.shape, dtype=torch.bool))
    assert ids.unique().numel() > 8
    assert found.x.dtype == torch.long
    assert torch.equal(found.x, ids)
    assert not found.padding_mask.any()
    torch.testing.assert_close(features(backbones, "audio", x), expected.transpose(1, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"vq_type": "gumbel"}])
def test_codes_do_not_depend_on_the_batch(tmp_path, options):
    _, path = saved(tmp_path, **options)
    encoder = load("audio", f"vq_wav2vec:{path}").encoders["audio"]
    x, lengths = torch.randn(3, 8000), torch.tensor([8000, 3000, 200])
    mask = torch.arange(8000) >= lengths[:, None]
    with torch.no_grad():
        batch = encoder.codes(x, mask)
        for row, length in enumerate(lengths[:2]):
            alone = encoder.codes(x[row : row + 1, :length], torch.zeros(1, length, dtype=torch.bool)).x[0]
            assert torch.equal(batch.x[row, : len(alone)], alone)
            assert batch.padding_mask[row].sum() == batch.x.size(1) - len(alone)
            assert (batch.x[row, len(alone) :] == 0).all()
    assert batch.padding_mask[2].all()


@pytest.mark.parametrize("vq_type", ["kmeans", "gumbel"])
def test_every_weight_learns(vq_type):
    args = {"conv_feature_layers": [[8, 10, 5], [8, 8, 4]], "vq_vars": 4, "vq_type": vq_type}
    backbones = BackboneSet({"audio": {"name": "vq_wav2vec", "args": args, "frozen": False}}).train()
    x = torch.randn(1, 900)
    backbones({"audio": x}, {"audio": torch.zeros(x.shape, dtype=torch.bool)})["audio"].x.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in backbones.parameters())


def test_close_codes_far_from_the_origin_are_told_apart():
    book = 100 + torch.arange(8.0)[None, :, None] * torch.full((1, 1, 256), 1e-3)
    assert torch.equal(_nearest(book, book)[0], torch.arange(8))


def test_equally_near_codes_give_the_first():
    assert _nearest(torch.zeros(1, 1, 3), torch.ones(1, 5, 3)).item() == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"vq_type": "none"}, "vq_type is 'none'; allowed: kmeans, gumbel"),
        ({"vq_vars": "many"}, "vq_vars is 'many'"),
        ({"sample_rate": 8000}, "sample_rate is 8000.*16000"),
        ({"vq_groups": 3}, "3 groups"),
        ({"conv_feature_layers": "[(16, 10, 5)] + [(__import__('os').getpid(), 8, 4)]"}, "conv_feature_layers"),
    ],
)
def test_wrong_options_are_errors(tmp_path, options, told):
    _, path = saved(tmp_path)
    state = torch.load(path, weights_only=True)
    for name, value in options.items():
        setattr(state["args"], name, value)
    torch.save(state, path)
    with pytest.raises(MMFairseqError, match=told):
        load("audio", f"vq_wav2vec:{path}")


@pytest.mark.parametrize("key", ["embedding", "projection.0.weight", "projection.1.bias"])
def test_a_missing_weight_is_an_error(tmp_path, key):
    _, path = saved(tmp_path)
    state = torch.load(path, weights_only=True)
    del state["model"][f"vector_quantizer.{key}"]
    torch.save(state, path)
    with pytest.raises(MMFairseqError, match=rf"(?s)vq\.pt: weights do not fit.*{key}"):
        load("audio", f"vq_wav2vec:{path}")


def test_a_wav2vec_without_codes_is_an_error(checkpoints):
    with pytest.raises(MMFairseqError, match=r"wav2vec_args\.pt.*vq_type"):
        load("audio", f"vq_wav2vec:{checkpoints / 'wav2vec' / 'wav2vec_args.pt'}")


def test_the_aggregator_of_codes_is_not_taken_for_that_of_wav2vec(tmp_path):
    _, path = saved(tmp_path)
    with pytest.raises(MMFairseqError, match=r"vq\.pt.*vq_wav2vec"):
        load("audio", f"wav2vec:{path}")

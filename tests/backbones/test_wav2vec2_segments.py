"""wav2vec 2.0 by segments against fairseq's own model on each segment, or on the whole clip."""

import pytest
import torch
from public_files import features, load
from speech_models import LARGE, SMALL, make, saved, states

from mm_fairseq.backbones import BackboneSet, build, resolve
from mm_fairseq.cli.backbones import tried
from mm_fairseq.errors import MMFairseqError

FORMS = {"args": {}, "cfg": LARGE}
FIELD, STEP = 60, 40  # of SMALL's convolutions


def clip(samples, seed=0):
    return 0.3 * torch.randn(1, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=FORMS)
def upstream(request, tmp_path_factory):
    """Fairseq's model and a file of it: a base one as fairseq saved until 2020, a large one as since then."""
    folder = tmp_path_factory.mktemp(request.param)
    return saved(folder, "wav2vec2", request.param, **FORMS[request.param])


@pytest.mark.parametrize(
    ("samples", "starts"), [(900, [0]), (400, [0]), (FIELD, [0]), (1000, [0, 100]), (3000, [0, 700, 1400, 2100])]
)
def test_conv_equals_upstream_on_each_window(upstream, samples, starts):
    model, path = upstream
    x = clip(samples)
    with torch.no_grad():
        parts = [model.feature_extractor(x[:, start : start + 900]).mean(2) for start in starts]
    backbones = load("audio", f"wav2vec2_segments:{path},window=900,hop=700")
    found = features(backbones, "audio", x)
    torch.testing.assert_close(found, torch.stack(parts, 1), atol=1e-5, rtol=1e-5)
    assert found.std() > 1e-3
    assert backbones.encoders["audio"].longest_input(len(starts)) >= samples


def test_conv_keeps_nothing_but_the_front_end(upstream):
    model, path = upstream
    backbones = load("audio", f"wav2vec2_segments:{path},window=900,hop=700")
    found = {key.removeprefix("encoders.audio."): value for key, value in backbones.state_dict().items()}
    expected = {key: value for key, value in model.state_dict().items() if key.startswith("feature_extractor.")}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize("layer", [1, "last"])
def test_transformer_is_the_mean_over_frames_whose_centre_lies_in_the_window(upstream, layer):
    model, path = upstream
    x = clip(3000)
    hidden = states("wav2vec2", model, x)
    frames = (hidden[-1] if layer == "last" else hidden[layer])[0]
    centres = [FIELD // 2 + STEP * number for number in range(len(frames))]
    parts = [frames[[start <= centre < start + 900 for centre in centres]].mean(0) for start in (0, 700, 1400, 2100)]
    backbones = load("audio", f"wav2vec2_segments:{path},window=900,hop=700,features=transformer,layer={layer}")
    torch.testing.assert_close(features(backbones, "audio", x)[0], torch.stack(parts), atol=1e-5, rtol=1e-5)


def test_weighted_layers_are_summed(upstream):
    _, path = upstream
    text = f"wav2vec2_segments:{path},window=900,hop=700,features=transformer"
    x = clip(2000)
    single = [features(load("audio", f"{text},layer={layer}"), "audio", x) for layer in range(4)]
    found = features(load("audio", f"{text},layer=weighted"), "audio", x)
    torch.testing.assert_close(found, torch.stack(single).mean(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("samples", [FIELD, 99, 104, 105, 130, 500, 977])
def test_every_window_has_a_frame(samples):
    args = {"conv_feature_layers": [[8, 10, 5], [8, 3, 2], [8, 3, 2], [8, 2, 2]], "window": FIELD, "hop": 20}
    small = {key: SMALL[key] for key in ("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim")}
    small |= {"encoder_attention_heads": 4, "conv_pos": 16, "conv_pos_groups": 4}
    model = build({"name": "wav2vec2_segments", "args": {**args, **small, "features": "transformer"}}).eval()
    with torch.no_grad():
        out = model(clip(samples), torch.zeros(1, samples, dtype=torch.bool))
    assert not out.padding_mask.any()
    assert (out.x.abs().sum(2) > 0).all()


@pytest.mark.parametrize("features", ["conv", "transformer"])
def test_a_batch_gives_what_each_clip_gives_alone(upstream, features):
    _, path = upstream
    backbones = load("audio", f"wav2vec2_segments:{path},window=900,hop=700,features={features}")
    lengths = (3000, 900, 1777, 40, 300)
    x, mask = torch.zeros(5, 3000), torch.ones(5, 3000, dtype=torch.bool)
    for row, length in enumerate(lengths):
        x[row, :length], mask[row, :length] = clip(length, row)[0], False
    with torch.no_grad():
        out = backbones({"audio": x}, {"audio": mask})["audio"]
    assert (~out.padding_mask).sum(1).tolist() == [4, 1, 3, 0, 1]
    for row, length in enumerate(lengths):
        if length >= FIELD:
            with torch.no_grad():
                alone = backbones({"audio": x[row : row + 1, :length]}, {"audio": mask[row : row + 1, :length]})
            count = alone["audio"].x.size(1)
            torch.testing.assert_close(out.x[row, :count], alone["audio"].x[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("features", "width", "layers"), [("conv", 16, 0), ("transformer", 24, 3)])
def test_what_learns(upstream, features, width, layers):
    _, path = upstream
    found = resolve({"audio": f"wav2vec2_segments:{path},window=900,hop=700,features={features}"}, {"audio"}, {})
    backbones = BackboneSet(found.entries).train()
    backbones.load_pretrained(found)
    encoder = backbones.encoders["audio"]
    assert (encoder.dim, len(encoder.layers())) == (width, layers)
    mask = torch.zeros(1, 3000, dtype=torch.bool)
    backbones({"audio": clip(3000)}, {"audio": mask})["audio"].x.square().sum().backward()
    assert all(weight.grad.abs().max() > 0 for weight in encoder.parameters() if weight.requires_grad)


def test_windows_of_ten_seconds_are_twenty():
    model = build({"name": "wav2vec2_segments", "args": {}})
    model._encode = lambda windows: torch.ones(len(windows), 512)
    with torch.no_grad():
        out = model(torch.zeros(1, 160000), torch.zeros(1, 160000, dtype=torch.bool))
    assert out.x.shape == (1, 20, 512)


def test_the_command_tries_it(upstream):
    text = str(tried(f"wav2vec2_segments:{upstream[1]}"))
    assert "8017 samples" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("features=all", "features='all': allowed are conv, transformer"),
        ("window=59", "window=59, hop=8017: at least 60 and 1"),
        ("layer=2", "layer=2 needs features=transformer"),
        ("features=transformer,layer=9", r"layer=9: allowed are last, weighted and -4 to 3"),
        ("dropout=0.5", "backbone option 'dropout'"),
    ],
)
def test_options_that_do_not_fit(upstream, options, words):
    with pytest.raises(MMFairseqError, match=words):
        load("audio", f"wav2vec2_segments:{upstream[1]},{options}")


def test_another_model_is_refused(tmp_path):
    _, path = saved(tmp_path, "hubert")
    with pytest.raises(MMFairseqError, match=r"model\.pt: the architecture in the file is 'hubert'"):
        load("audio", f"wav2vec2_segments:{path}")
    assert make("wav2vec2")[0].conv_feature_layers == SMALL["conv_feature_layers"]

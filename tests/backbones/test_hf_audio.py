"""Audio models from folders of Hugging Face, against the library itself."""

import json

import pytest
import torch
import transformers
from hf_folders import AUDIO, audio_folder, model
from omegaconf import OmegaConf
from public_files import features, load
from small_backbones import items

from mm_fairseq.backbones import BackboneSet, build, resolve
from mm_fairseq.errors import MMFairseqError

LENGTHS = (4000, 1700, 3999, 2555)


@pytest.fixture
def folder(tmp_path):
    audio_folder(tmp_path, "wav2vec2")
    return tmp_path


def upstream(made, x, normalize=False, layer=None):
    extract = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalize)
    values = extract([x.numpy()], sampling_rate=16000, return_tensors="pt").input_values
    with torch.no_grad():
        out = made(values, output_hidden_states=True)
    return out.last_hidden_state if layer is None else out.hidden_states[layer]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("name", AUDIO)
def test_equals_upstream(name, normalize, tmp_path):
    made = audio_folder(tmp_path, name, binary=normalize, do_normalize=normalize)
    x = 0.3 * torch.randn(4000) + 0.1
    expected = upstream(made, x, normalize)
    found = features(load("audio", f"hf_audio:{tmp_path}"), "audio", x[None])
    assert found.shape == expected.shape
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", AUDIO)
def test_any_layer_equals_upstream(name, tmp_path):
    made = audio_folder(tmp_path, name, do_normalize=False)
    x = 0.3 * torch.randn(2000)
    for layer in (0, 1, 2, -3):
        found = features(load("audio", f"hf_audio:{tmp_path},layer={layer}"), "audio", x[None])
        torch.testing.assert_close(found, upstream(made, x, layer=layer), atol=1e-5, rtol=1e-5)
    states = [*(upstream(made, x, layer=layer) for layer in range(3)), upstream(made, x)]
    found = features(load("audio", f"hf_audio:{tmp_path},layer=weighted"), "audio", x[None])
    torch.testing.assert_close(found, torch.stack(states).mean(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", ["last", 1])
@pytest.mark.parametrize("name", AUDIO)
def test_padded_equals_alone(name, layer, tmp_path):
    audio_folder(tmp_path, name, do_normalize=True)
    backbones = load("audio", f"hf_audio:{tmp_path},layer={layer}")
    rows = [torch.from_numpy(row) for row in items("audio", (*LENGTHS, 5))]
    x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.arange(x.size(1)) >= torch.tensor([[len(row)] for row in rows])
    x[mask] = 7.0
    with torch.no_grad():
        out = backbones({"audio": x}, {"audio": mask})["audio"]
    for row in range(len(LENGTHS)):
        alone = features(backbones, "audio", rows[row][None])[0]
        assert (~out.padding_mask[row]).sum() == len(alone)
        torch.testing.assert_close(out.x[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)
    assert out.padding_mask[-1].all()
    assert (out.x[out.padding_mask] == 0).all()


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm of layer norm", "data2vec-audio"])
def test_training_neither_masks_nor_skips(name, tmp_path):
    """Without dropout, a model in training mode gives what it gives in eval mode, whatever its config says."""
    still = dict.fromkeys(("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout"), 0.0)
    active = {"mask_time_prob": 0.9, "mask_time_length": 2, "mask_feature_prob": 0.9, "mask_feature_length": 2}
    audio_folder(tmp_path, name, model(name, AUDIO[name] | still | active | {"layerdrop": 0.9}), do_normalize=False)
    found = resolve({"audio": f"hf_audio:{tmp_path}"}, {"audio"}, {})
    backbones = BackboneSet(found.entries)
    backbones.load_pretrained(found)
    x, mask = 0.3 * torch.randn(2, 3000), torch.zeros(2, 3000, dtype=torch.bool)
    trained, still = (
        backbones.train(mode)({"audio": x}, {"audio": mask})["audio"].x.detach() for mode in (True, False)
    )
    torch.testing.assert_close(trained, still, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", ["last", 1])
@pytest.mark.parametrize("name", ["wav2vec2", "hubert of layer norm", "wavlm"])
def test_every_weight_that_is_trained_takes_part(name, layer, tmp_path):
    audio_folder(tmp_path, name, do_normalize=True)
    found = resolve({"audio": f"hf_audio:{tmp_path},layer={layer}"}, {"audio"}, {})
    backbones = BackboneSet(found.entries).train()
    out = backbones({"audio": torch.randn(1, 3000)}, {"audio": torch.zeros(1, 3000, dtype=torch.bool)})["audio"].x
    out.square().sum().backward()
    idle = [name for name, weight in backbones.named_parameters() if weight.requires_grad and weight.grad is None]
    assert idle == []


def test_an_entry_out_of_a_checkpoint_builds(folder):
    """fairseq gives back lists and dictionaries of OmegaConf."""
    args = resolve({"audio": f"hf_audio:{folder}"}, set(), {}).entries["audio"]["args"]
    assert build({"name": "hf_audio", "args": OmegaConf.create(args)}).dim == 16


@pytest.mark.parametrize("layer", ["last", "weighted"])
def test_recomputing_gives_the_same_gradients(layer, folder):
    found = resolve({"audio": f"hf_audio:{folder},layer={layer}"}, {"audio"}, {})
    x, mask, grads = torch.randn(1, 3000), torch.zeros(1, 3000, dtype=torch.bool), []
    for recompute in (False, True):
        backbones = BackboneSet(found.entries, recompute=recompute).train()
        backbones.load_pretrained(found)
        for module in backbones.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        for attention in backbones.encoders["audio"].layers():
            attention.attention.dropout = 0.0
        backbones({"audio": x}, {"audio": mask})["audio"].x.square().sum().backward()
        grads.append([weight.grad for weight in backbones.parameters() if weight.grad is not None])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["wav2vec2", "hubert of layer norm", "wavlm", "data2vec-audio"])
def test_double_and_half_precision(name, tmp_path):
    made = audio_folder(tmp_path, name, do_normalize=False)
    x = 0.3 * torch.randn(3000)
    backbones = load("audio", f"hf_audio:{tmp_path}")
    single, mask = features(backbones, "audio", x[None]), torch.zeros(2, 3000, dtype=torch.bool)
    mask[1, 2000:] = True
    with torch.no_grad():
        expected = made.double()(x[None].double()).last_hidden_state
        found = backbones.double()({"audio": x.double().expand(2, -1)}, {"audio": mask})["audio"].x[:1]
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
        half = backbones.half()({"audio": x.half().expand(2, -1)}, {"audio": mask})["audio"].x[:1]
    assert (half - single).abs().max() < 0.05 * single.abs().max()


@pytest.mark.parametrize(
    ("head", "name"),
    [("Wav2Vec2ForCTC", "wav2vec2"), ("Wav2Vec2ForPreTraining", "wav2vec2"), ("HubertForCTC", "hubert")],
)
def test_weights_under_a_head(head, name, tmp_path):
    config = transformers.AutoConfig.for_model(name, **AUDIO[name], vocab_size=5)
    made = getattr(transformers, head)(config).eval()
    audio_folder(tmp_path, name, made)
    x = 0.3 * torch.randn(3000)
    expected = upstream(made.wav2vec2 if name == "wav2vec2" else made.hubert, x)
    found = features(load("audio", f"hf_audio:{tmp_path}"), "audio", x[None])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_old_weight_norm_has_other_names(folder):
    state = transformers.AutoModel.from_pretrained(folder).state_dict()
    old = {
        f"wav2vec2.{key}".replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in state.items()
    }
    assert {key for key in old if key.endswith("weight_g")}
    x = 0.3 * torch.randn(1, 3000)
    expected = features(load("audio", f"hf_audio:{folder}"), "audio", x)
    (folder / "model.safetensors").unlink()
    torch.save(old, folder / "pytorch_model.bin")
    assert torch.equal(features(load("audio", f"hf_audio:{folder}"), "audio", x), expected)


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("wav2vec2", {}, False),
        ("wav2vec2 of layer norm", {}, True),
        ("data2vec-audio", {}, True),
        ("wav2vec2", {"do_normalize": True}, True),
        ("wav2vec2 of layer norm", {"do_normalize": False}, False),
    ],
)
def test_normalisation_is_the_folders(name, said, expected, tmp_path):
    audio_folder(tmp_path, name, **said)
    args = resolve({"audio": f"hf_audio:{tmp_path}"}, set(), {}).entries["audio"]["args"]
    assert args["normalize"] is expected
    assert args == json.loads(json.dumps(args))


@pytest.mark.parametrize(
    ("file", "options", "words"),
    [
        ("preprocessor_config.json", {"sampling_rate": 8000}, r"preprocessor_config\.json: sampling_rate is 8000"),
        ("preprocessor_config.json", {"do_normalize": "yes"}, "do_normalize is 'yes'"),
        ("config.json", {"model_type": "bert"}, "model_type is 'bert'; allowed here: data2vec-audio, "),
        ("config.json", {"model_type": "whisper"}, "model_type is 'whisper'"),
        ("config.json", {"feat_extract_activation": "__import__('os')"}, "feat_extract_activation is"),
        ("config.json", {"feat_extract_norm": "batch"}, r"config\.json: .*feat_extract_norm"),
        ("config.json", {"conv_kernel": [10, 8]}, r"config\.json: .*convolution"),
        ("config.json", {"conv_dim": [8] * 65}, "conv_dim is a list of 65"),
        ("config.json", {"conv_dim": [8, 8, 2**20]}, "too small for the sizes"),
        ("config.json", {"conv_stride": [5, 0, 4]}, r"conv_stride is \[5, 0, 4\]; each must be at least 1"),
        ("config.json", {"add_adapter": True}, "add_adapter is True"),
        ("config.json", {"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ("config.json", {"num_hidden_layers": 5}, "weights are missing"),
    ],
)
def test_folders_that_do_not_fit(folder, file, options, words):
    content = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
    (folder / file).write_text(json.dumps(content | options))
    with pytest.raises(MMFairseqError, match=words) as error:
        load("audio", f"hf_audio:{folder}")
    assert str(folder) in str(error.value)


def test_truncated_and_missing_weights(folder):
    whole = (folder / "model.safetensors").read_bytes()
    state = transformers.AutoModel.from_pretrained(folder).state_dict()
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        (folder / "model.safetensors").write_bytes(whole[:size])
        with pytest.raises(MMFairseqError, match=r"model\.safetensors"):
            load("audio", f"hf_audio:{folder}")
    (folder / "model.safetensors").unlink()
    del state["feature_extractor.conv_layers.0.layer_norm.weight"]
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(MMFairseqError, match=r"1 weights are missing: feature_extractor\.conv_layers\.0\.layer_norm"):
        load("audio", f"hf_audio:{folder}")

import hashlib
import logging

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.models.roberta import RobertaModel
from fairseq.models.wav2vec.wav2vec import Wav2VecModel
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torchvision.models.video import r3d_18

from mm_fairseq.toy import checkpoints, fabnet, segments, speech
from mm_fairseq.toy.cues import Cue

SHAPES = {
    0: (32, 3),
    2: (64, 32),
    5: (128, 64),
    8: (256, 128),
    11: (256, 256),
    14: (256, 256),
    17: (256, 256),
    20: (256, 256),
}
NORMS = {3: 64, 6: 128, 9: 256, 12: 256, 15: 256, 18: 256}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    logging.disable(logging.INFO)
    out = tmp_path_factory.mktemp("checkpoints")
    checkpoints.write(out, seed=1)
    yield out
    logging.disable(logging.NOTSET)


def _read(path):
    return torch.load(path, weights_only=True)  # mm_fairseq allows the globals of fairseq's files


def _equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_wav2vec_args_form_is_that_of_the_public_file(folder):
    state = _read(folder / "wav2vec/wav2vec_args.pt")
    args = state["args"]
    assert (args.task, args.arch, args.criterion) == ("speech_pretraining", "audio_cpc", "binary_cross_entropy")
    assert args.log_compression
    assert args.skip_connections_agg
    assert (args.skip_connections_feat, args.residual_scale) == (False, 0.5)
    assert "cfg" not in state
    model = Wav2VecModel(args)
    model.load_state_dict(state["model"], strict=True)
    # 10 ms hop and a receptive field of 465 samples
    assert [model.feature_extractor(torch.zeros(1, n)).shape[-1] for n in (465, 465 + 160, 465 + 1600)] == [1, 2, 11]
    assert _equal(state["model"], _read(folder / "wav2vec/wav2vec.pt")["model"])


def test_wav2vec_cfg_form_loads_with_fairseq(folder):
    (model,), cfg, _ = checkpoint_utils.load_model_ensemble_and_task([str(folder / "wav2vec/wav2vec.pt")])
    assert isinstance(model, Wav2VecModel)
    assert (cfg.model._name, cfg.task._name) == ("wav2vec", "audio_pretraining")
    (old,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(folder / "wav2vec/wav2vec_args.pt")])
    assert _equal(model.state_dict(), old.state_dict())


def test_wav2vec_features_tell_aroused_from_calm(folder):
    state = _read(folder / "wav2vec/wav2vec_args.pt")
    model = Wav2VecModel(state["args"]).eval()
    model.load_state_dict(state["model"])
    rng = np.random.default_rng(0)
    features, labels = [], []
    for index in range(120):
        cue = Cue(1 if index % 2 else -1, int(rng.integers(-1, 2)))
        sound, _ = speech.speak(speech.voice("FM"[index // 2 % 2], rng), cue, 1.2, rng)
        with torch.no_grad():
            features.append(
                model.feature_aggregator(model.feature_extractor(torch.from_numpy(sound)[None])).mean(-1)[0]
            )
        labels.append(cue.pair)
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(torch.stack(features[:80]), labels[:80])
    assert probe.score(torch.stack(features[80:]), labels[80:]) > 0.9


def _hub(path):
    files = {"gpt2_encoder_json": str(path / "encoder.json"), "gpt2_vocab_bpe": str(path / "vocab.bpe")}
    return RobertaModel.from_pretrained(str(path), "model.pt", str(path), bpe="gpt2", **files).eval()


def test_roberta_loads_from_the_hub_in_both_forms_and_they_agree(folder):
    new, old = _hub(folder / "roberta"), _hub(folder / "roberta_args")
    tokens = new.encode("Well, the car is good, you see.")
    assert tokens[0] == 0
    assert tokens[-1] == 2
    assert 3 not in tokens.tolist()
    assert len(tokens) < 16
    assert new.decode(tokens) == "Well, the car is good, you see."
    first, second = new.extract_features(tokens), old.extract_features(tokens)
    assert first.shape == (1, len(tokens), checkpoints.ROBERTA_DIM)
    assert torch.equal(first, second)


def test_roberta_args_form_has_the_keys_of_2019(folder):
    state = _read(folder / "roberta_args/model.pt")
    assert state["args"].task == "masked_lm"
    keys = state["model"].keys()
    layer = "decoder.sentence_encoder.layers.1.self_attn."
    dim = checkpoints.ROBERTA_DIM
    assert state["model"][f"{layer}in_proj_weight"].shape == (3 * dim, dim)
    assert state["model"][f"{layer}in_proj_bias"].shape == (3 * dim,)
    assert "decoder.sentence_encoder.emb_layer_norm.weight" in keys
    assert "decoder.lm_head.dense.weight" in keys
    assert all(key.startswith("decoder.") for key in keys)
    assert not any("q_proj" in key or "layernorm_embedding" in key for key in keys)


@pytest.mark.parametrize(("name", "part"), [("fabnet.pt", "state_dict_model"), ("fabnet_train.pt", "state_dict")])
def test_fabnet_has_the_key_layout_of_the_released_files(folder, name, part):
    state = _read(folder / "fabnet" / name)
    encoder = {key: tuple(value.shape) for key, value in state[part].items() if key.startswith("encoder.")}
    expected = {f"encoder.{i}.weight": (*shape, 4, 4) for i, shape in SHAPES.items()}
    expected |= {f"encoder.{i}.bias": shape[:1] for i, shape in SHAPES.items()}
    for index, width in NORMS.items():
        expected |= {f"encoder.{index}.{stat}": (width,) for stat in ("weight", "bias", "running_mean", "running_var")}
        expected[f"encoder.{index}.num_batches_tracked"] = ()
    assert encoder == expected
    trained = [key for key in expected if key.endswith((".weight", ".bias"))]
    assert sum(state[part][key].numel() for key in trained) == 4_887_904
    assert {key.split(".")[0] for key in state[part]} == {"encoder", "decoder", "mask"}


def test_fabnet_forms_agree_and_keep_their_other_parts(folder):
    task, training = _read(folder / "fabnet/fabnet.pt"), _read(folder / "fabnet/fabnet_train.pt")
    assert _equal(task["state_dict_model"], training["state_dict"])
    assert set(task["state_dict"]) == {
        *(f"0.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
        "1.weight",
    }
    assert training["opts"].embedding_size == 256
    assert {"optimizer", "epoch", "lr", "momentum"} <= set(training)


def test_fabnet_features_of_faces_are_spread(folder):
    encoder = fabnet.build_encoder().eval()
    state = _read(folder / "fabnet/fabnet.pt")["state_dict_model"]
    encoder.load_state_dict(
        {key[len("encoder.") :]: value for key, value in state.items() if key.startswith("encoder.")}
    )
    with torch.no_grad():
        features = encoder(fabnet.drawings(seed=9)[:24]).flatten(1)
    assert features.shape == (24, 256)
    assert 0.3 < features.std(0).mean() < 3


def test_encoders_of_segments_load_as_their_public_files(folder):
    (model,), cfg, _ = checkpoint_utils.load_model_ensemble_and_task([str(folder / "wav2vec2/wav2vec2.pt")])
    assert cfg.model._name == "wav2vec2"
    assert model.feature_extractor(torch.zeros(1, 400)).shape == (1, segments.DIM, 1)
    r3d_18().load_state_dict(_read(folder / "r3d_18/r3d_18.pth"), strict=True)


def test_the_same_seed_gives_the_same_files_and_another_does_not(folder, tmp_path):
    state = torch.get_rng_state()
    checkpoints.write(tmp_path / "again", seed=1)
    assert torch.equal(torch.get_rng_state(), state)

    def digest(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert len(files) == 17
    assert {path: digest(folder / path) for path in files} == {
        path: digest(tmp_path / "again" / path) for path in files
    }
    checkpoints.write_wav2vec(tmp_path, seed=2)
    assert digest(tmp_path / "wav2vec.pt") != digest(folder / "wav2vec/wav2vec.pt")

"""Training on features that came with the corpus: the backbone `features` takes their width from the data-bin."""

import pytest
import torch
from feature_factory import to_features
from task_factory import SMALL, model_cfg, task_of

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance

BOTH = {"audio_backbone": "features", "text_backbone": "features"}


@pytest.fixture
def features(own_data_bin):
    return to_features(own_data_bin, {"audio": 8, "text": 6})


def built(data_bin, modalities="audio,text", model=BOTH, **task):
    made = task_of(data_bin, modalities=modalities, **task)
    cfg = model_cfg(**model)
    return made, made.build_model(cfg), cfg


@pytest.mark.parametrize("source", ["auto", "raw", "cached"])
def test_the_width_comes_from_the_data(features, source):
    task, model, cfg = built(features, backbone_source=source)
    assert {name: entry["args"] for name, entry in cfg.backbone_args.items()} == {
        "audio": {"dim": 8},
        "text": {"dim": 6},
    }
    task.load_dataset("valid")
    data = task.dataset("valid")
    batch = data.collater([data[0], data[1]])
    with torch.no_grad():
        assert model.eval()(**batch["net_input"])["logits"]["emotion"].shape == (2, 4)
    assert task.state.dictionary == ["<s>", "<pad>", "</s>", "<unk>"] or (features / "dict.txt").exists()


def test_features_beside_raw_data(features):
    mixed = {"audio_backbone": "features", "video_backbone": "fabnet"}
    _, model, cfg = built(features, "audio,video", mixed)
    assert cfg.backbone_args["video"]["name"] == "fabnet"
    assert set(model.input_limits()) == {"audio", "video"}


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({**BOTH, "audio_backbone": "mfcc"}, "--audio-backbone mfcc: the audio of .* 8 a frame: use --audio-backbone"),
        ({**BOTH, "text_backbone": "embedding:dim=8"}, "--text-backbone embedding: the text of .* 6 a frame"),
    ],
)
def test_another_backbone_is_refused(features, model, reason):
    with pytest.raises(MMFairseqError, match=reason):
        built(features, model=model)


def test_raw_data_are_refused(own_data_bin):
    with pytest.raises(MMFairseqError, match=r"--audio-backbone features: .* holds raw audio and no features"):
        built(own_data_bin, model={**SMALL, "audio_backbone": "features"})
    with pytest.raises(MMFairseqError, match="backbone 'mfcc' reads audio, not text; for text: embedding, features"):
        built(own_data_bin, model={**SMALL, "text_backbone": "mfcc"})


def test_a_trained_model_wants_features_of_its_width(features):
    task, _, _ = built(features)
    to_features(features, {"audio": 9})
    del task.data_bin  # what it had read of it
    with pytest.raises(MMFairseqError, match="9 features of audio a frame, the model was trained on 8"):
        task.load_dataset("valid")


def test_what_was_recognised_is_no_attribute(own_data_bin):
    manifest = Manifest.read(own_data_bin / "manifest.tsv")
    rows = [Utterance(row.id, labels={**row.labels, "text_asr": "x", "style": "y"}) for row in manifest.utterances]
    Manifest(manifest.root, ["emotion", "text_asr", "style"], rows).write(own_data_bin / "manifest.tsv")
    assert task_of(own_data_bin).state.attributes == ["style"]

"""Small speech models of fairseq's own classes, as oracles: wav2vec 2.0, HuBERT and data2vec."""

from types import SimpleNamespace

import torch
from fairseq.data import Dictionary
from fairseq.examples.data2vec.models.data2vec_audio import Data2VecAudioConfig, Data2VecAudioModel
from fairseq.models.hubert.hubert import HubertConfig, HubertModel
from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model
from public_files import SAVERS
from torch import nn

SMALL = {
    "conv_feature_layers": "[(16, 10, 5)] + [(16, 3, 2)] * 2 + [(16,2,2)]",
    "encoder_layers": 3,
    "encoder_embed_dim": 24,
    "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 4,
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "final_dim": 8,
}
LARGE = {"extractor_mode": "layer_norm", "layer_norm_first": True, "conv_bias": True}  # as the large models have it
TASKS = {
    "wav2vec2": {"_name": "audio_pretraining", "sample_rate": 16000, "normalize": False},
    "hubert": {"_name": "hubert_pretraining", "sample_rate": 16000, "label_rate": 50.0, "normalize": False},
    "data2vec": {"_name": "audio_pretraining", "sample_rate": 16000, "normalize": True},
}
ARCHITECTURES = {"wav2vec2": "wav2vec2", "hubert": "hubert", "data2vec": "data2vec_audio"}


def make(name, **options):
    """Configuration and model, in eval mode, with norms that are not the identity."""
    torch.manual_seed(0)
    if name == "wav2vec2":
        config = Wav2Vec2Config(**{**SMALL, "quantize_targets": True, "latent_vars": 8, **options})
        model = Wav2Vec2Model(config)
    elif name == "hubert":
        config = HubertConfig(**{**SMALL, "label_rate": 50.0, **options})
        model = HubertModel(config, SimpleNamespace(sample_rate=16000), [Dictionary()])
    else:
        config = Data2VecAudioConfig(**{**SMALL, "pos_conv_depth": 5, "conv_pos": 19, **options})
        model = Data2VecAudioModel(config)
        model.make_ema_teacher()
    for module in model.modules():
        if isinstance(module, nn.GroupNorm | nn.LayerNorm) and module.weight is not None:
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias, 0, 0.3)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, module.in_features**-0.5)
    return config, model.eval()


def saved(folder, name, form="cfg", task=(), **options):
    """The model and a file of it."""
    config, model = make(name, **options)
    names = {"_name" if form == "cfg" else "arch": ARCHITECTURES[name]}
    path = SAVERS[form](folder / "model.pt", model, config, {**TASKS[name], **dict(task)}, names)
    return model, path


def states(name, model, x):
    """Hidden states of one batch without padding, what goes into the first layer first, by upstream's interface."""
    first = []
    handle = model.encoder.layers[0].register_forward_pre_hook(
        lambda module, args: first.append(args[0].transpose(0, 1))
    )
    layers = range(len(model.encoder.layers) - 1)
    with torch.no_grad():
        if name == "hubert":
            last = model.extract_features(x)[0]
            between = [model.extract_features(x, output_layer=layer + 1)[0] for layer in layers]
        else:
            extract = {"source": x, "padding_mask": None, "mask": False, "features_only": True}
            last = model(**extract)["x"]
            between = [model(**extract, layer=layer)["x"] for layer in layers]
    handle.remove()
    return [first[0][:, : last.size(1)], *between, last]

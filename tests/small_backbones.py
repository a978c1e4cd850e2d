"""Every registered backbone at a small size, for tests."""

import torch

from mm_fairseq.backbones import BACKBONES

_WAV2VEC2 = {
    "conv_feature_layers": [[8, 10, 5], [8, 3, 2], [8, 3, 2], [8, 2, 2]],
    "encoder_layers": 2,
    "encoder_embed_dim": 12,
    "encoder_ffn_embed_dim": 16,
    "encoder_attention_heads": 2,
    "conv_pos": 16,
    "conv_pos_groups": 4,
}
_SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
HF_TEXT = {"model_type": "bert", "vocab_size": 18, "max_position_embeddings": 24, **_SIZES}
HF_AUDIO = {
    "model_type": "wav2vec2",
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 8, 4],
    "conv_stride": [5, 4, 4],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "feat_extract_norm": "group",
    **_SIZES,
}
ARGS = {
    "data2vec": {**_WAV2VEC2, "extractor_mode": "layer_norm", "normalize": True, "conv_pos": 19, "pos_conv_depth": 5},
    "egemaps": {},
    "embedding": {"vocabulary": 20, "dim": 8},
    "fabnet": {},
    "features": {"dim": 5},
    "hubert": {**_WAV2VEC2, "layer_norm_first": True},
    "hf_audio": {"config": HF_AUDIO, "normalize": True},
    "hf_text": {"config": HF_TEXT, "vocabulary": 20, "cls": 1, "pad": 0, "sep": 2, "unk": 3},
    "logmel": {"n_mels": 16},
    "mfcc": {"n_mfcc": 8, "n_mels": 16},
    "pixels": {"size": 256},
    "r3d_18": {"window": 4, "hop": 2},
    "roberta": {
        "vocabulary": 20,
        "encoder_layers": 2,
        "encoder_embed_dim": 8,
        "encoder_ffn_embed_dim": 16,
        "encoder_attention_heads": 2,
        "max_positions": 24,
    },
    "vq_bert": {
        "bert": {
            "vocabulary": 12,
            "encoder_layers": 2,
            "encoder_embed_dim": 8,
            "encoder_ffn_embed_dim": 16,
            "encoder_attention_heads": 2,
            "max_positions": 64,
        },
        "vq": {
            "conv_feature_layers": [[8, 10, 5], [8, 8, 4], [8, 4, 2], [8, 4, 2], [8, 4, 2], [8, 1, 1]],
            "vq_vars": 4,
        },
    },
    "vq_wav2vec": {
        "conv_feature_layers": [[8, 10, 5], [8, 8, 4], [8, 4, 2], [8, 4, 2], [8, 4, 2], [8, 1, 1]],
        "vq_vars": 4,
    },
    "wav2vec": {
        "conv_feature_layers": [[8, 10, 5], [8, 8, 4], [8, 4, 2], [8, 4, 2], [8, 4, 2], [8, 1, 1]],
        "conv_aggregator_layers": [[8, 2, 1], [8, 3, 1]],
    },
    "wav2vec2": _WAV2VEC2,
    "wav2vec2_segments": {"window": 700, "hop": 450, "conv_feature_layers": _WAV2VEC2["conv_feature_layers"]},
    "wave_pieces": {"samples": 400, "dim": 8},
    "waveform": {},
}


def entry(name, frozen=False):
    """What `resolve` returns for one modality."""
    return {"name": name, "args": ARGS[name], "frozen": frozen}


def items(modality, lengths, seed=0):
    """Random inputs of one modality as the dataset gives them; a length of 0 is a missing modality (None)."""
    torch.manual_seed(seed)
    make = {
        "audio": lambda n: 0.3 * torch.randn(n),
        "text": lambda n: torch.cat([torch.tensor([0]), torch.randint(4, 19, (max(0, n - 2),)), torch.tensor([2])])[:n],
        "video": lambda n: torch.randint(0, 255, (n, 3, 256, 256), dtype=torch.uint8),
        "any": lambda n: torch.randn(n, 5),
    }
    return [make[modality](length).numpy() if length else None for length in lengths]


def modality_of(name):
    return BACKBONES.get(name).modality

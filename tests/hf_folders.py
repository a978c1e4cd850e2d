"""Small folders of Hugging Face, made by the library's own classes."""

import torch
import transformers

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *["what", "do", "you", "want", "from", "me", "?", "나는", "오늘", "행복", "##해", "##요", "##s"],
]

TEXT = {
    "bert": SIZES | {"max_position_embeddings": 24},
    "camembert": SIZES | {"max_position_embeddings": 26, "pad_token_id": 1},
    "deberta-v2": SIZES
    | {
        "max_position_embeddings": 24,
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "conv_kernel_size": 3,
        "position_biased_input": False,
    },
    "distilbert": {"dim": 16, "hidden_dim": 32, "n_layers": 3, "n_heads": 2, "max_position_embeddings": 24},
    "electra": SIZES | {"max_position_embeddings": 24, "embedding_size": 8},
    "mpnet": SIZES | {"max_position_embeddings": 26, "pad_token_id": 1},
    "roberta": SIZES | {"max_position_embeddings": 26, "pad_token_id": 1},
    "xlm-roberta": SIZES | {"max_position_embeddings": 26, "pad_token_id": 1},
}

CONVOLUTIONS = {
    "conv_dim": [8, 8, 12],
    "conv_kernel": [10, 8, 4],
    "conv_stride": [5, 4, 4],
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
AUDIO = {
    "wav2vec2": SIZES | CONVOLUTIONS | {"feat_extract_norm": "group"},
    "wav2vec2 of layer norm": SIZES
    | CONVOLUTIONS
    | {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True},
    "hubert": SIZES | CONVOLUTIONS | {"feat_extract_norm": "group"},
    "hubert of layer norm": SIZES | CONVOLUTIONS | {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
    "wavlm": SIZES | CONVOLUTIONS | {"feat_extract_norm": "group"},
    "wavlm of layer norm": SIZES | CONVOLUTIONS | {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
    "data2vec-audio": SIZES | CONVOLUTIONS | {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5},
    "unispeech": SIZES | CONVOLUTIONS | {"feat_extract_norm": "group"},
    "unispeech-sat": SIZES | CONVOLUTIONS | {"feat_extract_norm": "layer", "do_stable_layer_norm": True},
}


def model(name, options):
    """A model of a type with weights far from zero, so that a wrong one shows."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(name.split(" ")[0], **options)
    made = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return made


def text_folder(path, name, made=None, binary=False):
    """A model of `TEXT` with the tokenizer of `WORDS`; returns the model."""
    made = made if made is not None else model(name, TEXT[name] | {"vocab_size": len(WORDS) + 3})
    save(made, path, binary)
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    transformers.BertTokenizer(str(path / "vocab.txt"), do_lower_case=False).save_pretrained(path)
    return made


def audio_folder(path, name, made=None, binary=False, **preprocessor):
    """A model of `AUDIO` with preprocessor_config.json, if anything is to stand in it; returns the model."""
    made = made if made is not None else model(name, AUDIO[name])
    save(made, path, binary)
    if preprocessor:
        transformers.Wav2Vec2FeatureExtractor(**preprocessor).save_pretrained(path)
    return made


def save(made, path, binary=False):
    """In the form of today, or as pytorch_model.bin, in which libraries before 2023 wrote."""
    made.save_pretrained(path)
    if binary:
        (path / "model.safetensors").unlink()
        torch.save(made.state_dict(), path / "pytorch_model.bin")

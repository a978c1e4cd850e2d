"""The network of `perceiver_emo`: Hugging Face's modules, from plain sizes or a folder of a released checkpoint."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import read_checkpoint
from ..backbones._hf import read_json, weight_files
from ..backbones.files import options_of
from ..errors import MMFairseqError

AUDIO_BANDS, IMAGE_BANDS, BLOCK = 192, 32, 4  # fixed in the library's class
MIN_PADDING = 4  # learned numbers that the widest modality is padded with, at least
CLASS, TYPE = "PerceiverForMultimodalAutoencoding", "perceiver"
PREFIX = "perceiver."
MAX_SELF_ATTENDS = 256
# The library's defaults of what config.json leaves out; a tuple lists what is allowed, a type stands for none.
FIELDS: dict[str, Any] = {
    "num_latents": 256,
    "d_latents": 1280,
    "num_blocks": 1,
    "num_self_attends_per_block": 26,
    "num_self_attention_heads": 8,
    "num_cross_attention_heads": 8,
    "qk_channels": int,
    "v_channels": int,
    "cross_attention_shape_for_attention": ("kv", "q"),
    "self_attention_widening_factor": 1,
    "cross_attention_widening_factor": 1,
    "hidden_act": ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu", "tanh"),
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "use_query_residual": True,
    "image_size": 56,
    "num_frames": 16,
    "audio_samples_per_frame": 1920,
    "samples_per_patch": 16,
    "output_num_channels": 512,
    "_label_trainable_num_channels": 1024,
}


def library() -> Any:
    """The `transformers` package.

    Raises:
        MMFairseqError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MMFairseqError(
            f"perceiver_emo needs transformers: pip install 'mm-fairseq[perceiver]' ({error})"
        ) from error
    return transformers


def audio_channels(sizes: Mapping[str, Any]) -> int:
    """Numbers that an audio token has of its own; it is the widest."""
    return int(sizes["samples_per_patch"]) + 2 * AUDIO_BANDS + 1


def check(sizes: Mapping[str, Any]) -> None:
    """See that a network of these sizes can be.

    Args:
        sizes: those of `FIELDS`, and `width`, that of a token.

    Raises:
        ValueError: it cannot; says why.
    """
    for name in FIELDS:
        value = sizes.get(name)
        if type(value) is int and value < 1:
            raise ValueError(f"{name} {value}: at least 1")
    if sizes["num_self_attends_per_block"] * sizes["num_blocks"] > MAX_SELF_ATTENDS:
        raise ValueError(
            f"num_self_attends_per_block {sizes['num_self_attends_per_block']}: at most {MAX_SELF_ATTENDS}"
        )
    samples, patch = sizes["num_frames"] * sizes["audio_samples_per_frame"], sizes["samples_per_patch"]
    if samples % patch:
        raise ValueError(f"samples_per_patch {patch} does not divide the {samples} samples of a window")
    if sizes["d_latents"] % sizes["num_self_attention_heads"]:
        heads, width = sizes["num_self_attention_heads"], sizes["d_latents"]
        raise ValueError(f"num_self_attention_heads {heads} does not divide d_latents {width}")
    least = audio_channels(sizes) + MIN_PADDING
    if sizes["width"] < least:
        raise ValueError(f"d_model {sizes['width']}: at least {least} with {patch} samples a patch")
    if not 0 <= sizes["attention_probs_dropout_prob"] < 1:
        raise ValueError(f"attention dropout {sizes['attention_probs_dropout_prob']}: at least 0 and below 1")


def whole(sizes: Mapping[str, Any], labels: int) -> Any:
    """The library's model with all its parts.

    Raises:
        ValueError: a size is not possible.
    """
    check(sizes)
    side = BLOCK * sizes["image_size"]
    given = {name: sizes[name] for name in FIELDS if name in sizes}
    try:
        config = library().PerceiverConfig(
            **given, d_model=sizes["width"], num_labels=labels, output_shape=[1, sizes["num_frames"], side, side]
        )
        return getattr(library(), CLASS)(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise ValueError(str(error)) from error


def network(sizes: Mapping[str, Any], labels: int, inputs: Collection[str], outputs: Collection[str]) -> Any:
    """The library's `PerceiverModel` with another label set and without the parts that a training does not need.

    Its parameters have the names of a released checkpoint, less the prefix. Those that the library has and never uses
    are left out: the tokens that audio and pictures would be masked with.

    Args:
        sizes: see `check`.
        labels: K, all outputs together.
        inputs: audio, image.
        outputs: of them, which can be decoded.

    Raises:
        ValueError: a size is not possible, or there are too many labels.
    """
    most = sizes["width"] - MIN_PADDING
    if labels > most:
        raise ValueError(
            f"the targets have {labels} outputs together, the label token of {sizes['width']} numbers leaves room for "
            f"{most}: a larger d_model, or fewer targets at a time (--targets)"
        )
    net = whole(sizes, most).perceiver
    before, after = net.input_preprocessor, net.output_postprocessor
    net.config.num_labels = labels
    before.min_padding_size = sizes["width"] - max(audio_channels(sizes), labels)
    padding = torch.empty(1, sizes["width"] - labels).normal_(std=sizes["initializer_range"])
    # The mask token stands in its place always, so it never learns; kept, for it belongs to the layout.
    before.padding["label"] = nn.Parameter(padding, requires_grad=False)
    # No score depends on it: it adds the same to all those of a query.
    net.encoder.cross_attention.attention.self.key.bias.requires_grad_(False)
    del after.modalities["label"]
    for name in ("audio", "image"):
        del before.mask[name]
        if name not in inputs:
            del before.padding[name]
        if name not in outputs:
            del net.decoder.padding[name]
            del after.modalities[name]
    return net


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Sizes and all weights of a folder that `save_pretrained` wrote.

    Raises:
        MMFairseqError: not such a folder, another model's, a file is damaged, a weight is missing or unknown.
    """
    files, where = weight_files(path), path / "config.json"
    if not where.is_file():
        raise MMFairseqError(f"{path}: no config.json in the folder")
    raw = read_json(where)
    kind, classes = raw.get("model_type"), raw.get("architectures")
    if kind != TYPE or classes not in ([CLASS], None):
        told = f"model_type {kind!r}, architectures {classes!r}"[:160]
        raise MMFairseqError(
            f"{where}: {told}; --perceiver takes {TYPE!r} of {CLASS}, as deepmind/multimodal-perceiver"
        )
    sizes = options_of(raw, FIELDS, where)
    names = raw.get("id2label")
    labels = len(names) if isinstance(names, dict) else 2
    sizes["width"] = max(audio_channels(sizes), labels) + MIN_PADDING
    try:
        with torch.device("meta"):
            wanted = {key: value.shape for key, value in whole(sizes, labels).state_dict().items()}
    except ValueError as error:
        raise MMFairseqError(f"{where}: {error}") from error
    side = BLOCK * sizes["image_size"]
    shape = raw.get("output_shape", [1, sizes["num_frames"], side, side])
    if shape != [1, sizes["num_frames"], side, side]:
        raise MMFairseqError(f"{where}: output_shape is {str(shape)[:80]}, expected [1, num_frames, {side}, {side}]")
    if sum(shape.numel() for shape in wanted.values()) > sum(file.stat().st_size for file in files):
        raise MMFairseqError(f"{path}: {files[-1].name} is too small for the sizes in config.json: another model's?")
    weights = {key: value for file in files if file.suffix != ".json" for key, value in _load(file).items()}
    for problem, keys in (("missing", wanted.keys() - weights.keys()), ("unknown", weights.keys() - wanted.keys())):
        if keys:
            raise MMFairseqError(f"{files[0]}: {len(keys)} weights are {problem}: {', '.join(sorted(keys)[:4])}")
    for key, shape in wanted.items():
        if weights[key].shape != shape:
            found = f"{key} is {tuple(weights[key].shape)}, config.json asks for {tuple(shape)}"
            raise MMFairseqError(f"{files[0]}: weights do not fit: {found}")
    return sizes, {key.removeprefix(PREFIX): weights[key].float() for key in wanted}


def _load(file: Path) -> dict[str, Tensor]:
    if file.suffix != ".safetensors":
        found = read_checkpoint(file)
        if odd := [key for key, value in found.items() if not isinstance(value, Tensor)]:
            raise MMFairseqError(f"{file}: {odd[0]} is no tensor")
        return found
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except Exception as error:  # the library's own kinds
        raise MMFairseqError(f"{file}: not readable: {str(error)[:200]}") from error

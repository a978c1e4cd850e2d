"""What a program without this package needs to know of exported files: config.json, and the files of the texts."""

import hashlib
from typing import Any

import torch

from ...backbones import SAMPLE_RATE
from ...errors import MMFairseqError
from ...targets import Kind
from ..model import EmotionModel
from .formats import FORMATS
from .parts import Part, Port, length_of, output_of
from .samples import PAD

DICTIONARY = "dictionary.txt"
ACTIVATIONS = {  # kind of a target to what makes scores out of its logits
    "single": "softmax",
    "multilabel": "sigmoid",
    "binary_each": "sigmoid_of_pairs",  # K times (no, yes): the sigmoid of yes less no
    "regression": "none",
}
_RUNS = {
    "torchscript": "torch.jit.load(file)(*inputs), in this order; gives a tuple of the outputs",
    "onnx": "onnxruntime.InferenceSession(file).run(outputs, {name: array})",
    "torch-export": "torch.export.load(file).module(check_guards=False)(inputs, padding_masks), two dictionaries by "
    "modality; gives a dictionary of the outputs",
}


def checksum(model: EmotionModel) -> str:
    """Sha256 of the weights, names and shapes included."""
    digest = hashlib.sha256()
    for name, weight in sorted(model.model.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def about_model(model: EmotionModel) -> dict[str, Any]:
    """What all files of a checkpoint have in common."""
    meta, names = model.state["meta"], model.modalities
    encoders = model.model.backbones.encoders
    inputs: dict[str, dict[str, Any]] = {
        name: {"backbone_input": encoders[name].normalisation, "frames_a_second": encoders[name].rate_hz or None}
        for name in names
    }
    dims = model.reader.dims
    for name in names:
        if name in dims:
            inputs[name] |= {"features": dims[name]}
        elif name == "audio":
            inputs[name] |= {"sample_rate": SAMPLE_RATE, "channels": 1, "range": [-1.0, 1.0]}
        elif name == "video":
            told = {"fps": meta["fps"], "frame_size": meta["frame_size"], "faces": meta["faces"]}
            inputs[name] |= told | {"layout": "RGB, (T, 3, H, W), uint8"}
        else:
            bos, eos = model.reader.symbols
            tokenizer = {"tokenizer": meta["tokenizer"]["name"], "tokenizer_files": sorted(model.state["tokenizer"])}
            numbers = {"begin": bos, "end": eos, "pad": PAD, "unknown": 3}
            dictionary = {"dictionary": DICTIONARY, "symbols": len(model.state["dictionary"])}
            inputs[name] |= tokenizer | dictionary | numbers
    return {
        "format_version": 1,
        "architecture": model.architecture,
        "checkpoint": checksum(model),
        "modalities": list(names),
        "preprocessing": inputs,
        "targets": [_target(kind) for kind in model.kinds.values()],
    }


def _target(kind: Kind) -> dict[str, Any]:
    target = kind.target
    if target.kind not in ACTIVATIONS:
        raise MMFairseqError(f"target {target.name!r} of kind {target.kind!r}: config.json has no word for its scores")
    return {
        "name": target.name,
        "kind": target.kind,
        "classes": list(target.classes),
        "output": output_of(target.name),
        "activation": ACTIVATIONS[target.kind],
    }


def about_file(part: Part, kind: str) -> dict[str, Any]:
    """Inputs in their order and outputs of a file."""
    masks = [
        {"name": port.mask, "dtype": "bool", "shape": ["batch", length_of(port)], "true": "padding, behind"}
        for port in part.ports
    ]
    return {
        "format": kind,
        "part": part.name,
        "run": _RUNS[kind],
        "needs": FORMATS[kind].needs,
        "inputs": [_input(port) for port in part.ports] + masks,
        "missing_modality": "a row whose mask is all true",
        "outputs": list(part.outputs),
    }


def _input(port: Port) -> dict[str, Any]:
    return {
        "name": port.name,
        "dtype": str(port.dtype).removeprefix("torch."),
        "shape": ["batch", length_of(port), *port.trailing],
        "unit": port.unit,
        "pad": PAD if port.unit == "tokens" else 0,
        "shortest": port.shortest,
        "longest": port.longest,
    }

"""Run an ONNX export with onnxruntime and numpy alone: neither torch nor fairseq nor mm_fairseq is needed.

    python run_onnx.py EXPORT_DIR --audio clip.wav --text "what is said" --frames frames.npy

Any of the inputs may be left out: the model answers from the others. Where the folder has no model.onnx, backbones
(audio.onnx, text.onnx, video.onnx) and fusion.onnx are run one after the other. Prints one JSON object: for each target
its labels with their scores, best first, or its number. --text needs the sentencepiece package, and a model that was
trained with its pieces; --tokens are for the others. soundfile, where it is there, reads more than 16-bit WAV.
"""

import argparse
import json
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

Arrays = dict[str, np.ndarray]


class InputError(Exception):
    """What was given cannot be used."""


def loaded(path: Path, kind: str, read: Callable[[Path], Any]) -> Any:
    """What a function makes of a file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return read(path)
    except InputError:
        raise
    except Exception as error:  # every package has kinds of its own
        raise InputError(f"{path}: cannot be read as {kind}: {str(error) or type(error).__name__}") from error


def read_samples(path: Path) -> tuple[np.ndarray, int]:
    """Samples in [-1, 1], (T, channels), and their rate."""
    try:
        import soundfile
    except ImportError:  # then 16-bit WAV alone
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2:
                raise InputError(f"{path}: {8 * file.getsampwidth()} bits a sample; install soundfile") from None
            raw = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
            return raw.astype(np.float32) / 32768, file.getframerate()
    return soundfile.read(path, dtype="float32", always_2d=True)


def read_array(path: Path) -> np.ndarray:
    """What an .npy file holds."""
    with path.open("rb") as file:
        return np.lib.format.read_array(file)


def read_arrays(path: Path) -> Arrays:
    """What an .npz file holds, by name."""
    with path.open("rb") as file, np.load(file) as arrays:
        return dict(arrays)


def read_audio(path: Path, rate: int) -> np.ndarray:
    """Samples (T) in [-1, 1] of a recording at `rate` Hz, its channels mixed."""
    samples, found = loaded(path, "sound", read_samples)
    if found != rate:
        raise InputError(f"{path}: {found} Hz; the model hears {rate} Hz: ffmpeg -i '{path}' -ar {rate} -ac 1 out.wav")
    return samples.mean(1)


def read_text(text: str, about: dict, folder: Path) -> np.ndarray:
    """Numbers (T) of the symbols of a text, those at its ends included."""
    if about["tokenizer"] != "sentencepiece" or not about["tokenizer_files"]:
        raise InputError(
            f"--text: only sentencepiece is read here, and the tokeniser of this model is {about['tokenizer']!r}, "
            f"files {', '.join(about['tokenizer_files']) or 'none'}: give --tokens"
        )
    try:
        import sentencepiece
    except ImportError as error:
        raise InputError("--text: needs sentencepiece: pip install sentencepiece; or give --tokens") from error
    symbols = loaded(folder / about["dictionary"], "a dictionary", lambda path: path.read_text("utf-8").splitlines())
    numbers = {symbol: number for number, symbol in enumerate(symbols) if number > about["unknown"]}
    pieces = loaded(
        folder / about["tokenizer_files"][0],
        "a sentencepiece model",
        lambda path: sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes()).encode(text, out_type=str),
    )
    if not pieces:
        raise InputError(f"--text: no words in {text!r}")
    return np.array([about["begin"], *(numbers.get(piece, about["unknown"]) for piece in pieces), about["end"]])


def shown(shape: list) -> str:
    """The shape of one input, its length open."""
    return f"(T, {', '.join(map(str, shape))})" if shape else "(T)"


def checked(port: dict, item: np.ndarray, symbols: int) -> np.ndarray:
    """An input of the right shape, type and range."""
    name, dtype, trailing = port["name"], np.dtype(port["dtype"]), port["shape"][2:]
    if item.ndim < 1 or list(item.shape[1:]) != trailing:
        raise InputError(f"{name} is of shape {item.shape}; expected {shown(trailing)}")
    if item.dtype != dtype and (item.dtype.kind != dtype.kind or dtype == np.uint8):
        raise InputError(f"{name} is of type {item.dtype}; expected {dtype}")
    if dtype.kind == "f" and not np.isfinite(item).all():
        raise InputError(f"{name}: not all of it are finite numbers")
    if port["unit"] == "tokens" and item.size and not 0 <= item.min() <= item.max() < symbols:
        wrong = next(number for number in item.tolist() if not 0 <= number < symbols)
        raise InputError(f"{name}: token {wrong}; the dictionary has the numbers 0 to {symbols - 1}")
    return item.astype(dtype)


def fitted(port: dict, item: np.ndarray) -> np.ndarray | None:
    """An input cut at the longest that the model takes; None where it is too short. Either is told on stderr."""
    name, unit, longest = port["name"], port["unit"], port["longest"]
    if len(item) < port["shortest"]:
        told = f"the model needs {port['shortest']}; answered without it"
        sys.stderr.write(f"{name}: {len(item)} {unit}; {told}\n")
        return None
    if len(item) > longest:
        sys.stderr.write(f"{name}: {len(item)} {unit}; the model takes {longest}: the end is cut off\n")
        last, item = item[-1], item[:longest]
        if unit == "tokens":
            item[-1] = last  # a text keeps its last symbol
    return item


def batch_of(inputs: list[dict], given: Arrays) -> Arrays:
    """A batch of one row; what is not given is padding, as long as the shortest input."""
    feed = {}
    for port in inputs:
        if port["dtype"] == "bool":
            continue
        name, shape = port["name"], (port["shortest"], *port["shape"][2:])
        item = given.get(name, np.full(shape, port["pad"], port["dtype"]))
        feed[name], feed[f"{name}_mask"] = item[None], np.full((1, len(item)), name not in given)
    return feed


class Export:
    """The ONNX files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder")
        self.config = loaded(folder / "config.json", "JSON", lambda path: json.loads(path.read_bytes()))
        if not isinstance(self.config, dict) or not {"files", "preprocessing", "targets"} <= self.config.keys():
            raise InputError(f"{folder / 'config.json'}: not of an export; see mm-fairseq export")
        self.files = {
            each["part"]: (name, each) for name, each in self.config["files"].items() if each["format"] == "onnx"
        }
        if "model" not in self.files and "fusion" not in self.files:
            raise InputError(f"{folder}: neither model.onnx nor fusion.onnx is told of in config.json")

    def about(self, option: str, modality: str, key: str) -> dict:
        """What config.json says of a modality that the model reads raw."""
        about = self.config["preprocessing"].get(modality)
        if about is None:
            raise InputError(f"{option}: the model reads {', '.join(self.config['modalities'])}")
        if key not in about:
            raise InputError(f"{option}: the model reads features of {modality}: give --inputs")
        return about

    def usable(self, given: Arrays) -> Arrays:
        """Inputs as the first file takes each of them."""
        ports = {}
        for name in self.config["modalities"]:
            part = "model" if "model" in self.files else name if name in self.files else "fusion"
            ports |= {port["name"]: port for port in self.files[part][1]["inputs"] if port["name"] == name}
        if unknown := sorted(given.keys() - ports.keys()):
            raise InputError(f"{unknown[0]}: the model reads {', '.join(ports)}")
        symbols = self.config["preprocessing"].get("text", {}).get("symbols", 0)
        fit = {name: fitted(ports[name], checked(ports[name], item, symbols)) for name, item in given.items()}
        found = {name: item for name, item in fit.items() if item is not None}
        if not found:
            raise InputError("nothing is left that the model reads" if given else "nothing is given; see --help")
        return found

    def run(self, part: str, given: Arrays) -> Arrays:
        """One file; gives its outputs by name."""
        name, about = self.files[part]
        session = loaded(
            self.folder / name,
            "ONNX",
            lambda path: onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]),
        )
        feed, there = batch_of(about["inputs"], given), {each.name for each in session.get_inputs()}
        found = session.run(about["outputs"], {key: x for key, x in feed.items() if key in there})
        return dict(zip(about["outputs"], found, strict=True))

    def logits(self, given: Arrays) -> Arrays:
        """Of the whole model, in one file or in several."""
        if "model" in self.files:
            return self.run("model", given)
        features = {}
        for name, item in given.items():
            if name not in self.files:
                features[name] = item  # features already
                continue
            found = self.run(name, {name: item})
            features[name] = found["features"][0][~found["padding_mask"][0]]
        return self.run("fusion", {name: x for name, x in features.items() if len(x)})

    def answer(self, given: Arrays) -> dict:
        """Target to `[{"label", "score"}, ...]`, best first, or to a number."""
        logits, out = self.logits(self.usable(given)), {}
        for target in self.config["targets"]:
            scores = scores_of(logits[target["output"]][0].astype(np.float64), target["activation"])
            if target["activation"] == "none":
                out[target["name"]] = float(scores[0])
                continue
            ranked = sorted(zip(target["classes"], scores.tolist(), strict=True), key=lambda pair: -pair[1])
            out[target["name"]] = [{"label": label, "score": score} for label, score in ranked]
        return out


def scores_of(x: np.ndarray, activation: str) -> np.ndarray:
    """Scores out of logits."""
    if activation == "softmax":
        x = np.exp(x - x.max())
        return x / x.sum()
    if activation == "sigmoid_of_pairs":
        no, yes = x.reshape(-1, 2).T
        x = yes - no
    return x if activation == "none" else 1 / (1 + np.exp(-x))


def inputs_of(args: argparse.Namespace, export: Export) -> Arrays:
    """What was given, by modality."""
    given = loaded(args.inputs, ".npz", read_arrays) if args.inputs else {}
    if args.audio:
        given["audio"] = read_audio(args.audio, export.about("--audio", "audio", "sample_rate")["sample_rate"])
    if args.tokens:
        export.about("--tokens", "text", "tokenizer")
        given["text"] = np.array(args.tokens)
    if args.text is not None:
        given["text"] = read_text(args.text, export.about("--text", "text", "tokenizer"), export.folder)
    if args.frames:
        export.about("--frames", "video", "frame_size")
        given["video"] = loaded(args.frames, ".npy", read_array)
    return given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="written by mm-fairseq export --format onnx")
    parser.add_argument("--audio", type=Path, help="a recording at the rate that config.json says")
    text = parser.add_mutually_exclusive_group()
    text.add_argument("--text", help="what is said; for models with a tokeniser of sentencepiece")
    text.add_argument("--tokens", type=int, nargs="+", help="numbers of a text's symbols, those at its ends included")
    parser.add_argument("--frames", type=Path, help="pictures, .npy of (T, 3, H, W), uint8 RGB")
    parser.add_argument("--inputs", type=Path, help=".npz with any of audio, text and video, or features (T, D)")
    args = parser.parse_args()
    try:
        export = Export(args.folder)
        answer = export.answer(inputs_of(args, export))
    except InputError as error:
        parser.exit(2, f"{parser.prog}: error: {' '.join(str(error).split())}\n")
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

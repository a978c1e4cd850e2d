"""Run an ONNX export with onnxruntime and numpy alone: neither torch nor fairseq nor mm_fairseq is needed.

    python run_onnx.py EXPORT_DIR --audio clip.wav --tokens 0 31 7 2 --frames frames.npy

Any of the inputs may be left out: the model answers from the others. Where the folder has no model.onnx, backbones
(audio.onnx, text.onnx, video.onnx) and fusion.onnx are run one after the other. Prints one JSON object: for each target
its labels with their scores, best first, or its number.
"""

import argparse
import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime

Arrays = dict[str, np.ndarray]


def read_audio(path: Path, rate: int) -> np.ndarray:
    """Samples (T) in [-1, 1] of a recording at `rate` Hz, its channels mixed."""
    try:
        import soundfile

        samples, found = soundfile.read(path, dtype="float32", always_2d=True)
    except ImportError:  # then 16-bit WAV alone
        with wave.open(str(path)) as file:
            if file.getsampwidth() != 2:
                raise SystemExit(f"{path}: {8 * file.getsampwidth()} bits a sample; install soundfile") from None
            raw = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
            samples, found = raw.astype(np.float32) / 32768, file.getframerate()
    if found != rate:
        raise SystemExit(f"{path}: {found} Hz; the model hears {rate} Hz: ffmpeg -i {path} -ar {rate} -ac 1 out.wav")
    return samples.mean(1)


def batch_of(inputs: list[dict], given: Arrays) -> Arrays:
    """A batch of one row: what is given, cut at the longest and padded to the shortest; what is not is all padding."""
    feed = {}
    for each in inputs:
        name = each["name"].removesuffix("_mask")
        if each["dtype"] == "bool":
            continue
        item = np.array(given.get(name, np.empty((0, *each["shape"][2:]))), each["dtype"])[: each["longest"]]
        if each["unit"] == "tokens" and len(given.get(name, ())) > each["longest"]:
            item[-1] = given[name][-1]  # a text keeps its end
        if list(item.shape[1:]) != each["shape"][2:]:
            raise SystemExit(f"{name} is of shape {item.shape}; expected (T, *{each['shape'][2:]})")
        if len(item) < each["shortest"]:
            length = 0 if name not in given else len(item)
            room = np.full((each["shortest"] - len(item), *item.shape[1:]), each["pad"], item.dtype)
            item = np.concatenate([item, room])
        else:
            length = len(item)
        feed[name] = item[None]
        feed[f"{name}_mask"] = (np.arange(len(item)) >= length)[None]
    return feed


class Export:
    """The ONNX files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_bytes())
        self.files = {
            each["part"]: (name, each) for name, each in self.config["files"].items() if each["format"] == "onnx"
        }
        if "model" not in self.files and "fusion" not in self.files:
            raise SystemExit(f"{folder}: neither model.onnx nor fusion.onnx is told of in config.json")

    def run(self, part: str, given: Arrays) -> Arrays:
        """One file; gives its outputs by name."""
        name, about = self.files[part]
        session = onnxruntime.InferenceSession(self.folder / name, providers=["CPUExecutionProvider"])
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
        logits, out = self.logits(given), {}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="written by mm-fairseq export --format onnx")
    parser.add_argument("--audio", type=Path, help="a recording at the rate that config.json says")
    parser.add_argument("--tokens", type=int, nargs="+", help="numbers of a text's symbols, those at its ends included")
    parser.add_argument("--frames", type=Path, help="pictures, .npy of (T, 3, H, W), uint8 RGB")
    parser.add_argument("--inputs", type=Path, help=".npz with any of audio, text and video, or features (T, D)")
    args = parser.parse_args()
    export = Export(args.folder)
    given = dict(np.load(args.inputs)) if args.inputs else {}
    if args.audio:
        given["audio"] = read_audio(args.audio, export.config["preprocessing"]["audio"]["sample_rate"])
    if args.tokens:
        given["text"] = np.array(args.tokens)
    if args.frames:
        given["video"] = np.load(args.frames)
    if unknown := sorted(given.keys() - set(export.config["modalities"])):
        raise SystemExit(f"{unknown[0]}: the model reads {', '.join(export.config['modalities'])}")
    if not given:
        raise SystemExit("nothing is given: --audio, --tokens, --frames or --inputs")
    sys.stdout.write(json.dumps(export.answer(given), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

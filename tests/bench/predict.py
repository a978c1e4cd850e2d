"""CPU-seconds of a warm `EmotionModel.predict` of one clip beside bare decoding and the bare model.

    python tests/bench/predict.py [--steps N] [--seconds S] [--size WxH] [--quick]

A clip of 5 s, 720x480 at 25 pictures a second in H.264, AAC at 48 kHz, and two sentences; 16 kHz sound and five
pictures of a followed face a second, of 256 x 256 pixels, as `binarize` makes them by default. The reference, in the
same process and in turns, is what nobody can do without: `media.audio.read_audio` and `media.clip.read_clip`, called as
binarize calls them in a process of their own (`media.child`), and the forward pass on a batch that is there already.
What predict adds is all else: the tokeniser, JPEGs to pictures, padding, checks, scores, the answer. CPU-seconds are
those of this process and of the one that decodes, all on one thread each.

Three models with random weights, all at a batch of one: `wave_text` at its full width, which has no pretrained backbone
and sees no pictures, so that there is least to hide behind; `toy`, ssl_fusion with the toy corpus's small wav2vec and
RoBERTa; `base`, ssl_fusion with wav2vec 2.0 base, RoBERTa base and FAb-Net, 230 million weights.

The last line is JSON; `ratio`, the largest of the medians over the turns, must stay below `limit`, 1.15.
"""

import argparse
import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded

import logging
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from calibration import scale
from fairseq.data import Dictionary
from fairseq.models import build_model
from omegaconf import OmegaConf

from mm_fairseq.backbones.spec import complete
from mm_fairseq.inference import Clip, EmotionModel
from mm_fairseq.inference.loading import Loaded
from mm_fairseq.media.bounds import Limits
from mm_fairseq.media.child import Child
from mm_fairseq.media.text import Gpt2
from mm_fairseq.models.ssl_fusion import SSLFusionConfig
from mm_fairseq.models.wave_text import WaveTextConfig
from mm_fairseq.preprocessing.items import READERS, SAMPLE_RATE, Settings
from mm_fairseq.toy import acted
from mm_fairseq.toy.bpe import write_bpe
from mm_fairseq.toy.checkpoints import MERGES
from mm_fairseq.toy.clips import write_clip
from mm_fairseq.toy.cues import Cue
from mm_fairseq.toy.sentences import every_word, sentence

LIMIT = 1.15
FPS, RATE = 25, 48_000
CLASSES = ["neutral", "joy", "sadness", "anger"]
NAMES = ("wave_text", "toy", "base")
TINY = {"encoder_layers": 2, "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 128, "encoder_attention_heads": 4}
BASE = {"encoder_layers": 12, "encoder_embed_dim": 768, "encoder_ffn_embed_dim": 3072, "encoder_attention_heads": 12}
LAYERS = [[64, 10, 5], [64, 8, 4], *[[64, 4, 2]] * 3, *[[64, 1, 1]] * 2]
AGGREGATOR = [[64, kernel, 1] for kernel in (2, 3, 4)]


def entry(name: str, **args: Any) -> dict[str, Any]:
    """As a checkpoint has it of one backbone."""
    return complete({"name": name, "args": args, "frozen": True, "sha256": {}})


def options_of(name: str, vocabulary: int) -> dict[str, Any]:
    """Those of a checkpoint's model."""
    if name == "wave_text":
        cfg = WaveTextConfig()
        words = entry("embedding", vocabulary=vocabulary, dim=cfg.d_model)
        return asdict(cfg) | {"_name": name, "backbone_args": {"audio": entry("wave_pieces"), "text": words}}
    toy = name == "toy"
    small = {"conv_feature_layers": LAYERS, "conv_aggregator_layers": AGGREGATOR}
    backbones = {
        "audio": entry("wav2vec", **small) if toy else entry("wav2vec2"),
        "text": entry("roberta", vocabulary=vocabulary, max_positions=512, **(TINY if toy else BASE)),
        "video": entry("fabnet"),
    }
    return asdict(SSLFusionConfig()) | {"_name": "ssl_fusion", "backbone_args": backbones}


def model_of(name: str, folder: Path) -> EmotionModel:
    """With random weights, by way of what a checkpoint holds; the tokeniser's files lie in a folder."""
    symbols = Dictionary.load(str(folder / "dict.txt")).symbols
    options, settings = options_of(name, len(symbols)), Settings()
    modalities = list(options["backbone_args"])
    state = {
        "targets": [{"name": "emotion", "kind": "single", "classes": CLASSES}],
        "dictionary": symbols,
        "tokenizer": {each: (folder / each).read_bytes() for each in Gpt2.files},
        "modalities": modalities,
        "meta": {
            "fps": settings.fps,
            "frame_size": settings.frame_size,
            "faces": settings.faces,
            "settings": {"max_seconds": settings.max_seconds},
            "streams": {each: {"dim": 0} for each in modalities},
            "tokenizer": {"name": "gpt2", "files": list(Gpt2.files)},
        },
    }
    torch.manual_seed(0)
    outputs = SimpleNamespace(outputs={"emotion": len(CLASSES)})
    weights = build_model(OmegaConf.create(options), outputs, from_checkpoint=True).state_dict()
    task = {"init_token": -1, "separator_token": -1, "max_sample_size": 0}
    return EmotionModel(Loaded(options, task, state, weights, Path(name)))


def write(path: Path, seconds: float, size: tuple[int, int]) -> None:
    """A head of the toy corpora that speaks."""
    rng = np.random.default_rng(1)
    sound, frames = acted.perform(
        acted.actor("F", rng), Cue(1, -1), Cue(-1, 1), seconds - 2 * acted.SILENCE, FPS, size, rng
    )
    write_clip(path, frames, acted.at_rate(sound, RATE), FPS, RATE)


def seconds(step: Callable[[], Any], child: Child) -> float:
    """CPU-seconds of this process and of one that decodes, by its clock: clock_getcpuclockid(3)."""

    def used() -> float:
        return time.process_time() + time.clock_gettime((~child._pid << 3) | 2)

    begun = used()
    step()
    return used() - begun


def measure(model: EmotionModel, path: Path, words: str, steps: int) -> dict[str, float]:
    """Medians over the turns."""
    settings, child = model.reader.settings, Child(READERS, Limits())
    sound = ("sound", str(path), None, None, SAMPLE_RATE, settings.max_seconds)
    shape = (settings.fps, None, settings.max_seconds, settings.frame_size, settings.faces)
    calls = [sound, *([("clip", str(path), None, None, *shape)] if "video" in model.modalities else [])]
    batch = model.batch([model.read(Clip(video=path, text=words))])

    @torch.inference_mode()
    def bare() -> None:
        for call in calls:
            child(*call)
        model.model(**batch)

    def ours() -> None:
        model.predict(path, text=words)

    for _ in range(2):
        ours()
        bare()
    turns = [(seconds(ours, model.reader._child), seconds(bare, child)) for _ in range(steps)]
    child.close()
    value, reference = (statistics.median(each) for each in zip(*turns, strict=True))
    ratio = statistics.median(one / other for one, other in turns)
    return {"value": round(value, 4), "reference": round(reference, 4), "ratio": round(ratio, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=25, help="turns of which the median is taken (default: 25)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the clip (default: 5)")
    parser.add_argument("--size", default="720x480", metavar="WxH", help="of its pictures (default: 720x480)")
    parser.add_argument("--quick", action="store_true", help="seven turns, without the large model")
    given = parser.parse_args()
    steps, names = (7, NAMES[:2]) if given.quick else (given.steps, NAMES)
    width, height = map(int, given.size.split("x"))
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bpe(folder, every_word(), MERGES)
        write(folder / "clip.mp4", given.seconds, (width, height))
        words = " ".join(sentence(cue, np.random.default_rng(1)) for cue in (Cue(1, 1), Cue(-1, 1)))
        for name in names:
            with model_of(name, folder) as model:
                found[name] = measure(model, folder / "clip.mp4", words, steps)
    result = {
        "name": "predict",
        "unit": "CPU-seconds a clip",
        **max(found.values(), key=lambda each: each["ratio"]),
        "limit": LIMIT,
        "models": found,
        "seconds": given.seconds,
        "size": given.size,
        "steps": steps,
        "scale": round(scale(3), 3),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()

"""CPU-seconds a sample of training `ssl_fusion` at the original's width from cached streams, data reading included.

    python tests/bench/ssl_fusion_cached.py [--steps N] [--quick]

Text 1024, audio 512 and video 256 wide, 4 heads, 2 layers each, feed-forward 1024, dropout 0.1, batches of 16 in the
dataset's order by length, lengths spread as in IEMOCAP, fairseq's Adam, two threads. The reference is the same network
with torch's own layers, every query position computed. The last line is JSON; `value`, the median over the batches,
must stay below `limit`, 0.35 times `scale`; `mean` is that over all lengths. OpenMP's threads wait asleep, unless the
environment says otherwise: on a busy machine waiting ones burn more time than work does.
"""

import argparse
import copy
import json
import logging
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is loaded

import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from calibration import scale
from fairseq.optim.adam import Adam
from omegaconf import OmegaConf
from torch import Tensor, nn

from mm_fairseq.backbones.spec import complete
from mm_fairseq.criterions.emotion_prediction import EmotionPredictionCriterion
from mm_fairseq.criterions.options import EmotionPredictionCriterionConfig
from mm_fairseq.databin import CachedStream
from mm_fairseq.databin.writer import write_shard
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.models.ssl_fusion import SSLFusionConfig
from mm_fairseq.modules.attention import MaskedAttention
from mm_fairseq.modules.encoder import StreamEncoder
from mm_fairseq.modules.fusion import InterModalFusion
from mm_fairseq.targets import Target, write_targets
from mm_fairseq.tasks._config import EmotionPredictionConfig
from mm_fairseq.tasks.emotion_prediction import EmotionPredictionTask

LIMIT = 0.35
BATCH = 16
CLASSES = ("neu", "sad", "ang", "hap")
HOP, FIELD = 160, 465  # of wav2vec
# Of RoBERTa the width alone: nothing of it runs.
WIDE = {"encoder_layers": 1, "encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 8, "encoder_attention_heads": 1}
WIDE["vocabulary"] = 8
ENTRIES = {
    name: complete({"name": backbone, "args": args, "frozen": True, "omitted": True, "sha256": {"path": "0" * 64}})
    for name, backbone, args in (("audio", "wav2vec", {}), ("text", "roberta", WIDE), ("video", "fabnet", {}))
}
WIDTHS = {"audio": 512, "text": 1024, "video": 256}


def lengths_like_iemocap(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Frames of each modality: about 4.5 s an utterance, log-normal, 25 pictures and 4.4 tokens a second."""
    seconds = np.exp(rng.normal(np.log(4.05), 0.55, count)).clip(1.0, 9.36)
    text = 2 + rng.poisson(4.0 * seconds)
    return {"audio": (100 * seconds).astype(int), "text": text, "video": np.maximum(1, (24.5 * seconds).astype(int))}


def write_data_bin(folder: Path, lengths: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Raw streams, of which the lengths alone are read, with manifest and protocol."""
    count = len(lengths["audio"])
    raw = {
        "audio": [np.zeros(FIELD + (n - 1) * HOP, np.int16) for n in lengths["audio"]],
        "text": [np.full(n - 2, 4, np.int32) for n in lengths["text"]],
        "video": [np.zeros(8, np.uint8)] * count,
    }
    for name, items in raw.items():
        own = lengths[name].tolist() if name == "video" else None
        write_shard(folder / name, 0, items, items[0].dtype.name, lengths=own)
    rows = [Utterance(f"utt{row}", labels={"emotion": CLASSES[row % 4]}) for row in range(count)]
    Manifest(Path("."), ["emotion"], rows).write(folder / "manifest.tsv")
    write_targets(folder / "targets.json", [Target("emotion", "single", CLASSES)])
    (folder / "splits/official/1").mkdir(parents=True)
    for part in ("train", "valid", "test"):
        np.save(folder / f"splits/official/1/{part}.npy", np.arange(count))
    meta = {"format": 1, "complete": True, "sample_rate": 16000, "fps": 25.0, "frame_size": 256, "tokenizer": {}}
    meta |= {"protocols": [{"name": "official", "folds": ["1"]}], "streams": {name: {} for name in raw}, "rows": count}
    (folder / "meta.json").write_text(json.dumps(meta))


def write_features(folder: Path, lengths: dict[str, np.ndarray], limits: dict[str, Any], symbols: Any) -> None:
    """Float16 streams as `mm-fairseq extract` writes them."""
    rng = np.random.default_rng(1)
    for name, width in WIDTHS.items():
        noise = rng.standard_normal((2048, width)).astype(np.float16)
        starts = rng.integers(0, 1024, len(lengths[name]))
        entry = ENTRIES[name]
        made_of = {"args": entry["args"], "sha256": entry["sha256"], "longest": limits[name].longest}
        ends = symbols if name == "text" else ()
        stream = CachedStream(
            modality=name, backbone=entry["name"], symbols=ends, dtype="float16", dim=width, **made_of
        )
        source = json.loads((folder / name / "shard-00000.json").read_text())["sha256"]["bin"]
        items = [noise[start : start + n] for start, n in zip(starts, lengths[name], strict=True)]
        write_shard(stream.write(folder), 0, items, "float16", dim=width, notes={"source": source})


class PlainAttention(nn.MultiheadAttention):
    """Torch's own, for rows that have a key."""

    def forward(self, query: Tensor, key: Tensor, padding_mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(query, key, key, key_padding_mask=padding_mask, need_weights=False)[0]


class PlainEncoder(StreamEncoder):
    """Torch's own layers."""

    def forward(self, x: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([self.start.expand(x.size(0), 1, -1), x], dim=1) + self.positions[: x.size(1) + 1]
        mask = torch.cat([padding_mask.new_zeros(x.size(0), 1), padding_mask], dim=1)
        x = self.dropout(self.norm(x)).masked_fill(mask[..., None], 0.0)
        for layer in self.layers:
            x = nn.TransformerEncoderLayer.forward(layer, x, src_key_padding_mask=mask)
        return x.masked_fill(mask[..., None], 0.0), mask


class PlainFusion(InterModalFusion):
    """Every position of a stream attends, and the first one is read."""

    def forward(self, streams: Any) -> Tensor:
        vectors = []
        for query in self.names:
            product = torch.ones(())
            for key in self.names:
                if key != query:
                    x = streams[query].x
                    for layer in self.cross[f"{query}_from_{key}"]:
                        x = layer(x, streams[key].x, streams[key].padding_mask)
                    product = product * x[:, 0]
            vectors.append(product)
        return torch.cat(vectors, dim=-1)


def plain(model: nn.Module) -> nn.Module:
    """A copy that computes the same the long way."""
    model = copy.deepcopy(model)
    for module in model.modules():
        for kind, other in (
            (MaskedAttention, PlainAttention),
            (StreamEncoder, PlainEncoder),
            (InterModalFusion, PlainFusion),
        ):
            if type(module) is kind:
                module.__class__ = other
    return model


class Training:
    """Batches of a split, and steps on them as fairseq makes them."""

    def __init__(self, task: EmotionPredictionTask, batches: list[np.ndarray]) -> None:
        self.dataset, self.batches = task.dataset("train"), batches
        self.criterion = EmotionPredictionCriterion.build_criterion(EmotionPredictionCriterionConfig(), task)

    def read(self, number: int) -> dict[str, Any]:
        return self.dataset.collater([self.dataset[int(index)] for index in self.batches[number]])

    def cost(self, model: nn.Module, repeats: int) -> list[float]:
        """CPU-seconds a sample for each batch, the median over its steps."""
        optimizer = Adam(model.parameters(), 1e-5)
        model.train()
        seen: list[list[float]] = [[] for _ in self.batches]
        for turn in range(repeats + 1):
            for number, batch in enumerate(self.batches):
                start = time.process_time()
                optimizer.zero_grad(set_to_none=True)
                self.criterion(model, self.read(number))[0].backward()
                optimizer.step()
                if turn or (len(self.batches) > 1 and number):  # the very first step allocates
                    seen[number].append((time.process_time() - start) / len(batch))
        return [statistics.median(costs) for costs in seen]


def largest_difference(task: EmotionPredictionTask, training: Training, model: nn.Module) -> float:
    """Between the logits of both ways."""
    batch = training.read(0)["net_input"]
    with torch.no_grad():
        ours, theirs = (each.eval()(**batch)["logits"]["emotion"] for each in (model, plain(model)))
    return float((ours - theirs).abs().max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=8, help="batches, spread evenly over the lengths (default: 8)")
    parser.add_argument("--quick", action="store_true", help="each batch once, the reference on one alone")
    options = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    logging.disable(logging.WARNING)
    rng = np.random.default_rng(0)
    lengths = lengths_like_iemocap(BATCH * 4 * options.steps, rng)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_data_bin(folder, lengths, rng)
        task = EmotionPredictionTask(OmegaConf.structured(EmotionPredictionConfig(data=scratch)))
        cfg = OmegaConf.create({**vars(SSLFusionConfig()), "_name": "ssl_fusion", "backbone_args": ENTRIES})
        model = task.build_model(cfg, from_checkpoint=True)
        bos, _, eos = task.symbols
        write_features(folder, lengths, task.limits, (bos, eos))
        task.load_dataset("train")
        order = task.dataset("train").ordered_indices()
        batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)][2::4]
        training = Training(task, batches)
        difference = largest_difference(task, training, model)
        machine = [scale(3 if options.quick else 7)]
        costs = training.cost(model, 1 if options.quick else 3)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        training.batches = batches[len(batches) // 2 :][:1] if options.quick else batches[1::2]
        reference = statistics.median(training.cost(plain(model), 1))
        machine.append(scale(3 if options.quick else 7))
    value, factor = statistics.median(costs), statistics.mean(machine)
    result = {
        "name": "ssl_fusion_cached",
        "value": round(value, 4),
        "unit": "CPU-seconds a sample",
        "mean": round(statistics.mean(costs), 4),
        "reference": round(reference, 4),
        "ratio": round(value / reference, 4),
        "peak_rss_gb": round(peak, 2),
        "scale": round(factor, 3),
        "limit": round(LIMIT * factor, 4),
        "frames": {name: round(float(values.mean()), 1) for name, values in lengths.items()},
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "largest_difference": difference,
    }
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()

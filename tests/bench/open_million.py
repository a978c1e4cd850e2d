"""Opening a data-bin of a million utterances and planning an epoch of it, as one of eight ranks of a training does.

    python tests/bench/open_million.py [--utterances N] [--batch-size N] [--folder DIR] [--quick]

A data-bin of audio, text and video is generated, in shards of 256 utterances, with a manifest of transcripts,
speakers, times, a class, its votes and a number each, and splits of 96, 2 and 2 %. Everything that a training reads to
open and to plan is as `mm-fairseq binarize` writes it; the `.bin` files have their sizes, but no content (they are
sparse). One of a quarter of the utterances is generated too.

Each is opened in a fresh process, which has imported fairseq and built a small model. Measured there:

- `value`: seconds for the task's `load_dataset` of train and of valid: manifest, labels, splits, the indices of the
  three streams with their checksums, the sizes of all shards, the sizes of all utterances. Files are in the page cache.
- `planning_s`: seconds for `get_batch_iterator` and the shuffled batches of the rank (--max-tokens 8000, or
  --batch-size); `second_epoch_s` the same for the next epoch; `positives_s` for the counts of classes in train.
- `memory_mb`: what the process holds after that more than before: its resident set, files that are mapped included;
  `private_mb` the same without pages of files, `rss_mb` the whole resident set, with Python, torch and fairseq;
  `peak_mb` the highest that the resident set was above its begin.
- `growth`: bytes an utterance, by which `memory_mb` of the larger data-bin is above that of the smaller.
- `worst_growth`: the same with a batch for each utterance.

Limits hold for the times divided by `scale` (`calibration`). The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from mm_fairseq.databin import StreamReader, complete, write_lookup
from mm_fairseq.databin.format import Index, shard_paths
from mm_fairseq.manifest import COLUMNS, Utterance
from mm_fairseq.targets import Target, write_targets

LIMITS = {"value": 2.0, "planning_s": 10.0, "memory_mb": 300.0, "growth": 16.0}
CLASSES = ("neutral", "happy", "sad", "angry", "surprised", "afraid")
TARGETS = [Target("emotion", "single", CLASSES, votes="emotion_votes"), Target("arousal", "regression")]
SHARD = 256
RANKS, RANK = 8, 3
WORDS = 2000


class Rows(Sequence[Utterance]):
    """Labels of the made-up utterances, each made when it is asked for."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(1)
        self.classes, self.arousal = rng.integers(0, len(CLASSES), size), rng.uniform(1, 5, size).round(2)

    def __len__(self) -> int:
        return len(self.classes)

    def labels(self, row: int) -> dict[str, str]:
        label = CLASSES[self.classes[row]]
        votes = f"{label}=2|{CLASSES[row % len(CLASSES)]}=1"
        return {"emotion": label, "emotion_votes": votes, "arousal": str(self.arousal[row])}

    def __getitem__(self, row: Any) -> Any:
        return Utterance(f"utt{row:07d}", labels=self.labels(row))


def write_stream(folder: Path, name: str, dtype: str, lengths: np.ndarray, elements: np.ndarray | None) -> None:
    """Shards whose `.bin` files have the right size and no content.

    Args:
        folder: of the data-bin.
        name: of the stream.
        dtype: of its elements.
        lengths: of its items. Shape (N).
        elements: of its items, where they are others. Shape (N).
    """
    (folder / name).mkdir()
    sizes = lengths if elements is None else elements
    for shard, start in enumerate(range(0, len(sizes), SHARD)):
        part = slice(start, start + SHARD)
        offsets = np.concatenate([[0], np.cumsum(sizes[part])])
        index = Index(np.dtype(dtype), 0, offsets, None if elements is None else lengths[part])
        bin_path, idx_path, receipt = shard_paths(folder / name, shard)
        raw, size = index.to_bytes(), index.elements * index.dtype.itemsize
        with open(bin_path, "wb") as file:
            file.truncate(size)
        idx_path.write_bytes(raw)
        sums = {"bin": sha256(f"{name} {shard}".encode()).hexdigest(), "idx": sha256(raw).hexdigest()}
        told = {"count": len(index), "dtype": dtype, "dim": 0, "bytes": size, "sha256": sums, "notes": {"problems": []}}
        receipt.write_text(json.dumps(told) + "\n")
    StreamReader(folder / name, anew=True).index.write(folder / name)


def lines(rows: Rows) -> Iterator[str]:
    """Of the manifest, some 150 bytes each."""
    yield "# root=/data/corpus"
    yield "\t".join((*COLUMNS, "emotion", "emotion_votes", "arousal", "style"))
    rng = np.random.default_rng(2)
    words = np.array(["".join(rng.choice(list("abcdefghijklmnoprstuvw"), rng.integers(2, 9))) for _ in range(WORDS)])
    for row in range(len(rows)):
        text = " ".join(words[rng.integers(0, WORDS, 4 + row % 17)])
        place = f"{row % 5000:04d}\t{row % 50}\td{row // 20}\t{row % 20}\t{row % 900}.25\t{row % 900 + 4}.5"
        files = f"wav/{row // 1000:04d}/{row:07d}.wav\tvideo/{row // 1000:04d}/{row:07d}.mp4"
        yield "\t".join((f"utt{row:07d}", "", place, files, text, *rows.labels(row).values(), "acted"))


def generate(folder: Path, size: int) -> Path:
    """A data-bin of `size` utterances."""
    folder.mkdir()
    rng, rows = np.random.default_rng(0), Rows(size)
    seconds = rng.gamma(3, 1.5, size).clip(0.3, 20)
    there = rng.random((3, size)) > 0.01
    frames = (seconds * 10).astype(np.int64) * there[1]
    write_stream(folder, "audio", "int16", (seconds * 16000).astype(np.int64) * there[0], None)
    write_stream(folder, "text", "int32", (seconds * 3).astype(np.int64) * there[2], None)
    write_stream(folder, "video", "uint8", frames, frames * 9000)
    with open(folder / "manifest.tsv", "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines(rows))
    write_targets(folder / "targets.json", TARGETS)
    (folder / "dict.txt").write_text("".join(f"w{word} 1\n" for word in range(WORDS)))
    order, ends = rng.permutation(size), np.array([0.96, 0.98, 1.0]) * size
    (folder / "splits/official/1").mkdir(parents=True)
    for name, part in zip(("train", "valid", "test"), np.split(order, ends[:2].astype(int)), strict=True):
        np.save(folder / f"splits/official/1/{name}.npy", np.sort(part))
    meta = {"format": 1, "sample_rate": 16000, "fps": 10.0, "frame_size": 112, "tokenizer": {}}
    meta |= {"protocols": [{"name": "official", "folds": ["1"]}], "streams": {"audio": {}, "text": {}, "video": {}}}
    write_lookup(folder, TARGETS, rows)
    complete(folder, meta | {"rows": size})
    return folder


def memory() -> dict[str, float]:
    """MB of this process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    names = {"rss": "VmRSS", "private": "RssAnon", "peak": "VmHWM"}
    return {name: int(status[key].split()[0]) / 1024 for name, key in names.items()}


def measure(folder: Path, batch_size: int) -> dict[str, float]:
    """What this process, which has done nothing else, needs to open a data-bin and to plan an epoch."""
    import torch
    from fairseq.data import data_utils  # noqa: F401  its compiled part
    from omegaconf import OmegaConf

    from mm_fairseq.models.ssl_fusion import SSLFusionConfig
    from mm_fairseq.tasks import EmotionPredictionTask
    from mm_fairseq.tasks._config import EmotionPredictionConfig

    torch.set_num_threads(1)
    small = {"audio_backbone": "mfcc:n_mfcc=8,n_mels=16", "text_backbone": "embedding:dim=8"}
    cfg = OmegaConf.structured(EmotionPredictionConfig(data=str(folder), modalities="audio,text"))
    task = EmotionPredictionTask.setup_task(cfg)
    model = OmegaConf.create({**vars(SSLFusionConfig()), **small, "encoder_attention_heads": 2, "_name": "ssl_fusion"})
    task.build_model(model)
    task.state.merge_state_dict({"modalities": ["audio", "text", "video"]})
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from here on
    before, clock = memory(), time.perf_counter()

    def lap() -> float:
        nonlocal clock
        begun, clock = clock, time.perf_counter()
        return clock - begun

    found = {}
    for split in ("train", "valid"):
        task.load_dataset(split)
    found["value"] = lap()
    batches = {"max_sentences": batch_size} if batch_size else {"max_tokens": 8000}
    iterator = task.get_batch_iterator(task.dataset("train"), **batches, seed=1, num_shards=RANKS, shard_id=RANK)
    own = iterator.next_epoch_itr(shuffle=True)
    found["planning_s"] = lap()
    after = memory()
    found |= {"batches": len(iterator.frozen_batches), "batches_of_rank": len(own)}
    found |= {"memory_mb": after["rss"] - before["rss"], "private_mb": after["private"] - before["private"]}
    found |= {"rss_mb": after["rss"], "peak_mb": after["peak"] - before["rss"]}
    lap()
    own = iterator = None
    iterator = task.get_batch_iterator(
        task.dataset("train"), **batches, seed=1, num_shards=RANKS, shard_id=RANK, epoch=2
    )
    iterator.next_epoch_itr(shuffle=True)
    found["second_epoch_s"] = lap()
    assert task.positives
    return found | {"positives_s": lap()}


def fresh(folder: Path, batch_size: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(folder), "--batch-size", str(batch_size)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[-1])


def growth(large: dict[str, float], small: dict[str, float], utterances: int) -> float:
    """Bytes an utterance."""
    return (large["memory_mb"] - small["memory_mb"]) * 2**20 / utterances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--utterances", type=int, default=1_000_000, help="of the data-bin (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=0, help="instead of --max-tokens 8000")
    parser.add_argument("--folder", help="where the data-bins are generated (default: a temporary folder)")
    parser.add_argument("--quick", action="store_true", help="40,000 utterances")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        sys.stdout.write(json.dumps(measure(args.measure, args.batch_size)) + "\n")
        return
    size = 40_000 if args.quick else args.utterances
    quarter = size // 4
    from calibration import scale

    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        begun = time.perf_counter()
        large, small = generate(Path(name) / "large", size), generate(Path(name) / "small", quarter)
        generated = time.perf_counter() - begun
        machine = scale(3 if args.quick else 7)
        found, less = fresh(large, args.batch_size), fresh(small, args.batch_size)
        worst = growth(fresh(large, 1), fresh(small, 1), size - quarter)
    figures = {
        "name": "open_million",
        "unit": "s",
        "utterances": size,
        **{key: round(value, 3) for key, value in found.items()},
        "growth": round(growth(found, less, size - quarter), 2),
        "worst_growth": round(worst, 2),
        "scale": round(machine, 3),
        "limits": LIMITS,
        "generated_s": round(generated, 1),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()

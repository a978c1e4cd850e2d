"""GB a CPU-second of `mm-fairseq verify` beside bare SHA-256 over the same files in the same process.

    python tests/bench/verify.py [--gb GB] [--steps N] [--folder DIR] [--quick]

A data-bin of random bytes: half sound (int16), a quarter packed frames (uint8), a quarter features of a backbone
(float16). Verified is all of it: checksums, indices, receipts, numbers that are not finite, frames, manifest, labels,
splits. `reference` reads the same files in blocks of 1 MiB into SHA-256 and does nothing else. Both run on one thread
and in turns, with the files in the page cache; `value` and `reference` are of CPU-seconds, which other programs disturb
little, `wall` and `two_workers` of seconds on the clock. The last line is JSON; its `ratio`, of the time verified to
the time of the reference, may not be above 1.3.
"""

import argparse
import hashlib
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from calibration import scale

from mm_fairseq.databin import CachedStream, ShardWriter, StreamReader, complete, pack_frames, write_lookup
from mm_fairseq.databin.streams import CHUNK
from mm_fairseq.databin.verify import verify
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.targets import Target, write_targets

LIMIT = 1.3
SHARD = 64
ITEM = 1 << 18  # bytes of an item of sound; the other two are half of that
FRAME = 1 << 13
TARGETS = [Target("emotion", "single", ("neutral", "happy"))]


def generate(folder: Path, size: float) -> Path:
    """A data-bin of about so many bytes."""
    rows = max(SHARD, round(size / (2 * ITEM) / SHARD) * SHARD)
    rng = np.random.default_rng(0)
    folder.mkdir()
    stream = CachedStream("audio", "made_up", {}, {}, None, (), "float16", 256)
    stream.write(folder)
    for shard in range(rows // SHARD):
        with ShardWriter(folder / "audio", shard, "int16") as sound:
            for _ in range(SHARD):
                sound.add(np.frombuffer(rng.bytes(ITEM), np.int16))
        with ShardWriter(folder / "video", shard, "uint8", own_lengths=True) as video:
            for _ in range(SHARD):
                frames = [rng.bytes(FRAME) for _ in range(ITEM // 2 // FRAME)]
                video.add(pack_frames(frames), len(frames))
        source = json.loads((folder / "audio" / f"shard-{shard:05d}.json").read_bytes())["sha256"]["bin"]
        with ShardWriter(folder / stream.name, shard, "float16", 256, notes={"source": source}) as features:
            for _ in range(SHARD):
                bits = np.frombuffer(rng.bytes(ITEM // 2), np.uint16) & 0xBFFF  # no exponent of all ones
                features.add(bits.view(np.float16).reshape(-1, 256))
    utterances = [Utterance(f"u{row:06d}", labels={"emotion": TARGETS[0].classes[row % 2]}) for row in range(rows)]
    Manifest(Path("/"), ["emotion"], utterances).write(folder / "manifest.tsv")
    write_targets(folder / "targets.json", TARGETS)
    (folder / "splits/official/1").mkdir(parents=True)
    np.save(folder / "splits/official/1/train.npy", np.arange(rows))
    for name in ("audio", "video", stream.name):
        StreamReader(folder / name, anew=True).index.write(folder / name)
    write_lookup(folder, TARGETS, utterances)
    meta: dict[str, Any] = {"format": 1, "rows": rows, "protocols": [{"name": "official", "folds": ["1"]}]}
    complete(folder, meta | {"streams": {"audio": {"dtype": "int16"}, "video": {"dtype": "uint8"}}})
    return folder


def bare(folder: Path) -> None:
    """SHA-256 of every file."""
    block = bytearray(CHUNK)
    view = memoryview(block)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest = hashlib.sha256()
            with open(path, "rb", buffering=0) as file:
                while count := file.readinto(block):
                    digest.update(view[:count])
            digest.hexdigest()


def seconds(step: Callable[[], Any]) -> tuple[float, float]:
    """Of CPU and on the clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    step()
    return time.process_time() - cpu, time.perf_counter() - wall


def measure(folder: Path, steps: int) -> dict[str, Any]:
    """GB a second, medians of `steps` runs in turns."""

    def verified(workers: int) -> None:
        assert not verify(folder, workers).faults

    runs: dict[str, Callable[[], Any]] = {
        "verify": lambda: verified(1),
        "reference": lambda: bare(folder),
        "two": lambda: verified(2),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    bare(folder)
    for _ in range(steps):
        for name, step in runs.items():
            found[name].append(seconds(step))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9
    cpu = {name: statistics.median(each[0] for each in times) for name, times in found.items()}
    wall = {name: min(each[1] for each in times) for name, times in found.items()}
    return {
        "value": round(size / cpu["verify"], 3),
        "reference": round(size / cpu["reference"], 3),
        "ratio": round(cpu["verify"] / cpu["reference"], 3),
        "limit": LIMIT,
        "wall": round(size / wall["verify"], 3),
        "two_workers": round(size / wall["two"], 3),
        "gb": round(size, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gb", type=float, default=2.0, help="size of the data-bin (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="runs measured (default: %(default)s)")
    parser.add_argument("--folder", help="where it is generated (default: a temporary folder)")
    parser.add_argument("--quick", action="store_true", help="0.3 GB, three runs")
    args = parser.parse_args()
    size, steps = (0.3, 3) if args.quick else (args.gb, args.steps)
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        figures = {
            "name": "verify",
            "unit": "GB/CPU-second",
            **measure(generate(Path(name) / "data-bin", size * 1e9), steps),
            "scale": round(scale(3), 3),
            "steps": steps,
            "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()

"""CPU-seconds an utterance of `mm-fairseq extract`, beside those of the encoder's bare forward over the same clips.

    python tests/bench/extract.py [DATA_BIN] [--pretrained DIR] [--steps N] [--quick]

Without a data-bin, a toy corpus is prepared and binarized in a temporary folder; the pretrained files are the toy ones.
The bare forward takes one clip at a time, unpadded and already in memory, in the same process and on one thread too.
Starting a process and reading the pretrained file are counted on neither side. The last line is JSON; no `ratio` may be
above 1.15.
"""

import argparse
import json
import logging
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mm_fairseq.cli import main as mm_fairseq
from mm_fairseq.databin import DataBin
from mm_fairseq.datasets import read_item
from mm_fairseq.models.ssl_fusion import SSLFusionConfig
from mm_fairseq.preprocessing.encoding import Encoding
from mm_fairseq.preprocessing.extract import Settings, plan, run
from mm_fairseq.toy import checkpoints

LIMIT = 1.15
FILES = {"audio": "wav2vec:{}/wav2vec/wav2vec.pt", "text": "roberta:{}/roberta", "video": "fabnet:{}/fabnet/fabnet.pt"}
SETTINGS = Settings(
    usual_frames={name: getattr(SSLFusionConfig, f"max_positions_{name[0]}") for name in FILES}, overwrite=True
)  # a stream that is there is removed before the clock starts


def toy_data_bin(folder: Path, pretrained: Path, utterances: int) -> Path:
    commands = [
        ["toy", "iemocap", folder / "raw", "--utterances", utterances],
        ["prepare", "iemocap", folder / "raw", folder / "prepared", "--accept-counts"],
        ["binarize", folder / "prepared", folder / "data-bin", "--tokenizer", f"gpt2:{pretrained}/roberta"],
    ]
    for command in commands:
        if mm_fairseq([str(word) for word in command]):
            raise SystemExit(f"{command[0]} failed")
    return folder / "data-bin"


def clips(encoding: Encoding) -> list[torch.Tensor]:
    """Every input of the stream by itself, (1, T, ...)."""
    reader, (bos, _, eos), modality = encoding.inputs.reader, encoding.inputs.symbols, encoding.stream.modality
    return [
        torch.from_numpy(read_item(modality, reader[row], length, bos, eos).copy())[None]
        for row, length in enumerate(encoding.lengths.tolist())
        if length
    ]


def bare(encoding: Encoding, items: list[torch.Tensor]) -> None:
    with torch.inference_mode():
        for item in items:
            encoding.encoder(item, torch.zeros(item.shape[:2], dtype=torch.bool))


def cpu_seconds(step: Callable[[], Any]) -> float:
    begun = time.process_time()
    step()
    return time.process_time() - begun


def measure(data_bin: Path, option: str, steps: int) -> dict[str, float]:
    """Medians of `steps` runs of both, in turns, after one of each that does not count."""
    (encoding,) = plan(DataBin(data_bin), [option], SETTINGS, torch.device("cpu"))
    items = clips(encoding)
    found: dict[str, list[float]] = {"value": [], "reference": []}
    for _ in range(steps + 1):
        shutil.rmtree(encoding.folder, ignore_errors=True)
        found["value"].append(cpu_seconds(lambda: run(encoding, SETTINGS, workers=1)))
        found["reference"].append(cpu_seconds(lambda: bare(encoding, items)))
    medians = {name: statistics.median(times[1:]) / len(items) for name, times in found.items()}
    return {**medians, "ratio": medians["value"] / medians["reference"], "utterances": len(items)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data_bin", nargs="?", type=Path, help="data-bin of all three modalities (default: a toy one)")
    parser.add_argument(
        "--pretrained", type=Path, help="folder of `mm-fairseq toy checkpoints` (default: written anew)"
    )
    parser.add_argument("--steps", type=int, default=7, help="runs measured (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="few utterances, few steps")
    args = parser.parse_args()
    steps = min(args.steps, 3) if args.quick else args.steps
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        pretrained = args.pretrained or Path(name) / "pretrained"
        if not args.pretrained:
            checkpoints.write(pretrained, seed=1)
        data_bin = args.data_bin or toy_data_bin(Path(name), pretrained, 24 if args.quick else 100)
        logging.disable(logging.INFO)
        each = {
            modality: measure(data_bin, f"{modality}={file.format(pretrained)}", steps)
            for modality, file in FILES.items()
        }
    total = {key: sum(found[key] for found in each.values()) for key in ("value", "reference")}
    figures = {
        "name": "extract",
        "value": total["value"],
        "unit": "CPU-seconds/utterance",
        "reference": total["reference"],
        "ratio": total["value"] / total["reference"],
        "limit": LIMIT,
        "peak_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "modalities": each,
        "steps": steps,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()

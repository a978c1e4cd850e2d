"""What files are tried on: utterances of a data-bin, recordings, and made inputs of drawn lengths.

T samples, tokens or frames; D width of features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...databin import DataBin, StreamReader
from ...datasets import Limits, input_lengths, pad, read_item
from ...errors import MMFairseqError
from ..clips import Clip
from ..model import EmotionModel
from .parts import Part, Port, Tensors

PAD = 1  # of texts, as fairseq's dictionaries number it
SPECIAL = 4  # symbols of a dictionary that no text has
_MADE_BY = {"audio": ("sample_rate",), "text": ("tokenizer",), "video": ("frame_size", "fps")}  # in meta.json
LONG = {"samples": 80000, "tokens": 64, "frames": 12, "features": 100}  # of what is made


@dataclass(frozen=True, eq=False)
class Sample:
    """What there is of an utterance.

    Args:
        id: of the utterance or file.
        items: modality to input: audio (T) float32; text (T) int64; video (T, 3, H, W) uint8; features (T, D) float32.
        real: it comes from a corpus or a recording.
    """

    id: str
    items: dict[str, np.ndarray]
    real: bool


def from_data_bin(model: EmotionModel, path: Path, split: str, count: int) -> list[Sample]:
    """Utterances spread evenly over a split, of the data-bin's first protocol and fold.

    Raises:
        MMFairseqError: it was made in another way than that of the training, or has no such split.
    """
    data_bin, meta = DataBin(path), model.state["meta"]
    for key in (key for name, keys in _MADE_BY.items() if name in model.modalities for key in keys):
        if data_bin.meta.get(key) != meta.get(key):
            told = f"{key} is {data_bin.meta.get(key)!r}, in that of the training {meta.get(key)!r}"
            raise MMFairseqError(f"{path}: {told}: the model would read it wrongly")
    rows = data_bin.split(data_bin.place(), split)[:]
    chosen = sorted({int(rows[round(at)]) for at in np.linspace(0, len(rows) - 1, min(count, len(rows)))})
    names = [name for name in model.modalities if name in data_bin.meta["streams"]]
    if not names:
        raise MMFairseqError(f"{path}: it has none of {', '.join(model.modalities)}")
    streams = {name: StreamReader(path / name) for name in names}
    return [Sample(data_bin.manifest.utterances[row].id, _items(model, streams, row), real=True) for row in chosen]


def _items(model: EmotionModel, streams: dict[str, StreamReader], row: int) -> dict[str, np.ndarray]:
    items = {}
    for name, stream in streams.items():
        stored = stream[row]
        limits = model.limits.get(name, Limits())
        length = int(limits.usable(input_lengths(name, stream.lengths_of(np.array([row])), stream.dim))[0])
        if length:
            items[name] = read_item(name, stored, length, *model.reader.symbols)
    return items


def from_clips(model: EmotionModel, paths: Sequence[Path]) -> list[Sample]:
    """Recordings, with pictures, sound or both."""
    found = [model.read(Clip(str(path), video=path)) for path in paths]
    return [Sample(each.id, each.items, real=True) for each in found]


def made(model: EmotionModel, ports: Sequence[Port], count: int, seed: int = 1) -> list[Sample]:
    """Noise of drawn lengths, the shortest and, where it is no more than `LONG`, the longest first."""
    random = np.random.default_rng(seed)
    symbols = len(model.state["dictionary"])
    samples = []
    for number in range(count):
        items = {}
        for port in ports:
            most = max(port.shortest, min(port.longest, LONG[port.unit]))
            length = int(random.integers(port.shortest, most + 1))
            items[port.name] = _noise(port, [port.shortest, most, length][min(number, 2)], symbols, random)
        samples.append(Sample(f"made {number + 1}", items, real=False))
    return samples


def _noise(port: Port, length: int, symbols: int, random: np.random.Generator) -> np.ndarray:
    shape = (length, *port.trailing)
    if port.unit == "samples":
        return (0.1 * random.standard_normal(shape)).clip(-1, 1).astype(np.float32)
    if port.unit == "tokens":
        return random.integers(min(SPECIAL, symbols - 1), symbols, shape).astype(np.int64)
    if port.unit == "frames":
        return random.integers(0, 256, shape).astype(np.uint8)
    return random.standard_normal(shape).astype(np.float32)


def cut(sample: Sample, ports: Sequence[Port], random: np.random.Generator) -> Sample:
    """The beginning of a sample, of a drawn length."""
    shortest = {port.name: port.shortest for port in ports}
    items = {
        name: item[: int(random.integers(min(shortest[name], len(item)), len(item) + 1))]
        for name, item in sample.items.items()
        if name in shortest
    }
    return Sample(f"{sample.id}, cut", items, sample.real)


@torch.no_grad()
def encoded(model: EmotionModel, sample: Sample) -> Sample:
    """The same as features, as its backbones give them."""
    batch = model.reader.collate([sample])  # type: ignore[list-item]
    found = model.model.backbones.encode(**batch)
    items = {name: found[name].x[0][~found[name].padding_mask[0]].float().numpy() for name in sample.items}
    return Sample(sample.id, {name: item for name, item in items.items() if len(item)}, sample.real)


def batch_of(part: Part, rows: Sequence[dict[str, np.ndarray]]) -> tuple[Tensors, Tensors]:
    """Inputs and padding masks of rows, as files take them: padded to their shortest length at least."""
    inputs, masks = {}, {}
    for port in part.ports:
        like = torch.empty(0, *port.trailing, dtype=port.dtype).numpy()
        room = np.zeros((port.shortest, *port.trailing), like.dtype)
        value = PAD if port.unit == "tokens" else 0
        items = [row.get(port.name) for row in rows]
        x, mask = pad([*items, room], value, like)
        inputs[port.name], masks[port.name] = x[: len(rows)], mask[: len(rows)]
    return inputs, masks

"""A small data-bin of made-up utterances whose label stands in every modality, for tests of the fairseq side."""

import json
import shutil
from pathlib import Path

import numpy as np

from mm_fairseq.databin import write_lookup
from mm_fairseq.databin.format import pack_frames
from mm_fairseq.databin.reader import StreamReader
from mm_fairseq.databin.writer import write_shard
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.media.faces import encode_jpeg
from mm_fairseq.targets import Target, read_targets, write_targets

CLASSES = ("neu", "sad", "ang", "hap")
SYMBOLS = 12
EVERY_KIND = (
    Target("emotion", "single", CLASSES, votes="emotion_votes"),
    Target("each", "binary_each", CLASSES, weight=0.5),
    Target("events", "multilabel", ("speech", "music", "noise")),
    Target("sentiment", "regression", weight=2.0),
)
COLUMNS = {  # of EVERY_KIND: the text for each class; every seventh utterance has no label, shifted by column
    "emotion": CLASSES,
    "each": CLASSES,
    "events": ("speech", "speech|music", "music|noise", "|"),
    "sentiment": ("-2", "-0.5", "0", "1.5"),
}
VOTES = ("neu=3", "sad=2|neu=1", "ang=2|sad=1", "")


def write_data_bin(
    folder: Path,
    per_class: int = 6,
    seed: int = 0,
    missing: dict[str, set[int]] | None = None,
    frame_size: int = 256,
    every_kind: bool = False,
    folds: int = 1,
) -> Path:
    """Write `4 * per_class` utterances; every third is valid, every third test.

    Args:
        folder: the data-bin.
        per_class: utterances a class.
        seed: of everything random.
        missing: modality to the rows that lack it.
        frame_size: of the pictures.
        every_kind: not `emotion` alone but EVERY_KIND, with missing labels, votes and an attribute `style`.
        folds: of the protocol; fold k has every third utterance from the k-th on in valid, from the next on in test.
    """
    rng = np.random.default_rng(seed)
    missing = missing or {}
    rows, audio, text, video, frames = [], [], [], [], []
    for row in range(len(CLASSES) * per_class):
        label = row % len(CLASSES)
        seconds = rng.uniform(0.15, 0.4)
        time = np.arange(int(16000 * seconds)) / 16000
        wave = np.sin(2 * np.pi * (200 + 400 * label) * time) * 8000 + rng.normal(0, 200, time.size)
        tokens = rng.integers(8, 4 + SYMBOLS, rng.integers(2, 7))
        tokens[rng.integers(len(tokens))] = 4 + label
        count = int(rng.integers(1, 4))
        pictures = [np.full((frame_size, frame_size, 3), 40 + 60 * label, np.uint8) for _ in range(count)]
        keep = {name: row not in missing.get(name, set()) for name in ("audio", "text", "video")}
        audio.append(wave.astype(np.int16) if keep["audio"] else np.empty(0, np.int16))
        text.append(tokens.astype(np.int32) if keep["text"] else np.empty(0, np.int32))
        video.append(pack_frames([encode_jpeg(picture) for picture in pictures]) if keep["video"] else pack_frames([]))
        frames.append(count if keep["video"] else 0)
        labels = {"emotion": CLASSES[label]}
        if every_kind:
            labels = {
                name: "" if (row + shift) % 7 == 0 else texts[label]
                for shift, (name, texts) in enumerate(COLUMNS.items())
            }
            labels |= {"emotion_votes": VOTES[label], "style": ("scripted", "improvised")[row % 2]}
        rows.append(
            Utterance(
                f"utt{row:03d}",
                speaker=f"s{row % 3}",
                session=f"{row % 2}",
                text=f"Sentence {row % 8}!" if every_kind else "",
                labels=labels,
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_shard(folder / "audio", 0, audio, "int16")
    write_shard(folder / "text", 0, text, "int32")
    write_shard(folder / "video", 0, video, "uint8", lengths=frames)
    Manifest(Path("."), list(labels), rows).write(folder / "manifest.tsv")
    write_targets(folder / "targets.json", EVERY_KIND if every_kind else [Target("emotion", "single", CLASSES)])
    (folder / "dict.txt").write_text("".join(f"w{i} 1\n" for i in range(SYMBOLS)))
    order = np.arange(len(rows))
    for fold in range(1, folds + 1):
        splits = folder / "splits" / "official" / str(fold)
        splits.mkdir(parents=True)
        for name, part in {"train": order, "valid": order[fold % 3 :: 3], "test": order[(fold + 1) % 3 :: 3]}.items():
            np.save(splits / f"{name}.npy", part.astype(np.int64))
    meta = {
        "format": 1,
        "complete": True,
        "sample_rate": 16000,
        "fps": 5.0,
        "frame_size": frame_size,
        "tokenizer": {},
        "protocols": [{"name": "official", "folds": [str(fold) for fold in range(1, folds + 1)]}],
        "streams": {"audio": {}, "text": {}, "video": {}},
        "rows": len(rows),
    }
    (folder / "meta.json").write_text(json.dumps(meta))
    return look_up(folder)


def look_up(folder: Path) -> Path:
    """Write what rows, labels and items are found by, as `binarize` does at its end."""
    for name in ("audio", "text", "video"):
        StreamReader(folder / name, anew=True).index.write(folder / name)
    write_lookup(folder, read_targets(folder / "targets.json"), Manifest.read(folder / "manifest.tsv").utterances)
    return folder


def reshard(folder: Path, size: int) -> Path:
    """Write the raw streams of a data-bin anew, in shards of `size` utterances."""
    for name in ("audio", "text", "video"):
        reader = StreamReader(folder / name)
        items, lengths = [np.array(item) for item in reader], reader.lengths.tolist()
        shutil.rmtree(folder / name)
        for shard, start in enumerate(range(0, len(items), size)):
            part = slice(start, start + size)
            own = lengths[part] if name == "video" else None
            write_shard(folder / name, shard, items[part], reader.dtype.name, lengths=own)
    return look_up(folder)

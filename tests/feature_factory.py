"""Data-bins and corpora whose modalities are features that the corpus brings."""

import json
import shutil

import numpy as np

from mm_fairseq.databin.writer import write_shard
from mm_fairseq.manifest import Manifest


def to_features(folder, dims, lengths=(5, 1, 3, 2), empty=()):
    """Make streams of a data-bin features: item r of dim D has lengths[r % 4] frames, all of them r / 100."""
    rows = Manifest.read(folder / "manifest.tsv").utterances
    meta = json.loads((folder / "meta.json").read_text())
    for name, dim in dims.items():
        shutil.rmtree(folder / name, ignore_errors=True)
        items = [
            np.full((0 if row in empty else lengths[row % 4], dim), row / 100, np.float32) for row in range(len(rows))
        ]
        write_shard(folder / name, 0, items, "float32", dim)
        meta["streams"][name] = {"dtype": "float32", "dim": dim, "length": "frames"}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder

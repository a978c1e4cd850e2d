"""Features that came with the corpus go into batches as they are; lengths count in frames."""

import shutil

import numpy as np
import pytest
import torch
from databin_factory import write_data_bin
from feature_factory import to_features

from mm_fairseq.backbones import BackboneSet
from mm_fairseq.datasets import Limits, RawAudioTextVideoDataset
from mm_fairseq.manifest import Manifest
from mm_fairseq.targets import kind_of, read_targets

DIMS = {"audio": 4, "text": 3}
LENGTHS = (5, 1, 3, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Features of audio and text, pictures; row 2 lacks both kinds of features."""
    made = write_data_bin(tmp_path_factory.mktemp("features") / "data-bin", per_class=2, frame_size=32)
    return to_features(made, DIMS, LENGTHS, empty={2})


def dataset(folder, modalities=("audio", "text", "video"), limits=None):
    manifest = Manifest.read(folder / "manifest.tsv")
    kinds = {target.name: kind_of(target) for target in read_targets(folder / "targets.json")}
    rows = np.arange(len(manifest.utterances))
    return RawAudioTextVideoDataset(
        folder, "valid", rows, manifest.utterances, modalities, kinds, limits or {}, (0, 1, 2), False
    )


def test_a_batch_holds_the_features(folder):
    data = dataset(folder)
    batch = data.collater([data[row] for row in (3, 2, 0, 1)])["net_input"]
    for name, dim in DIMS.items():
        x, mask = batch["inputs"][name], batch["padding_masks"][name]
        assert x.shape == (4, 5, dim)
        assert x.dtype == torch.float32
        assert (~mask).sum(1).tolist() == [2, 0, 5, 1]  # no symbols around a text
        assert torch.equal(x[:, 0, 0], torch.tensor([0.03, 0, 0, 0.01]))
        assert (x[mask] == 0).all()
    assert batch["inputs"]["video"].dtype == torch.uint8


def test_frames_count_one_each_and_have_no_seconds(folder):
    data = dataset(folder, ("audio", "text"))
    assert data.sizes.tolist() == [5, 1, 1, 2, 5, 1, 3, 2]
    assert data.seconds(0) is None
    batch = data.collater([data[2]])["net_input"]
    assert batch["inputs"]["text"].shape == (1, 1, 3)
    assert batch["padding_masks"]["text"].all()


def test_limits_are_in_frames(folder, caplog):
    data = dataset(folder, ("audio",), {"audio": Limits(2, 3)})
    assert data.lengths["audio"][:].tolist() == [3, 0, 0, 2, 3, 0, 3, 2]
    assert "audio of 2 utterances, in frames, longer than 3, cut at the end: utt000 (5), utt004 (5)" in caplog.text
    assert data[0]["audio"].shape == (3, 4)


def test_the_backbone_hands_them_on(folder):
    data = dataset(folder, tuple(DIMS))
    batch = data.collater([data[row] for row in range(4)])["net_input"]
    entries = {name: {"name": "features", "args": {"dim": dim}, "frozen": False} for name, dim in DIMS.items()}
    backbones = BackboneSet(entries)
    out = backbones(batch["inputs"], batch["padding_masks"])
    assert backbones.dims == DIMS
    for name in DIMS:
        assert torch.equal(out[name].x, batch["inputs"][name])
        assert torch.equal(out[name].padding_mask, batch["padding_masks"][name])
        assert backbones.input_limits(name, 7) == (1, 7)
        assert backbones.encoders[name].rate_hz == 0


def test_nobody_has_any(folder, tmp_path):
    own = shutil.copytree(folder, tmp_path / "data-bin")
    data = dataset(to_features(own, {"audio": 6}, empty=range(8)), ("audio",))
    batch = data.collater([data[0], data[1]])["net_input"]
    assert batch["inputs"]["audio"].shape == (2, 1, 6)
    assert batch["padding_masks"]["audio"].all()

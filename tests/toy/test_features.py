"""The toy features: the forms of MulT and MMSA, the same bytes each time, labels that the features tell."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import features as toy


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy") / "features"
    toy.write(out, 200, seed=3)
    return {path.stem: pd.read_pickle(path) for path in out.iterdir()}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        toy.write(tmp_path / name, 30, seed)
    sums = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / name).iterdir()}
        for name in "abc"
    ]
    assert sums[0] == sums[1]
    assert not set(sums[0].values()) & set(sums[2].values())


def test_forms(files):
    assert sorted(files) == ["mmsa_aligned", "mmsa_unaligned", "mult_aligned", "mult_iemocap", "mult_unaligned"]
    for name, content in files.items():
        assert list(content) == ["train", "valid", "test"]
        assert [len(part["audio"]) for part in content.values()] == [120, 40, 40]
        lengths = {part[key].shape[1] for part in content.values() for key in toy.WIDTHS}
        assert (len(lengths) == 1) == name.endswith("_aligned")
    assert files["mult_unaligned"]["train"]["labels"].shape == (120, 1, 1)
    assert files["mult_iemocap"]["train"]["labels"].shape == (120, 4, 2)
    assert "id" not in files["mult_iemocap"]["train"]
    part = files["mmsa_unaligned"]["valid"]
    assert part["text_bert"].shape == (40, 3, 12)
    assert part["text_bert"][:, 1].sum(1).tolist() == [int(x.any(1).nonzero()[0].max()) + 1 for x in part["text"]]
    assert all(isinstance(text, str) for text in part["raw_text"])
    assert "audio_lengths" not in files["mmsa_aligned"]["valid"]


def test_padding_stands_where_the_real_files_have_it(files):
    front = files["mult_aligned"]["train"]["text"]
    behind = files["mult_unaligned"]["train"]["text"]
    assert front[:, -1].any(1).all()
    assert not front[:, 0].any(1).all()
    assert behind[:, 0].any(1).all()
    assert not behind[:, -1].any(1).all()
    assert np.isneginf(files["mult_unaligned"]["train"]["audio"]).sum() == 18


def test_each_modality_tells_its_part_of_the_label(files):
    """Least squares on the sums over time: three modalities do better than two, and those than one of them."""

    def score(keys):
        sums = {
            split: np.hstack([np.nan_to_num(files["mult_unaligned"][split][key], neginf=0).sum(1) for key in keys])
            for split in ("train", "test")
        }
        labels = {split: files["mult_unaligned"][split]["labels"].reshape(-1) for split in sums}
        weights = np.linalg.lstsq(sums["train"], labels["train"], rcond=None)[0]
        return np.corrcoef(sums["test"] @ weights, labels["test"])[0, 1]

    keys = list(toy.WIDTHS)
    one, three = {key: score([key]) for key in keys}, score(keys)
    assert min(one.values()) > 0.25
    for left in keys:
        others = [key for key in keys if key != left]
        assert max(one[key] for key in others) < score(others) < three
    assert three > 0.75


@pytest.mark.parametrize(("count", "seed", "reason"), [(29, 1, "at least 30"), (30, -1, "--seed -1")])
def test_a_number_that_is_not_possible(tmp_path, count, seed, reason):
    with pytest.raises(MMFairseqError, match=reason):
        toy.write(tmp_path / "a", count, seed)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.pkl").touch()
    with pytest.raises(MMFairseqError, match="holds other files already"):
        toy.write(tmp_path / "a", 30, 1)

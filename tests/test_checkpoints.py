"""Files of checkpoints: what is written beside them, what is found wrong with them, what is gone on from."""

import hashlib
import random
import shutil

import pytest
import torch

from mm_fairseq import checkpoints


def state(updates=1, **more):
    weights = {"weight": torch.arange(24.0).reshape(4, 6) + updates, "steps": torch.tensor(updates)}
    return {"model": weights, "optimizer_history": [{"num_updates": updates}], "extra_state": {}, **more}


@pytest.fixture
def saved(tmp_path):
    checkpoints.save(state(), tmp_path / "checkpoint_last.pt")
    return tmp_path / "checkpoint_last.pt"


def test_the_checksum_beside_it_is_that_of_sha256sum(saved):
    digest = hashlib.sha256(saved.read_bytes()).hexdigest()
    assert checkpoints.sum_file(saved).read_text() == f"{digest}  checkpoint_last.pt\n"
    assert sorted(path.name for path in saved.parent.iterdir()) == ["checkpoint_last.pt", "checkpoint_last.pt.sha256"]
    assert torch.load(saved, weights_only=True)["model"]["weight"].equal(state()["model"]["weight"])
    assert checkpoints.check(saved) == []


def test_a_copy_is_a_file_of_its_own(saved):
    other = saved.with_name("checkpoint_best.pt")
    checkpoints.copy(saved, other)
    saved.write_bytes(b"")
    assert checkpoints.check(other) == []
    assert "empty" in checkpoints.check(saved)[0]


def test_every_flipped_bit_and_every_cut_is_found(saved):
    whole, draw = saved.read_bytes(), random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        saved.write_bytes(data)
        assert checkpoints.check(saved)
        saved.write_bytes(whole[: draw.randrange(len(whole))])
        assert checkpoints.check(saved)
        assert checkpoints.damage(saved)


def test_without_a_checksum_beside_it_those_within_count(saved):
    whole, draw = saved.read_bytes(), random.Random(0)
    checkpoints.sum_file(saved).unlink()
    assert checkpoints.check(saved) == []
    content = torch.load(saved, weights_only=True)["model"]["weight"].numpy().tobytes()
    for _ in range(100):
        data = bytearray(whole)
        data[whole.index(content) + draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        saved.write_bytes(data)
        assert "does not have its checksum" in checkpoints.check(saved)[0]


def test_a_file_that_somebody_put_in_its_place_is_usable_but_told(saved, tmp_path):
    checkpoints.save(state(2), tmp_path / "other.pt")
    shutil.copyfile(tmp_path / "other.pt", saved)
    assert checkpoints.damage(saved) == ""
    assert "not the file that checkpoint_last.pt.sha256 was written for" in checkpoints.check(saved)[0]


def test_weights_that_are_no_numbers_and_files_that_are_none(saved, tmp_path):
    bad = state()
    bad["model"]["weight"][1, 2] = float("nan")
    checkpoints.save(bad, saved)
    assert checkpoints.check(saved) == [f"{saved}: weights that are not finite numbers: weight"]
    assert checkpoints.check(tmp_path / "gone.pt") == [f"{tmp_path / 'gone.pt'}: no such file"]
    saved.write_bytes(b"text")
    assert "first bytes" in checkpoints.check(saved)[0]
    checkpoints.save([1, 2], saved)
    assert "expected a dictionary" in checkpoints.check(saved)[0]

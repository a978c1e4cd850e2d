"""Files of checkpoints: what is written beside them, what is found wrong with them, what is gone on from."""

import errno
import hashlib
import random
import shutil
from pathlib import Path

import pytest
import torch

from mm_fairseq import checkpoints
from mm_fairseq.errors import MMFairseqError


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
    assert other.read_bytes() == saved.read_bytes()
    assert (
        checkpoints.sum_file(other).read_text() == f"{hashlib.sha256(saved.read_bytes()).hexdigest()}  {other.name}\n"
    )
    saved.write_bytes(b"")
    assert checkpoints.check(other) == []
    assert "empty" in checkpoints.check(saved)[0]


def test_every_flipped_bit_and_every_cut_is_found(saved):
    whole, draw = saved.read_bytes(), random.Random(0)
    for _ in range(150):
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


def test_a_file_that_somebody_put_in_its_place_is_usable_but_told(saved, tmp_path, caplog):
    checkpoints.save(state(2), tmp_path / "other.pt")
    shutil.copyfile(tmp_path / "other.pt", saved)
    assert checkpoints.newest(saved).path == saved
    assert "not the file that checkpoint_last.pt.sha256 was written for, but whole" in caplog.text
    assert "not the file that checkpoint_last.pt.sha256 was written for" in checkpoints.check(saved)[0]


FLOAT8 = ("float8_e4m3fn", "float8_e5m2")


def test_weights_that_are_no_numbers_and_files_that_are_none(saved, tmp_path):
    for wrong in (float("nan"), float("inf"), float("-inf")):
        bad = state()
        bad["model"] |= {
            "half": torch.full((3,), wrong).half(),
            "none": torch.empty(0),
            "same": torch.ones(2).bfloat16(),
        }
        bad["model"]["weight"][1, 2] = wrong
        checkpoints.save(bad, saved)
        assert checkpoints.check(saved) == [f"{saved}: weights that are not finite numbers: weight, half"]
    small = {f"{form}": torch.tensor([1.0, float("nan")]).to(getattr(torch, form)) for form in FLOAT8}
    checkpoints.save(state() | {"model": {"w": torch.ones(2).to(torch.float8_e5m2), **small}}, saved)
    assert checkpoints.check(saved) == [f"{saved}: weights that are not finite numbers: {', '.join(FLOAT8)}"]
    assert checkpoints.check(tmp_path / "gone.pt") == [f"{tmp_path / 'gone.pt'}: no such file"]
    saved.write_bytes(b"text")
    assert "first bytes" in checkpoints.check(saved)[0]
    checkpoints.save([1, 2], saved)
    assert "expected a dictionary" in checkpoints.check(saved)[0]


def folder_of(folder, **saved):
    """Checkpoints by name, each with its number of updates."""
    for name, updates in saved.items():
        checkpoints.save(state(updates), folder / f"{name}.pt")
    return folder / "checkpoint_last.pt"


def test_the_newest_is_the_one_of_most_updates(tmp_path):
    last = folder_of(tmp_path, checkpoint_last=9, checkpoint_best=3, checkpoint2=6, checkpoint_3_8=8, other=99)
    assert checkpoints.newest(last) == (last, {})
    last.write_bytes(last.read_bytes()[:500])
    found = checkpoints.newest(last)
    assert found.path == tmp_path / "checkpoint_3_8.pt"
    assert found.skipped.keys() == {"checkpoint_last.pt"}
    content = bytearray((tmp_path / "checkpoint_3_8.pt").read_bytes())
    content[content.index(state(8)["model"]["weight"].numpy().tobytes())] ^= 1  # of a weight: torch does not notice
    (tmp_path / "checkpoint_3_8.pt").write_bytes(content)
    (tmp_path / "checkpoint2.pt").write_bytes(b"")
    found = checkpoints.newest(last)
    assert found.path == tmp_path / "checkpoint_best.pt"
    assert found.skipped.keys() == {"checkpoint_last.pt", "checkpoint_3_8.pt", "checkpoint2.pt"}
    (tmp_path / "checkpoint_best.pt").unlink()
    assert checkpoints.newest(last).path is None
    last.unlink()
    assert checkpoints.newest(last) == (None, {})


def test_what_is_no_state_of_a_training_is_not_gone_on_from(tmp_path):
    last = folder_of(tmp_path, checkpoint_last=2)
    checkpoints.save({"model": {}}, tmp_path / "checkpoint_best.pt")
    last.write_bytes(b"PK")
    found = checkpoints.newest(last)
    assert found.path is None
    assert "not the state of a training" in found.skipped["checkpoint_best.pt"]


def test_either_checksum_is_right_while_a_checkpoint_is_replaced(tmp_path, monkeypatch):
    """Killed before or after the rename, what is there is whole."""
    last = folder_of(tmp_path, checkpoint_last=1)
    before = last.read_bytes()
    written = []
    monkeypatch.setattr(checkpoints, "_write_sums", lambda path, digests: written.append(digests))
    checkpoints.save(state(2), last)
    assert [len(digests) for digests in written] == [2, 1]
    for content in (before, last.read_bytes()):
        last.write_bytes(content)
        checkpoints.sum_file(last).write_text("".join(f"{digest}  {last.name}\n" for digest in written[0]))
        assert checkpoints.check(last) == []


def test_a_copy_of_what_is_gone_or_went_bad(saved, tmp_path):
    other = tmp_path / "checkpoint_best.pt"
    with pytest.raises(MMFairseqError, match=r"gone.pt: cannot be copied to .*best.pt: No such file"):
        checkpoints.copy(tmp_path / "gone.pt", other)
    beside = checkpoints.sum_file(saved)
    beside.write_text("0" * 64 + "  checkpoint_last.pt\n" + beside.read_text())
    checkpoints.copy(saved, other)
    assert checkpoints.check(other) == []
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    before = other.read_bytes()
    with pytest.raises(MMFairseqError, match=r"last.pt: not copied to .*best.pt: it does not have its checksum"):
        checkpoints.copy(saved, other)
    assert other.read_bytes() == before


def test_a_disk_that_has_no_place_for_the_checksum_alone(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint_last.pt"
    write_text = Path.write_text

    def full(place, *args, **kwargs):
        write_text(place, "", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(MMFairseqError, match=r"last.pt: saved, but not its checksum: No space left .* GB left$"):
        checkpoints.save(state(), path)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert checkpoints.check(path) == []
    monkeypatch.undo()
    checkpoints.save(state(), path)
    before = path.read_bytes()
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(MMFairseqError, match=r"last.pt: not saved: No space left .*; what was saved before is kept"):
        checkpoints.save(state(2), path)
    assert path.read_bytes() == before


def test_weights_by_themselves_are_not_the_checkpoint_of_a_training(tmp_path):
    path = tmp_path / "weights.pt"
    for content in (state()["model"], {"model": torch.ones(3)}):
        checkpoints.save(content, path)
        assert checkpoints.check(path) == [f"{path}: not the checkpoint of a training (no weights under `model`)"]


def test_a_damaged_checksum_does_not_cost_a_good_checkpoint(saved):
    checkpoints.sum_file(saved).write_text("0" * 64 + "  checkpoint_last.pt\n")
    assert checkpoints.newest(saved).path == saved
    assert checkpoints.check(saved) == [f"{saved}: not the file that checkpoint_last.pt.sha256 was written for"]


def test_what_killed_writers_left_goes_and_nothing_else(saved):
    folder = saved.parent
    gone = [".checkpoint_last.pt.tmp", ".checkpoint1.pt.sha256.tmp", "checkpoint1.pt.sha256"]
    kept = ["other.pt.sha256", ".other.tmp", "checkpoint_last.pt", "checkpoint_last.pt.sha256"]
    for name in (*gone, *kept[:2]):
        (folder / name).touch()
    checkpoints.tidy(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)


def test_what_is_set_aside_keeps_its_bytes(saved):
    content = saved.read_bytes()
    aside = checkpoints.set_aside(saved)
    assert aside.read_bytes() == content
    assert [path.name for path in saved.parent.iterdir()] == ["checkpoint_last.pt.damaged"]

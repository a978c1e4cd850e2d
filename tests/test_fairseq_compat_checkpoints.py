"""The repairs of fairseq's checkpoints, each by itself; killed and damaged trainings are in tests/reliability."""

import errno

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from mm_fairseq import checkpoints
from mm_fairseq.atomic import held
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.fairseq_compat import checkpoints as repairs


def test_a_copy_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    source, target = tmp_path / "checkpoint1.pt", tmp_path / "checkpoint_last.pt"
    checkpoints.save({"model": {}}, source)

    def half(old, new, *args):
        new.write(old.read(100))
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfileobj", half)
    for copy in (checkpoint_utils.PathManager.copy, PathManager.copy):
        target.write_bytes(b"old")
        monkeypatch.setattr("shutil.copyfile", lambda old, new: half(open(old, "rb"), open(new, "wb")))  # noqa: SIM115
        with pytest.raises(KeyboardInterrupt):
            copy(str(source), str(target), overwrite=True)
        assert (target.read_bytes() == b"old") == (copy is not PathManager.copy)  # fairseq's own spoils it


def test_a_folder_is_claimed_once_and_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr(repairs, "LOCK_WAIT", 0.1)
    other = tmp_path / ".other.tmp"
    with held(other), pytest.raises(MMFairseqError, match=r"^--save-dir x: another process is writing there"):
        repairs.claim(other, "--save-dir x")
    for _ in range(2):
        repairs.claim(other, "--save-dir x")
    assert other.is_file()
    repairs._release(repairs._claims.pop(other), owner=0)  # in a forked process
    assert other.is_file()


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch, caplog):
    def refuse(number):
        def held(*args):
            raise OSError(number, "told by the system")

        return held

    monkeypatch.setattr(repairs, "held", refuse(errno.ENOLCK))
    repairs.claim(tmp_path / ".a.tmp", "--save-dir x")
    assert "--save-dir x: this file system has no locks" in caplog.text
    monkeypatch.setattr(repairs, "held", refuse(errno.EACCES))
    with pytest.raises(MMFairseqError, match=r"--save-dir x: cannot be written \(told by the system\)"):
        repairs.claim(tmp_path / ".a.tmp", "--save-dir x")


def test_a_folder_that_cannot_be_written_is_an_error_of_the_option(tmp_path):
    checkpoint_utils.verify_checkpoint_directory(str(tmp_path / "new"))
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(MMFairseqError, match=r"--save-dir .*file: cannot be written"):
        checkpoint_utils.verify_checkpoint_directory(str(tmp_path / "file"))


def test_tensors_are_sent_in_their_order():
    sent = []
    broadcast = repairs._contiguous(lambda tensors, *args: sent.append(tensors))
    matrix = torch.arange(6.0).reshape(2, 3).t()
    broadcast([matrix], 0, None)
    broadcast(None, 0, None)
    assert sent[0][0].is_contiguous()
    assert sent[0][0].equal(matrix)
    assert sent[1] is None


def test_a_damaged_file_is_not_loaded(tmp_path):
    path = tmp_path / "model.pt"
    checkpoints.save({"model": {"weight": torch.ones(1000)}, "optimizer_history": [{}], "extra_state": {}}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(9).numpy().tobytes()) + 70] ^= 4
    path.write_bytes(content)
    assert not torch.load(path, weights_only=True)["model"]["weight"].eq(1).all()  # torch takes it
    with pytest.raises(MMFairseqError, match=r"model.pt: a damaged checkpoint: .* in it does not have its checksum"):
        checkpoint_utils.load_checkpoint_to_cpu(str(path))

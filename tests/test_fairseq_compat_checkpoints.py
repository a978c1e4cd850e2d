"""The repairs of fairseq's checkpoints, each by itself; killed and damaged trainings are in tests/reliability."""

import dataclasses
import errno
import os
from types import SimpleNamespace

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.dataclass.configs import CheckpointConfig
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
        repairs.claim(tmp_path / ".b.tmp", "--save-dir x")


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


@pytest.fixture
def loaded(monkeypatch):
    """Calls the repaired `load_checkpoint`; returns what fairseq's is given and how long --patience has waited."""

    def load(folder, state=None, suffix="", **options):
        stop = SimpleNamespace()
        monkeypatch.setattr(repairs, "_should_stop_early", lambda: stop)
        seen = []
        original = lambda cfg, trainer: seen.append(cfg) or (state, None)  # noqa: E731
        cfg = dataclasses.replace(CheckpointConfig(), save_dir=str(folder), checkpoint_suffix=suffix, **options)
        repairs._of_newest(original)(cfg, SimpleNamespace(checkpoint_suffix=suffix))
        return seen[0], vars(stop)

    return load


def training(updates):
    return {"model": {}, "optimizer_history": [{"num_updates": updates}], "extra_state": {}}


WAITED = {"early_stopping": {"best": 0.5, "epochs": 2}}


def test_patience_goes_on_where_a_training_is_resumed_and_only_there(tmp_path, loaded):
    goes_on = {"best": 0.5, "num_runs": 2}
    assert loaded(tmp_path, WAITED, restore_file="other.pt")[1] == goes_on
    for more in ({"reset_meters": True}, {"reset_optimizer": True}):
        assert loaded(tmp_path, WAITED, restore_file="other.pt", **more)[1] == {}
    assert loaded(tmp_path, WAITED, finetune_from_model="other.pt")[1] == {}
    checkpoints.save(training(3), tmp_path / "checkpoint_last.pt")
    assert loaded(tmp_path, WAITED, finetune_from_model="other.pt")[1] == goes_on
    checkpoints.save(training(2), tmp_path / "checkpoint_best.pt")
    os.truncate(tmp_path / "checkpoint_last.pt", 100)
    assert loaded(tmp_path, WAITED, finetune_from_model="other.pt")[1] == goes_on


@pytest.mark.parametrize("waited", [None, 3, [1.0, 2], {}, {"best": "x", "epochs": 2}, {"best": 0.5, "epochs": None}])
def test_what_a_stranger_wrote_of_patience_is_left_alone(tmp_path, loaded, waited):
    assert loaded(tmp_path, {"early_stopping": waited}, restore_file="other.pt")[1] == {}
    assert loaded(tmp_path, None)[1] == {}


def test_a_suffix_keeps_trainings_apart(tmp_path, loaded):
    """What is whole is found among those of the suffix; the others are not looked at."""
    for name, updates in {"last": 9, "best": 8, "last_x": 7, "best_x": 5, "1_6_x": 6, "1_7": 7}.items():
        checkpoints.save(training(updates), tmp_path / f"checkpoint_{name}.pt")
    os.truncate(tmp_path / "checkpoint_last.pt", 100)
    assert loaded(tmp_path, suffix="_x")[0].restore_file == "checkpoint_last.pt"
    os.truncate(tmp_path / "checkpoint_last_x.pt", 100)
    cfg = loaded(tmp_path, suffix="_x")[0]
    assert cfg.restore_file.replace(".pt", "_x.pt") == str(tmp_path / "checkpoint_1_6_x.pt")  # as fairseq does
    assert loaded(tmp_path)[0].restore_file == str(tmp_path / "checkpoint_best.pt")
    assert len(list(tmp_path.glob("*.pt"))) == 6
    (tmp_path / "a.pt").mkdir()
    with pytest.raises(MMFairseqError, match="fairseq does not find it by --checkpoint-suffix"):
        repairs._as_option(tmp_path / "a.pt" / "checkpoint_best_x.pt", "_x")


def test_only_who_holds_the_folder_renames(tmp_path, loaded):
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(b"PK")
    with pytest.raises(MMFairseqError, match="none is renamed where this training does not write"):
        loaded(tmp_path, no_save=True)
    assert last.is_file()
    repairs.claim_training(tmp_path)
    loaded(tmp_path)
    assert not last.exists()


def test_an_error_of_the_first_rank_reaches_the_others(tmp_path, monkeypatch):
    sent = []
    monkeypatch.setattr(repairs.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(repairs.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(repairs.dist, "get_rank", lambda: 0)
    monkeypatch.setattr(repairs.dist, "broadcast_object_list", lambda found, src: sent.append(found))
    last = tmp_path / "checkpoint_last.pt"
    last.write_bytes(b"PK")
    with pytest.raises(MMFairseqError, match="no checkpoint is whole"):
        repairs.resumed_from(last)
    monkeypatch.setattr(repairs.dist, "get_rank", lambda: 1)
    monkeypatch.setattr(repairs.dist, "broadcast_object_list", lambda found, src: found.__setitem__(1, sent[0][1]))
    with pytest.raises(MMFairseqError, match="no checkpoint is whole"):
        repairs.resumed_from(last)


def test_after_a_save_what_another_rank_writes_stays(tmp_path):
    """With sharded state each rank saves; the first one done must not remove what the others are at."""
    for name in (".checkpoint_last-shard1.pt.tmp", "checkpoint1.pt.sha256"):
        (tmp_path / name).touch()
    cfg = SimpleNamespace(no_save=False, save_dir=str(tmp_path))
    repairs._without_old_sums(lambda *args: None)(cfg, SimpleNamespace(is_data_parallel_master=True), None, None)
    assert [path.name for path in tmp_path.iterdir()] == [".checkpoint_last-shard1.pt.tmp"]
    repairs.claim_training(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [repairs.CLAIM]


def test_what_asynchronous_writing_lacks_is_told_once(tmp_path, caplog):
    written = []
    save = repairs._save(lambda *args: written.append(args))
    repairs._tell_of_async.cache_clear()
    for _ in range(2):
        save({}, str(tmp_path / "checkpoint1.pt"), async_write=True)
    assert len(written) == 2
    (told,) = caplog.messages
    assert told.startswith("--write-checkpoints-asynchronously: ")
    assert "a kill may leave one cut short" in told

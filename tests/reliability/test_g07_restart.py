"""G7: a restart always works. `checkpoint_last.pt` appears whole or not at all; a damaged one is told and passed over.

What goes on from an older checkpoint ends where the training would have ended without the damage, bit for bit.
"""

import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from commands import EXAMPLES, USER_DIR
from commands import run as run_command
from forked import TASK, TRAIN, Command
from killing import KilledWhileSaving

from mm_fairseq import checkpoints
from mm_fairseq.atomic import hidden
from mm_fairseq.fairseq_compat.checkpoints import CLAIM, resumed_from

SMALL = ["--arch", "ssl_fusion", "--modalities", "text", "--encoder-layers", 1, "--embed-dim", 16]
SMALL += ["--encoder-ffn-embed-dim", 32, "--batch-size", 8]
SAVING = ["--save-interval-updates", 1, "--keep-interval-updates", 2, "--keep-last-epochs", 1]
LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"


def train(data_bin, folder, *more, epochs=3, **around):
    """Start a training of 3 updates an epoch."""
    return Command(
        "fairseq-train", data_bin, *TRAIN, *SMALL, "--save-dir", folder, "--max-epoch", epochs, *more, **around
    )


@pytest.fixture(scope="module")
def whole(data_bin, tmp_path_factory):
    """Folder of a training that nothing has disturbed. Not to be written to."""
    folder = tmp_path_factory.mktemp("whole")
    train(data_bin, folder).finish()
    return folder


@pytest.fixture(scope="module")
def begun(data_bin, tmp_path_factory):
    """Folder of the same training after two of its three epochs. Not to be written to."""
    folder = tmp_path_factory.mktemp("begun")
    train(data_bin, folder, epochs=2).finish()
    return folder


def weights(path):
    state = torch.load(path, weights_only=True)
    return {**state["model"], **{str(k): v["exp_avg_sq"] for k, v in state["last_optimizer_state"]["state"].items()}}


def same(path, other):
    one, two = weights(path), weights(other)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def clean(folder):
    """Whether nothing but whole files is in the folder of a training."""
    files = [path for path in folder.iterdir() if path.suffix != checkpoints.SUM]
    assert sorted(folder.glob(".*")) == []
    assert sorted(folder.glob(f"*{checkpoints.SUM}")) == sorted(map(checkpoints.sum_file, files))
    return [fault for path in files for fault in checkpoints.check(path)] == []


def damages(content, seed):
    """Without end: what may become of a file, `(name, bytes)`."""
    draw = random.Random(seed)
    size = len(content)
    for number in itertools.count():
        place = draw.randrange(size)
        end = min(size, place + draw.choice([1, 512, 4096, size]))
        flipped = bytearray(content)
        flipped[place] ^= 1 << draw.randrange(8)
        yield (
            ("cut", content[:place]),
            ("flipped", bytes(flipped)),
            ("zeros", content[:place] + bytes(end - place) + content[end:]),
            ("noise", content[:place] + draw.randbytes(end - place) + content[end:]),
            ("empty", b""),
            ("beginning lost", content[place + 1 :]),
        )[number % 6]


def restarts(data_bin, whole, begun, tmp_path, several):
    """Restart side by side, after damage; each ends as the undisturbed one."""
    for number, group in enumerate(several):
        folders = []
        for count, damage in enumerate(group):
            folder = tmp_path / f"{number}-{count}"
            shutil.copytree(begun, folder)
            damage(folder)
            folders.append((folder, train(data_bin, folder)))
        for folder, command in folders:
            log = command.finish()
            assert "done training" in log
            assert same(folder / LAST, whole / LAST)
            assert clean(folder)
            yield log
            shutil.rmtree(folder)


def with_content(content):
    def damage(folder):
        (folder / LAST).write_bytes(content)

    return damage


def in_pairs(damages):
    damages = list(damages)
    return [damages[place : place + 2] for place in range(0, len(damages), 2)]


def test_what_is_gone_on_from_is_whole(begun, tmp_path, caplog):
    """60 damaged files: the checkpoint that is taken has the bits of one that was saved."""
    last = tmp_path / "begun" / LAST
    content = (begun / LAST).read_bytes()
    for name, damaged in itertools.islice(damages(content, 1), 60):
        shutil.rmtree(last.parent, ignore_errors=True)
        shutil.copytree(begun, last.parent)
        last.write_bytes(damaged)
        caplog.clear()
        chosen = resumed_from(last)
        assert same(chosen, begun / chosen.name), name
        assert (chosen == last) == (not caplog.messages)
        if chosen != last:
            assert "checkpoint_last.pt: " in caplog.messages[0]
            assert chosen.name in (BEST, "checkpoint2.pt")


def test_damaged_then_restarted(data_bin, whole, begun, tmp_path):
    content = (begun / LAST).read_bytes()
    damaged = itertools.islice(damages(content, 2), 2)
    for log in restarts(data_bin, whole, begun, tmp_path, in_pairs(with_content(each) for _, each in damaged)):
        assert "the newest that is whole; checkpoint_last.pt: " in log


def test_the_next_ones_are_damaged_too(data_bin, whole, begun, tmp_path):
    """Two of three: the first epoch's is taken. All: the training begins anew, and the damaged one is kept."""

    def two(folder):
        for name in (LAST, BEST, "checkpoint2.pt"):
            os.truncate(folder / name, 1000)

    def all_of_them(folder):
        for path in folder.glob("*.pt"):
            path.write_bytes(path.read_bytes()[:-1])

    folder = tmp_path / "anew"
    shutil.copytree(begun, folder)
    all_of_them(folder)
    anew = train(data_bin, folder)
    (log,) = restarts(data_bin, whole, begun, tmp_path, [[two]])
    assert "going on from checkpoint1.pt" in log
    assert "checkpoint2.pt: " in log
    assert "no checkpoint is whole, training begins anew" in anew.finish()
    assert same(folder / LAST, whole / LAST)
    assert (folder / "checkpoint_last.pt.damaged").is_file()


@pytest.mark.slow
def test_a_suffix_has_checkpoints_of_its_own(data_bin, whole, begun, tmp_path):
    """Those of another training in the same folder are left as they are, damaged ones too."""
    folder = tmp_path / "shared"
    shutil.copytree(begun, folder)
    os.truncate(folder / LAST, 1000)
    train(data_bin, folder, "--checkpoint-suffix", "_x", epochs=2).finish()
    os.truncate(folder / "checkpoint_last_x.pt", 1000)
    log = train(data_bin, folder, "--checkpoint-suffix", "_x").finish()
    assert "the newest that is whole; checkpoint_last_x.pt: " in log
    assert f"Loaded checkpoint {folder}/checkpoint" in log
    assert same(folder / "checkpoint_last_x.pt", whole / LAST)
    assert (folder / LAST).stat().st_size == 1000
    assert same(folder / BEST, begun / BEST)


def killed_while_saving(data_bin, folder, seed, number=signal.SIGKILL):
    """Run a training that saves after each update, killed in the middle of some file. Returns which."""
    command = train(data_bin, folder, *SAVING, before=KilledWhileSaving(seed, number))
    command.finish(fails=True)
    assert [process.exitcode for process in command.processes] == [-number]
    return [path.name for path in folder.glob(".checkpoint*.tmp")]


def check_kills(data_bin, whole, tmp_path, seeds, number=signal.SIGKILL):
    for seed in seeds:
        folder = tmp_path / str(seed)
        at = killed_while_saving(data_bin, folder, seed, number)
        for path in folder.glob("*.pt"):
            assert checkpoints.check(path) == [], at
        log = train(data_bin, folder, *SAVING).finish()
        assert "newest that is whole" not in log
        assert clean(folder)
        assert same(folder / LAST, whole / LAST), at


def test_killed_while_saving_then_restarted(data_bin, whole, tmp_path):
    check_kills(data_bin, whole, tmp_path, [0, 1])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sixty_damaged_sixty_restarts(data_bin, whole, begun, tmp_path):
    content = (begun / LAST).read_bytes()
    damaged = itertools.islice(damages(content, 3), 60)
    logs = list(restarts(data_bin, whole, begun, tmp_path, in_pairs(with_content(each) for _, each in damaged)))
    assert len(logs) == 60


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_thirty_kills_while_saving(data_bin, whole, tmp_path, number):
    check_kills(data_bin, whole, tmp_path, range(30), number)


def test_many_kills_while_saving(tmp_path):
    """30 kills of a process that does nothing but save: each leaves a whole checkpoint, the last or the one before."""
    program = Path(__file__).with_name("save_again_and_again.py")
    last, draw, begin = tmp_path / LAST, random.Random(0), time.monotonic()
    nothing = {"model": {"weight": torch.zeros(50_000)}, "optimizer_history": [{"num_updates": 0}]}
    checkpoints.save(nothing, last)
    once = min(0.1, time.monotonic() - begin)  # or more, where the machine held it up
    with subprocess.Popen([sys.executable, program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        for _ in range(30):
            server.stdin.write(b"\n")
            server.stdin.flush()
            before, process = last.stat().st_ino, int(server.stdout.readline())
            while last.stat().st_ino == before:  # however busy the machine is, something is saved
                time.sleep(once / 10)
            time.sleep(draw.uniform(0, 3 * once))
            os.kill(process, signal.SIGKILL)
            server.stdout.readline()
            assert checkpoints.check(last) == []
            assert resumed_from(last) == last
            state = torch.load(last, weights_only=True)
            assert set(state["model"]["weight"].tolist()) == {float(checkpoints.updates(last))}
            checkpoints.tidy(tmp_path)
            assert not list(tmp_path.glob(".*"))
        server.stdin.close()
    assert checkpoints.updates(last) >= 30


def full(rank):
    """No file may be larger than 100 kB; a checkpoint is."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


def test_a_full_disk_leaves_the_old_one(data_bin, whole, begun, tmp_path):
    folder = tmp_path / "full"
    shutil.copytree(begun, folder)
    log = train(data_bin, folder, before=full).finish(fails=True)
    assert "checkpoint3.pt: not saved: File too large; the disk of" in log.splitlines()[-1]
    assert same(folder / LAST, begun / LAST)
    assert clean(folder)
    train(data_bin, folder).finish()
    assert same(folder / LAST, whole / LAST)


def impatient(rank):
    from mm_fairseq.fairseq_compat import checkpoints as ours

    ours.LOCK_WAIT = 0.1


def test_a_second_training_is_told_of_the_first(data_bin, whole, tmp_path):
    """The first one goes on, of two processes; one that was killed holds nobody up."""
    folder = tmp_path / "twice"
    first = train(data_bin, folder, epochs=1_000_000, processes=2)
    while not (folder / LAST).is_file():
        assert first.lives, first.log[-2000:]
        time.sleep(0.02)
    log = train(data_bin, folder, before=impatient).finish(fails=True)
    assert f"error: --save-dir {folder}: another process is writing there" in log
    assert first.lives
    assert (folder / CLAIM).is_file()
    first.kill()
    shutil.rmtree(folder)
    folder.mkdir()
    for left in (CLAIM, hidden(folder / LAST).name):
        (folder / left).touch()
    train(data_bin, folder, before=impatient).finish()
    assert same(folder / LAST, whole / LAST)
    assert clean(folder)


def validate(data_bin, path, *more, **around):
    words = [data_bin, *TASK, "--path", path, "--batch-size", 8, "--valid-subset", "test", "--num-workers", 0, *more]
    return Command("fairseq-validate", *words, **around)


def test_validation_of_a_damaged_file_and_a_second_one(data_bin, begun, tmp_path):
    path = tmp_path / "copy.pt"
    shutil.copyfile(begun / BEST, path)
    os.truncate(path, path.stat().st_size - 10)
    damaged = validate(data_bin, path)
    slow = validate(data_bin, begun / BEST, "--results-path", tmp_path, before=stopped_before_results)
    while not list(tmp_path.glob(".test.tmp")):
        assert slow.lives, slow.log[-2000:]
        time.sleep(0.02)
    log = validate(data_bin, begun / BEST, "--results-path", tmp_path, before=impatient).finish(fails=True)
    assert f"error: {tmp_path}: predictions of test: another process is writing there" in log
    slow.kill()
    assert f"error: {path}: a damaged checkpoint: cut short or overwritten" in damaged.finish(fails=True)
    assert not (tmp_path / "test").exists()
    validate(data_bin, begun / BEST, "--results-path", tmp_path).finish()
    assert sorted(file.name for file in (tmp_path / "test").iterdir()) == ["predictions.jsonl", "results.json"]
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_leaves_the_old_predictions(data_bin, begun, tmp_path):
    path = tmp_path / "test" / "predictions.jsonl"
    path.parent.mkdir()
    path.write_text("old")
    log = validate(data_bin, begun / BEST, "--results-path", tmp_path, before=fuller).finish(fails=True)
    assert log.splitlines()[-1] == f"error: {path}: predictions are not written: File too large"
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["predictions.jsonl"]


def fuller(rank):
    """No file may be larger than 1 kB from the first prediction on."""
    from mm_fairseq.tasks import _results

    original = _results.write

    def write(*args):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        try:
            original(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    _results.write = write


def stopped_before_results(rank):
    from mm_fairseq.tasks import _results

    _results.write = lambda *args: signal.pause()


@pytest.mark.slow
def test_hydra_goes_the_same_way(data_bin, tmp_path):
    folder = tmp_path / "run"
    settings = {
        "common.user_dir": USER_DIR,
        "task.data": data_bin,
        "++task.modalities": "audio",
        "task.protocol": "official",
        "checkpoint.save_dir": folder,
        "model.audio_backbone": "mfcc",
        "model.text_backbone": "embedding",
        "dataset.batch_size": 6,
        "hydra.run.dir": tmp_path / "hydra",
    }
    config = ["--config-dir", EXAMPLES / "iemocap" / "config", "--config-name", "ssl_fusion"]
    words = [*config, *(f"{key}={value}" for key, value in settings.items())]
    run_command("fairseq-hydra-train", *words, "optimization.max_epoch=2")
    assert clean(folder)
    os.truncate(folder / LAST, 1000)
    log = run_command("fairseq-hydra-train", *words, "optimization.max_epoch=3")
    assert "the newest that is whole; checkpoint_last.pt: " in log
    assert clean(folder)
    log = run_command("fairseq-hydra-train", *words, "checkpoint.save_dir=/proc/none", fails=True)
    assert "--save-dir /proc/none: cannot be written" in log

"""G8: a training killed in the middle of an epoch goes on as if nothing had been, on as many processes or others.

At the same number the batches are the same and the parameters and the optimizer's state equal bit for bit. At another
number every utterance comes once in that epoch.
"""

import json
import os
import shutil
import signal

import pytest
import torch
from commands import TRAIN, metrics
from commands import run as run_command
from forked import TRAIN as FORKED
from forked import Command

from mm_fairseq import checkpoints
from mm_fairseq.databin import DataBin

SMALL = ["--arch", "ssl_fusion", "--modalities", "audio,text", "--encoder-layers", 1, "--encoder-layers-cross", 1]
SMALL += ["--embed-dim", 16, "--encoder-ffn-embed-dim", 32, "--no-epoch-checkpoints", "--modality-dropout", 0.2]
EPOCHS = 2


class Watch:
    """Notes what each update sees, in `folder/RANK.jsonl`; kills the process before the update `kill`.

    Args:
        folder: for the notes.
        kill: number of updates that are done and saved; none for -1.
    """

    def __init__(self, folder, kill=-1):
        self.folder, self.kill = folder, kill
        folder.mkdir()

    def __call__(self, rank):
        from fairseq.trainer import Trainer

        original = Trainer.train_step

        def train_step(trainer, samples, *args, **kwargs):
            updates = trainer.get_num_updates()
            if updates == self.kill and rank:
                signal.pause()  # the one that saves may not be done with it
            elif updates == self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            ids = [int(number) for sample in samples if sample for number in sample["id"]]
            with open(self.folder / f"{rank}.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps([updates, ids]) + "\n")
            return original(trainer, samples, *args, **kwargs)

        Trainer.train_step = train_step

    def seen(self):
        """Numbers of utterances by update and rank: `{(update, rank): ids}`."""
        rows = [(path, json.loads(line)) for path in self.folder.glob("*.jsonl") for line in path.open()]
        return {(updates, int(path.stem)): ids for path, (updates, ids) in rows}


def whole(folder):
    """Everything that must not differ in the bits: weights, optimizer's state, what the task counts."""
    state = torch.load(folder / checkpoints.LAST, weights_only=True)
    return state["model"], state["last_optimizer_state"]["state"], state["task_state"]["updates"]


def same_bits(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_bits(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_bits, one, other))
    return one == other


def train(data, folder, watch, *more, processes=1):
    words = [data, *FORKED, *SMALL, "--save-dir", folder, "--save-interval-updates", 1, "--max-epoch", EPOCHS, *more]
    return Command("fairseq-train", *words, processes=processes, before=watch)


def in_epochs(seen, split):
    """Ids of all updates together, an epoch a list: whole epochs are those that come to the size of the split."""
    ids = [number for place in sorted(seen) for number in seen[place]]
    return [ids[begin : begin + split] for begin in range(0, len(ids), split)]


def check(data_bin, tmp_path, before, after, kill, *more):
    """Kill `before` processes when `kill` updates are done, go on with each number of processes in `after`."""
    begun, noted = tmp_path / "begun", Watch(tmp_path / "noted", kill)
    straight = Watch(tmp_path / "straight-noted")
    runs = [train(data_bin, begun, noted, *more, processes=before)]
    runs += [train(data_bin, tmp_path / "straight", straight, *more, processes=before)] if before in after else []
    runs[0].finish(fails=True)
    resumed = {}
    for processes in after:
        folder = tmp_path / f"resumed-{processes}"
        shutil.copytree(begun, folder)
        resumed[processes] = Watch(tmp_path / f"noted-{processes}")
        runs.append(train(data_bin, folder, resumed[processes], *more, processes=processes))
    for each in runs[1:]:
        assert "done training" in each.finish()
    first = noted.seen()
    assert {update for update, _ in first} == set(range(kill))
    everything = DataBin(data_bin)
    train_ids = list(range(len(everything.split(everything.place(), "train"))))
    for processes, watch in resumed.items():
        second = watch.seen()
        assert min(update for update, _ in second) == kill
        epochs = in_epochs(first | second, len(train_ids))
        assert [sorted(epoch) for epoch in epochs] == [train_ids] * EPOCHS
        if processes == before:
            assert first | second == straight.seen()
            assert same_bits(whole(tmp_path / "straight"), whole(tmp_path / f"resumed-{processes}"))


@pytest.mark.parametrize(("before", "after", "kill"), [(1, (1, 2), 2), (2, (2, 1), 1)])
def test_a_killed_epoch_goes_on(data_bin, tmp_path, before, after, kill):
    check(data_bin, tmp_path, before, after, kill, "--batch-size", 4)


def test_patience_goes_on(data_bin, tmp_path):
    """Nothing is learnt: the first of the validations, one an update, stays the best, and the ninth is the last."""
    stuck = ["--batch-size", 8, "--lr", 0, "--patience", 8, "--max-epoch", 20]
    train(data_bin, tmp_path / "s", Watch(tmp_path / "noted", kill=5), *stuck).finish(fails=True)
    resumed = Watch(tmp_path / "resumed")
    train(data_bin, tmp_path / "s", resumed, *stuck).finish()
    assert sorted(update for update, _ in resumed.seen()) == [5, 6, 7, 8]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kill", [1, 3, 5])
@pytest.mark.parametrize("more", [(), ("--update-freq", 2), ("--grouped-shuffling",)], ids=str)
@pytest.mark.parametrize("before", [1, 2])
def test_wherever_it_is_killed(data_bin, tmp_path, before, more, kill):
    """In the first epoch, at its end, in the second; with batches of 3 the last one is smaller."""
    check(data_bin, tmp_path, before, (1, 2), kill * (3 - before), "--batch-size", 3 if not more else 2, *more)


@pytest.mark.slow
def test_the_real_commands(data_bin, tmp_path):
    """24 utterances in 6 batches: two processes of torchrun take 2 of them in one update, one process the other 4."""
    train = [data_bin, *TRAIN, *SMALL, "--batch-size", 4, "--save-dir", tmp_path]
    run_command("fairseq-train", *train, "--max-update", 1, processes=2)
    state = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)["extra_state"]["train_iterator"]
    assert (state["epoch"], state["iterations_in_epoch"]) == (1, 1)
    assert (state["consumed"], state["ranks"], state["batches"]) == (2, 2, 6)
    log = run_command("fairseq-train", *train, "--max-epoch", 2)
    assert "Loaded checkpoint" in log
    assert metrics(log, "valid")["num_updates"] == 1 + 4 + 6

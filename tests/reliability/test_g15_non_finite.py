"""G15: no number that is not finite enters a shard, and one in the loss or its gradient names the utterances."""

import functools
import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import TRAIN, run
from fairseq import checkpoint_utils
from feature_factory import to_features
from task_factory import task_of
from trainings import SMALL, on_ranks, train

from mm_fairseq.criterions.emotion_prediction import EmotionPredictionCriterion
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Utterance
from mm_fairseq.tasks._non_finite import NonFinite

pytestmark = pytest.mark.filterwarnings("ignore")  # of hydra, in every command of fairseq
SCORE = EmotionPredictionCriterion.score


@pytest.fixture
def spoil(monkeypatch):
    """Make the loss, or its gradient alone, of some utterances NaN; only with another one where `beside` names it."""

    def change(rows, gradient=False, beside=None):
        def score(self, output, sample):
            loss, size, log = SCORE(self, output, sample)
            there = set(sample["id"].tolist())
            if self.training and there & set(rows) and (beside is None or beside in there):
                zero = output["logits"]["emotion"].sum() * 0
                loss = loss + (zero.sqrt() if gradient else zero / 0)
            return loss, size, log

        monkeypatch.setattr(EmotionPredictionCriterion, "score", score)

    return change


def written(folder):
    return [json.loads(line) for line in (folder / "non_finite.jsonl").read_text().splitlines()]


def last(folder):
    return checkpoint_utils.load_checkpoint_to_cpu(str(folder / "checkpoint_last.pt"))


DIVERGED = r"the model has diverged: \S+ is not finite .* try a smaller --lr, or clip gradients with --clip-norm$"
ONE_EPOCH = ["--batch-size", 6, "--max-epoch", 1]


@pytest.mark.parametrize(("gradient", "fault"), [(False, "loss"), (True, "gradient")])
def test_the_utterance_is_named(data_bin, tmp_path, spoil, gradient, fault):
    spoil({5}, gradient)
    with pytest.raises(MMFairseqError, match=rf"the {fault} is not a finite number for utt005\. .*--skip-nonfinite N"):
        train(data_bin, tmp_path, *ONE_EPOCH)
    (row,) = written(tmp_path)
    update = row.pop("update")
    assert 1 <= update <= 4
    told = {"id": "utt005", "split": "train", "fault": fault, "alone": True, "among": 6}
    assert row == told | {"rank": 0, "action": "ended"}


def test_without_the_watch_fairseq_says_nothing_of_the_data(data_bin, tmp_path, spoil, monkeypatch):
    spoil({5}, gradient=True)
    monkeypatch.setattr("mm_fairseq.fairseq_compat.non_finite._watch", lambda trainer: None)
    with pytest.raises(FloatingPointError, match="gradients are Nan/Inf"):
        train(data_bin, tmp_path, *ONE_EPOCH)


def test_what_only_neighbours_make_names_the_batch(data_bin, tmp_path, spoil):
    spoil(set(range(24)), beside=7)
    with pytest.raises(MMFairseqError, match="for utt007"):
        train(data_bin, tmp_path / "alone", *ONE_EPOCH)
    assert {row["id"] for row in written(tmp_path / "alone")} == {"utt007"}
    spoil({3}, beside=7)  # one batch of all
    with pytest.raises(MMFairseqError, match=r"some or all of these together: (utt\d+, ){7}utt\d+ and 16 more"):
        train(data_bin, tmp_path / "pair", "--batch-size", 24, "--max-epoch", 1)
    assert len(written(tmp_path / "pair")) == 24
    assert not any(row["alone"] for row in written(tmp_path / "pair"))


def test_updates_are_left_out_and_counted_over_a_restart(data_bin, tmp_path, spoil, caplog):
    """Four updates an epoch, one of them bad: 3 are made in each, the third bad one ends the training."""
    spoil({5})
    options = ["--batch-size", 6, "--skip-nonfinite", 2]
    train(data_bin, tmp_path, *options, "--max-epoch", 1)
    state = last(tmp_path)
    assert (state["optimizer_history"][-1]["num_updates"], state["task_state"]["updates"]) == (3, 3)
    assert state["extra_state"]["skipped_nonfinite"] == 1
    assert all(x.isfinite().all() for x in state["model"].values())
    with pytest.raises(MMFairseqError, match="for utt005; 2 updates were left out before"):
        train(data_bin, tmp_path, *options, "--max-epoch", 3)
    assert last(tmp_path)["optimizer_history"][-1]["num_updates"] == 6
    assert [row["action"] for row in written(tmp_path)] == ["skipped", "skipped", "ended"]
    assert "left out, 2 of at most 2" in caplog.text


def test_an_update_that_is_left_out_changes_nothing(data_bin, tmp_path, spoil, monkeypatch):
    """Three epochs of nothing but bad updates: the parameters are those of the start."""
    spoil(set(range(24)))
    options = ["--batch-size", 24, "--skip-nonfinite", 3, "--no-save"]
    seen = []
    monkeypatch.setattr(
        "fairseq.trainer.Trainer.begin_epoch",
        lambda self, epoch: seen.append([x.detach().clone() for x in self.get_model().parameters()]),
    )
    train(data_bin, tmp_path, *options, "--max-epoch", 3)
    assert len(seen) == 3
    assert all(torch.equal(a, b) for a, b in zip(seen[0], seen[2], strict=True))


def test_ranks_agree(data_bin, tmp_path, spoil):
    """Whichever rank has it, all of them leave the update out, and then all end with the same words."""
    spoil({5})
    options = ["--batch-size", 3, "--skip-nonfinite", 1, "--max-epoch", 2]
    told = on_ranks(2, train, data_bin, tmp_path, *options)
    assert told[0] == told[1]
    assert re.search("the loss is not a finite number for utt005; 1 updates were left out before", told[0])
    assert [row["id"] for row in written(tmp_path)] == ["utt005"] * 2
    assert last(tmp_path)["optimizer_history"][-1]["num_updates"] == 3


@pytest.mark.parametrize("gradient", [False, True])
def test_accumulated_gradients(data_bin, tmp_path, spoil, gradient):
    """--update-freq: of the batches of one update the one is named that is to blame."""
    spoil({5, 6}, gradient)
    with pytest.raises(MMFairseqError, match=r"for utt00[56]"):
        train(data_bin, tmp_path, "--batch-size", 4, "--update-freq", 6, "--max-epoch", 1)
    assert {row["id"] for row in written(tmp_path)} == {"utt005", "utt006"}


def test_a_model_that_has_diverged_is_told(data_bin, tmp_path, monkeypatch):
    monkeypatch.setattr("fairseq.optim.adam.Adam.step", lambda self, closure=None: _spoil(self))
    with pytest.raises(MMFairseqError, match=DIVERGED):
        train(data_bin, tmp_path, *ONE_EPOCH, "--skip-nonfinite", 9)


@pytest.mark.parametrize("processes", [1, 2])
def test_where_every_utterance_is_wrong_none_is_blamed(data_bin, tmp_path, spoil, processes):
    """Whether its parameters are numbers that are too large, or its batches are small and one of them is in order."""
    options = ["--batch-size", 24 // processes, "--max-epoch", 1]
    words = "for any of the 24 utterances of the batch, each alone: most likely the model has diverged"
    spoil(set(range(24)))
    (told,) = set(refused(processes, data_bin, tmp_path / "all", *options))
    assert words in told
    assert "utt0" not in told
    assert {row["id"] for row in written(tmp_path / "all")} == {f"utt{n:03}" for n in range(24)}
    spoil(set(range(23)))
    (told,) = set(refused(processes, data_bin, tmp_path / "most", *options))
    assert "diverged" not in told
    assert "utt0" in told


def refused(processes, *arguments):
    if processes > 1:
        return on_ranks(processes, train, *arguments)
    with pytest.raises(MMFairseqError) as caught:
        train(*arguments)
    return [str(caught.value)]


def test_a_step_that_is_far_too_large_is_told_as_such(data_bin, tmp_path):
    with pytest.raises(MMFairseqError, match=r"diverged.*smaller --lr, or clip gradients with --clip-norm$"):
        train(data_bin, tmp_path, *ONE_EPOCH[:2], "--max-epoch", 3, "--lr", "1e30")


@pytest.fixture
def amp(monkeypatch):
    """--amp, with a scale of the loss that works on a CPU as it does on a GPU."""
    monkeypatch.setattr("torch.cuda.amp.GradScaler", functools.partial(torch.amp.GradScaler, "cpu"))
    return ["--amp"]


def test_amp_leaves_out_a_loss_that_is_not_finite_and_counts_it(data_bin, tmp_path, spoil, amp):
    spoil({5})
    options = [*ONE_EPOCH[:2], *amp, "--skip-nonfinite", 1]
    with pytest.raises(MMFairseqError, match="for utt005; 1 updates were left out before"):
        train(data_bin, tmp_path, *options, "--max-epoch", 2)
    state = last(tmp_path)
    assert (state["optimizer_history"][-1]["num_updates"], state["extra_state"]["skipped_nonfinite"]) == (3, 1)
    assert [row["action"] for row in written(tmp_path)] == ["skipped", "ended"]


def test_amp_ends_where_the_model_has_diverged(data_bin, tmp_path, amp, monkeypatch):
    monkeypatch.setattr("fairseq.optim.adam.Adam.step", lambda self, closure=None, scale=1.0: _spoil(self))
    with pytest.raises(MMFairseqError, match=DIVERGED):
        train(data_bin, tmp_path, *ONE_EPOCH, *amp, "--skip-nonfinite", 9)
    assert {row["action"] for row in written(tmp_path)} == {"ended"}


def test_amp_mends_a_gradient_by_its_scale(data_bin, tmp_path, spoil, amp):
    """It tries the batch again and leaves it out after that; nothing is counted."""
    spoil({5}, gradient=True)
    train(data_bin, tmp_path, *ONE_EPOCH, *amp)
    assert last(tmp_path)["optimizer_history"][-1]["num_updates"] == 3
    assert not (tmp_path / "non_finite.jsonl").exists()


def test_a_scale_at_its_smallest_does_not_advise_what_has_no_effect(data_bin, tmp_path, spoil, amp):
    spoil({5}, gradient=True)
    with pytest.raises(MMFairseqError, match=r"for utt005\. .* a smaller --lr, or clip gradients with --clip-norm$"):
        train(data_bin, tmp_path, *ONE_EPOCH, *amp, "--min-loss-scale", 100)
    assert [row["action"] for row in written(tmp_path)] == ["ended"]


def test_lines_are_added_whole(data_bin, tmp_path):
    """Without writing those anew that are there; the rest of a line that was cut short goes."""
    watch, path = NonFinite(task_of(data_bin), 9), tmp_path / "run" / "non_finite.jsonl"
    found = [[{"id": "a", "split": "train", "fault": "loss", "alone": True}]]
    watch.tell(found, "skipped", str(path.parent), True)
    inode, line = path.stat().st_ino, path.read_bytes()
    watch.tell(found, "skipped", str(path.parent), True)
    assert path.read_bytes() == 2 * line
    assert path.stat().st_ino == inode
    path.write_bytes(line + line[:20])
    watch.tell(found, "skipped", str(path.parent), True)
    assert path.read_bytes() == 2 * line


def _spoil(optimizer):
    optimizer.param_groups[0]["params"][-1].data.fill_(torch.nan)


def test_the_option_is_checked(data_bin, tmp_path):
    with pytest.raises(MMFairseqError, match="--skip-nonfinite -1: a number of updates, 0 or more"):
        train(data_bin, tmp_path, *ONE_EPOCH, "--skip-nonfinite", -1)


def test_statistics_of_a_layer_come_back(data_bin):
    """A forward pass leaves NaN in those of a BatchNorm: an update that is left out must not."""
    task = task_of(data_bin)
    task.datasets["train"] = SimpleNamespace(utterances=[Utterance("a"), Utterance("b")])
    layer = torch.nn.BatchNorm1d(3)
    watch, x = NonFinite(task, 1), torch.tensor([[1.0, 2, 3], [torch.nan, 5, 6]])
    batch = {"id": torch.tensor([0, 1]), "subset": "train", "nsentences": 2, "net_input": {"x": x}}

    def criterion(model, sample):
        return model(sample["net_input"]["x"]).sum(), 1, {}

    watch.begin(layer, 0)
    watch.losses.append(criterion(layer, batch)[0].detach())
    assert layer.running_mean.isnan().any()
    assert watch.lost()
    (found,) = watch.suspects(layer, criterion, [batch], gradients=False)
    assert found == {"id": "b", "split": "train", "fault": "loss", "alone": True, "among": 2}
    assert torch.equal(layer.running_mean, torch.zeros(3))
    assert layer.training


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("processes", [1, 2])
def test_features_that_were_damaged_after_they_were_checked(data_bin, tmp_path, processes):
    """The real command, and a NaN on the disk."""
    folder = to_features(shutil.copytree(data_bin, tmp_path / "data-bin"), {"audio": 6})
    (path,) = (folder / "audio").glob("*.bin")
    items = np.fromfile(path, np.float32)
    items[(5 + 1 + 3) * 6] = np.nan  # of the fourth utterance, which is in train alone
    items.tofile(path)
    options = [
        "--arch",
        "ssl_fusion",
        "--modalities",
        "audio",
        "--audio-backbone",
        "features",
        *SMALL[4:],
        "--batch-size",
        4,
        "--max-epoch",
        2,
    ]
    options = [folder, *TRAIN, *options, "--save-dir", tmp_path / "run"]
    log = run("fairseq-train", *options, processes=processes, fails=True)
    assert re.search(r"(?m)^(\[rank\d\]: )?error: update \d+: the loss is not a finite number for utt003\. ", log), log[
        -3000:
    ]
    assert "Traceback" not in log or processes > 1  # torchrun has one of its own
    log = run("fairseq-train", *options, "--skip-nonfinite", 2, processes=processes)
    assert "left out, 2 of at most 2" in log
    assert {row["id"] for row in written(tmp_path / "run")} == {"utt003"}

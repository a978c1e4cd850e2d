"""Which jobs are run, resumed, skipped; with stand-ins for the commands. The real ones run in tests/e2e."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from mm_fairseq import atomic, checkpoints
from mm_fairseq.atomic import locked
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.evaluation import crossval, plan, receipts


@pytest.fixture
def cross(fake_fairseq, data):
    """Runs a cross-validation of three folds and the given seeds."""

    def run(*arguments, seeds=("1", "2"), at_once=3, asked=()):
        made = plan.make(data, "loso", (), seeds, data.parent / "out", ("--arch", "a", *arguments))
        return crossval.run(made, at_once, asked, resamples=9)

    return run


@pytest.fixture
def out(data):
    return data.parent / "out"


def logs(out):
    """Name of each log to the commands that stand in it."""
    return {str(path.relative_to(out / "loso")): path.read_text().splitlines() for path in out.rglob("*.log")}


def files(out):
    """Everything that adds up the folds, as bytes."""
    return {path.relative_to(out): path.read_bytes() for path in [*out.glob("summary.*"), *out.glob("pooled/*/*")]}


def test_every_fold_and_seed_is_trained_and_tested_once(cross, out, data):
    summary = cross("--lr", "-1", "--batch-size", "4", "--max-tokens=9", "--cpu")
    found = logs(out)
    assert len(found) == 12
    place = out / "loso" / "fold_2" / "seed_1"
    train, test = (found[f"fold_2/seed_1/{name}.log"][0] for name in ("train", "test"))
    assert f"--protocol loso --fold 2 --seed 1 --save-dir {place} --task emotion_prediction" in train
    assert train.endswith("--no-epoch-checkpoints --arch a --lr -1 --batch-size 4 --max-tokens=9 --cpu")
    assert f"--path {place}/checkpoint_best.pt --valid-subset test --results-path {place}" in test
    assert test.endswith("--cpu --batch-size 4 --max-tokens 9 --log-format simple")
    assert "test" not in train.replace(str(data.parent), "")
    # Of four utterances seed + fold - 2 are wrong: 0, 1, 2 with seed 1 and 1, 2, 3 with seed 2.
    wa = summary.metrics["wa"]
    assert wa.values.tolist() == [[1, 0.75], [0.75, 0.5], [0.5, 0.25]]
    assert wa.pooled.tolist() == [0.75, 0.5]


def test_every_fold_has_a_tensorboard_of_its_own(cross, out):
    cross("--tensorboard-logdir", "board", "--wandb-project", "mine", seeds=("5",))
    for name in ("train", "test"):
        log = logs(out)[f"fold_2/seed_5/{name}.log"][0]
        assert log.endswith("--tensorboard-logdir board/loso/fold_2/seed_5")
        assert "--wandb-project mine" in log


def test_the_pool_holds_every_prediction_with_its_fold(cross, out):
    cross()
    rows = [json.loads(line) for line in (out / "pooled" / "seed_2" / "predictions.jsonl").read_text().splitlines()]
    assert [(row["fold"], row["id"]) for row in rows] == [(f, f"f{f}u{u}") for f in "123" for u in range(4)]
    results = json.loads((out / "pooled" / "seed_2" / "results.json").read_text())
    assert (results["fold"], results["utterances"], results["metrics"]["wa"]) == ("1, 2, 3", 12, 0.5)


def test_what_is_done_is_not_done_again(cross, out, caplog):
    cross()
    before, times = files(out), {path: path.stat().st_mtime_ns for path in out.rglob("*.log")}
    cross(seeds=("1", "2"))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.log")} == times
    assert files(out) == before
    cross(seeds=("1", "2", "3"))
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(logs(out)) == 18


def test_predictions_that_are_gone_or_changed_are_made_again_from_the_checkpoint(cross, out):
    cross()
    before = files(out)
    (out / "loso/fold_1/seed_1/test/predictions.jsonl").unlink()
    (out / "loso/fold_2/seed_1/test/predictions.jsonl").write_text("")
    trained = (out / "loso/fold_1/seed_1/train.log").stat().st_mtime_ns
    cross()
    assert files(out) == before
    assert (out / "loso/fold_1/seed_1/train.log").stat().st_mtime_ns == trained


def checkpoint(updates, max_update=0, waited=None):
    extra = {} if waited is None else {"early_stopping": {"best": 0.5, "epochs": waited}}
    about = {"cfg": {"optimization": {"max_update": max_update}}, "extra_state": extra}
    return {"optimizer_history": [{"num_updates": updates}], **about}


@pytest.mark.parametrize(
    ("state", "arguments", "trainings"),
    [
        (checkpoint(5), (), 2),  # the log goes on
        (checkpoint(5, 9), (), 2),
        (checkpoint(9, 9), (), 0),  # one update more would follow
        (checkpoint(5), ("--patience", "3"), 1),  # begun by an older version, it starts again, and so does its log
        (checkpoint(5, waited=2), ("--patience", "3"), 2),
        (checkpoint(5, waited=3), ("--patience", "3"), 0),  # one epoch more would follow
        (checkpoint(5), ("--patience", "-1"), 2),
        (b"PK\3\4 cut short", (), 1),
        ({"model": {}}, (), 1),
    ],
)
def test_a_training_that_was_killed(cross, out, state, arguments, trainings):
    folder = out / "loso" / "fold_1" / "seed_1"
    cross(*arguments, seeds=("1",))
    before = files(out)
    (folder / "receipt.json").unlink()
    shutil.rmtree(folder / "test")
    (folder / "checkpoint_last.pt.tmp").write_text("")
    if isinstance(state, bytes):
        (folder / "checkpoint_last.pt").write_bytes(state)
    else:
        torch.save(state, folder / "checkpoint_last.pt")
    if trainings == 0:
        (folder / "train.log").write_text("")
    cross(*arguments, seeds=("1",))
    assert sum(line.startswith("training") for line in logs(out)["fold_1/seed_1/train.log"]) == trainings
    assert (folder / "checkpoint_last.pt.tmp").exists() == (trainings != 1)
    assert files(out) == before


def test_a_failing_fold_leaves_the_others_and_adds_nothing_up(cross, out, capsys):
    with pytest.raises(MMFairseqError, match="2 of 6 jobs are not done: fold 2 seed 1, fold 2 seed 2; what is done"):
        cross("--fail", "2")
    assert "there is no such thing" in capsys.readouterr().out
    assert not list(out.glob("summary.*"))
    assert len(list(out.rglob("predictions.jsonl"))) == 4


def test_an_unknown_metric_is_found_before_the_work(cross, out):
    with pytest.raises(MMFairseqError, match="unknown metric 'uar'; known: loss, wa, ua"):
        cross(asked=["wa", "uar"])
    assert not out.exists()
    with pytest.raises(MMFairseqError, match="unknown metric 'mae'; these predictions have wa"):
        cross(asked=["mae"])
    assert len(list(out.rglob("receipt.json"))) == 6


@pytest.mark.parametrize("kept", [True, False])
def test_another_command_in_the_same_folder(cross, out, kept):
    cross("--lr", "0.1")
    for path in [] if kept else list(out.rglob("*.pt")):
        path.unlink()
    with pytest.raises(MMFairseqError, match=r"begun differently: arguments was .*--lr 0.1, is .*--lr 0.2"):
        cross("--lr", "0.2")


def test_two_in_one_folder(cross, out, monkeypatch):
    monkeypatch.setattr(atomic, "LOCK_WAIT", 0.1)
    out.mkdir()
    with locked(out), pytest.raises(MMFairseqError, match="another process is writing there"):
        cross()
    assert list(out.iterdir()) == []


def test_a_training_without_validation(cross, fake_fairseq, data):
    path = data.parent / "bin" / "fairseq-train"
    path.write_text(path.read_text().replace("checkpoint_best.pt", "checkpoint9.pt"))
    with pytest.raises(MMFairseqError, match="3 of 3 jobs are not done"):
        cross(seeds=("1",))


def test_a_broken_receipt_is_named(cross, out):
    (out / "loso" / "fold_1" / "seed_1").mkdir(parents=True)
    (out / "loso" / "fold_1" / "seed_1" / "receipt.json").write_text("{")
    with pytest.raises(MMFairseqError, match=r"receipt.json: not a receipt .* remove"):
        cross()


def test_a_damaged_best_checkpoint_is_made_again(cross, out, caplog):
    cross(seeds=("1",))
    before, folder = files(out), out / "loso" / "fold_1" / "seed_1"
    (folder / "receipt.json").unlink()
    shutil.rmtree(folder / "test")
    best = folder / "checkpoint_best.pt"
    best.write_bytes(best.read_bytes()[:-1])
    cross(seeds=("1",))
    assert "checkpoint_best.pt cannot be made otherwise: cut short" in caplog.text
    assert files(out) == before


def test_a_training_that_starts_again_is_not_done_when_it_is_killed(cross, out, data):
    """The receipt of the first training does not stand for what the second one had written until then."""
    cross(seeds=("1",))
    before, folder = files(out), out / "loso" / "fold_1" / "seed_1"
    (folder / "test" / "predictions.jsonl").unlink()
    os.truncate(folder / "checkpoint_best.pt", 20)
    command = data.parent / "bin" / "fairseq-train"
    whole = command.read_text()
    command.write_text(whole.replace('print("done training")', "import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(MMFairseqError, match="1 of 3 jobs are not done: fold 1 seed 1"):
        cross(seeds=("1",))
    assert checkpoints.damage(folder / "checkpoint_best.pt") == ""
    command.write_text(whole)
    (folder / "train.log").unlink()
    cross(seeds=("1",))
    assert (folder / "train.log").is_file()
    assert files(out) == before


def test_the_receipt_goes_before_the_checkpoints(cross, out, monkeypatch):
    cross(seeds=("1",))
    folder = out / "loso" / "fold_1" / "seed_1"
    (folder / "test" / "predictions.jsonl").unlink()
    os.truncate(folder / "checkpoint_best.pt", 20)

    unlink = Path.unlink

    def killed(path, missing_ok=False):
        if path.suffix == ".pt":
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    made = plan.make(out.parent / "data-bin", "loso", (), ("1",), out, ("--arch", "a"))
    with pytest.raises(KeyboardInterrupt):
        next(crossval._job(made, "1", 1))
    assert receipts.read(folder) == {}


def test_a_damaged_last_checkpoint_leaves_the_best_one_to_go_on_from(cross, out):
    cross(seeds=("1",))
    folder = out / "loso" / "fold_1" / "seed_1"
    (folder / "receipt.json").unlink()
    shutil.rmtree(folder / "test")
    torch.save(checkpoint(5), folder / "checkpoint_best.pt")
    (folder / "checkpoint_last.pt").write_bytes(b"PK")
    assert crossval._begun(folder, ()) == "resumable"

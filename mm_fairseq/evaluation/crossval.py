"""Cross-validation through the real fairseq commands, a folder a fold and seed: OUT/PROTOCOL/fold_K/seed_S.

Selection reads valid alone, inside fairseq-train; test is read once, by fairseq-validate. A run that was killed goes on
where it was and gives what an uninterrupted one gives: finished folds are skipped, a begun one is resumed from its
newest checkpoint, and one that has none which is whole, or whose best one is damaged, starts again.
"""

import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import checkpoints
from ..atomic import locked, write_atomic
from ..backbones import read_checkpoint
from ..errors import MMFairseqError
from ..tables import number, to_json
from . import commands, receipts, scores
from .commands import Job, Step, option
from .plan import Plan, check_same, settings, told
from .summary import Summary, page, summarise

logger = logging.getLogger(__name__)

TEST = "test"
BEST, LAST = "checkpoint_best.pt", checkpoints.LAST


def run(plan: Plan, at_once: int = 1, asked: Sequence[str] = (), resamples: int = 1000) -> Summary:
    """Train and test every fold and seed that is not done, then add up: OUT/summary.{json,csv,md} and OUT/pooled.

    Args:
        plan: what.
        at_once: how many trainings side by side.
        asked: the metrics to show; the main ones where there are none.
        resamples: draws for an interval.

    Raises:
        MMFairseqError: a metric is unknown, a job failed, another process works in the folder, or what is there was
            begun differently.
    """
    if resamples < 1:
        raise MMFairseqError(f"--resamples {resamples}: at least 1")
    scores.check_known(asked)
    plan.out.mkdir(parents=True, exist_ok=True)
    with locked(plan.out) as lock:
        about = settings(plan)
        check_same(plan.out / "crossval.json", about)
        names = {f"fold {fold} seed {seed}": (fold, seed) for seed in plan.seeds for fold in plan.folds}
        jobs = {name: _job(plan, *place) for name, place in names.items() if not _is_done(plan.folder(*place))}
        if done := len(names) - len(jobs):
            logger.info("%s: %d of %d jobs are done already", plan.out, done, len(names))
        _, faults = commands.run(jobs, at_once, lock)
        if faults:
            missing = [name for name in names if not _is_done(plan.folder(*names[name]))]
            raise MMFairseqError(
                f"{len(missing)} of {len(names)} jobs are not done: {', '.join(missing)}; what is done is kept"
            )
        runs = {
            seed: {fold: scores.load(_predictions(plan.folder(fold, seed)), TEST) for fold in plan.folds}
            for seed in plan.seeds
        }
        summary = summarise(runs, asked, resamples)
        for seed in plan.seeds:
            _write_pool(plan, seed, summary)
        _write_summary(plan, about, summary)
    return summary


def _job(plan: Plan, fold: str, seed: int) -> Job:
    folder, data = plan.folder(fold, seed), str(plan.data)
    board = option(plan.arguments, "--tensorboard-logdir")
    apart = ["--tensorboard-logdir", str(Path(board, folder.relative_to(plan.out)))] if board else []
    folder.mkdir(parents=True, exist_ok=True)
    begun = _begun(folder, plan.arguments)
    if begun != "trained":
        if receipts.read(folder):
            receipts.write(folder, {})  # before the files go that it was written for: this may be killed at any moment
        if begun == "":
            for path in folder.glob("*.pt*"):
                path.unlink()
        place = ["--protocol", plan.protocol, "--fold", fold, "--seed", str(seed), "--save-dir", str(folder)]
        words = [commands.find("fairseq-train"), data, "--user-dir", str(commands.USER_DIR), *place, *plan.arguments]
        words += apart
        yield Step(words, folder / "train.log", append=begun == "resumable")
        if not (folder / BEST).is_file():
            raise MMFairseqError(f"{folder}: the training left no {BEST}; it was never validated")
        receipts.write(folder, {"trained": True})
    words = [commands.find("fairseq-validate"), data, *commands.TASK, "--path", str(folder / BEST)]
    words += ["--valid-subset", TEST, "--results-path", str(folder)]
    yield Step([*words, *_for_validation(plan.arguments), *apart], folder / "test.log")
    groups = scores.load(_predictions(folder), TEST)
    receipts.write(folder, {"trained": True, "predictions": receipts.sha256(_predictions(folder))})
    found = scores.measures(groups)
    return " ".join(f"{name}={number(found[name].value)}" for name in scores.chosen(groups, ()))


def _begun(folder: Path, arguments: Sequence[str]) -> str:
    """How far the training of a fold is: "trained", "resumable" or "" where it has to start from nothing."""
    best, last = folder / BEST, folder / LAST
    if best.is_file() and (fault := checkpoints.damage(best)):
        logger.warning("%s: starts again, %s cannot be made otherwise: %s", folder, BEST, fault)
        return ""
    if receipts.read(folder).get("trained") and best.is_file():
        return "trained"
    found = checkpoints.newest(last)
    try:
        if found.path is None:
            raise MMFairseqError("; ".join(f"{name}: {reason}" for name, reason in found.skipped.items()))
        state = read_checkpoint(found.path)
        updates = state["optimizer_history"][-1]["num_updates"]
        limit = state["cfg"]["optimization"]["max_update"]
        patience = int(option(arguments, "--patience") or -1)
        waited = int(state["extra_state"]["early_stopping"]["epochs"]) if patience > 0 else 0
    except (MMFairseqError, KeyError, IndexError, TypeError, ValueError) as error:
        if last.exists():
            logger.warning("%s: starts again, it has no checkpoint to go on from: %r", folder, error)
        return ""
    # fairseq makes one more update when it resumes a training that has reached --max-update, and one more epoch when
    # it resumes one that was stopped early.
    return "trained" if 0 < limit <= updates or 0 < patience <= waited else "resumable"


def _for_validation(arguments: Sequence[str]) -> list[str]:
    """Those arguments of fairseq-train that fairseq-validate needs too: how the computer is used, where to log."""
    out = ["--cpu"] if "--cpu" in arguments else []
    for name, others in {
        "--batch-size": ("--batch-size-valid", "--max-sentences-valid", "--batch-size", "--max-sentences"),
        "--max-tokens": ("--max-tokens-valid", "--max-tokens"),
        "--num-workers": ("--num-workers",),
        "--log-format": ("--log-format",),
        "--wandb-project": ("--wandb-project",),
    }.items():
        values = [value for other in others if (value := option(arguments, other)) is not None]
        out += [name, values[0]] if values else []
    return out


def _is_done(folder: Path) -> bool:
    noted = receipts.read(folder).get("predictions")
    return bool(noted) and noted == receipts.sha256(_predictions(folder))


def _predictions(folder: Path) -> Path:
    return folder / TEST / "predictions.jsonl"


def _write_pool(plan: Plan, seed: int, summary: Summary) -> None:
    """All test predictions of a seed as one file that `mm-fairseq report` and `compare` read."""
    lines = []
    for fold in plan.folds:
        with _predictions(plan.folder(fold, seed)).open(encoding="utf-8") as file:
            lines += [json.dumps(json.loads(line) | {"fold": fold}, ensure_ascii=False) for line in file]
    folder = plan.out / "pooled" / f"seed_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "predictions.jsonl", "".join(f"{line}\n" for line in lines).encode())
    one = json.loads((plan.folder(plan.folds[0], seed) / TEST / "results.json").read_bytes())
    one.pop("updates", None)  # each fold has its own
    place = summary.seeds.index(seed)
    pooled = {
        "fold": ", ".join(plan.folds),
        "command": plan.command,
        "utterances": sum(summary.items),
        "metrics": {name: float(each.pooled[place]) for name, each in summary.metrics.items()},
    }
    write_atomic(folder / "results.json", to_json(one | pooled).encode())


def _write_summary(plan: Plan, about: Mapping[str, Any], summary: Summary) -> None:
    write_atomic(plan.out / "summary.json", to_json({**about, **summary.as_json()}).encode())
    write_atomic(plan.out / "summary.csv", summary.as_csv().encode())
    lines = [
        *page(summary.table(plan.title), summary.shown),
        "",
        f"- command: `{shlex.join(plan.command)}`",
        f"- data: {about['data']}",
        f"- versions: {told(about['versions'])}",
    ]
    write_atomic(plan.out / "summary.md", ("\n".join(lines) + "\n").encode())

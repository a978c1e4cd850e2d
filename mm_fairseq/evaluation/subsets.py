"""One checkpoint on every subset of its modalities, by the real fairseq-validate; the others are withheld from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from ..atomic import locked, write_atomic
from ..backbones import read_checkpoint
from ..databin import DataBin, fingerprint
from ..errors import MMFairseqError
from ..tables import Table, number, to_csv, to_json
from . import commands, receipts, scores
from .commands import Job, Step
from .summary import page

OWNED = (
    *("--path", "--valid-subset", "--results-path", "--user-dir", "--data"),
    *("--modalities", "--a-only", "--t-only", "--v-only", "--all-in"),
)
BATCHES = ("--batch-size", "--max-sentences", "--max-tokens")


@dataclass(frozen=True)
class Subset:
    """The results of one subset.

    Args:
        name: modalities, joined by "+".
        values: every metric by its name in the log.
        shown: names of those that tables show.
        utterances: number scored.
        without: number of them that have none of the modalities.
    """

    name: str
    values: Mapping[str, float]
    shown: Sequence[str]
    utterances: int
    without: int


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty subset, largest first."""
    sizes = range(len(modalities), 0, -1)
    return [subset for size in sizes for subset in combinations(sorted(modalities), size)]


def run(
    data: Path,
    checkpoint: Path,
    split: str,
    out: Path,
    arguments: Sequence[str],
    at_once: int = 1,
    asked: Sequence[str] = (),
) -> list[Subset]:
    """Score what is not scored yet and write OUT/subsets.{json,csv,md}.

    Args:
        data: the data-bin.
        checkpoint: of a model.
        split: to score.
        out: the folder to write; the predictions of a subset lie in OUT/<audio+text>/<split>.
        arguments: of fairseq-validate.
        at_once: how many processes side by side.
        asked: the metrics to show; the main ones where there are none.

    Raises:
        MMFairseqError: a metric is unknown, the checkpoint or data-bin is not usable, or a subset failed.
    """
    commands.refuse(arguments, OWNED, "validate-subsets")
    scores.check_known(asked)
    state = read_checkpoint(checkpoint).get("task_state") or {}
    if not state.get("modalities"):
        raise MMFairseqError(f"{checkpoint}: not a checkpoint of the task emotion_prediction, it names no modalities")
    DataBin(data).place()  # says what is wrong with it
    batch = {} if any(commands.option(arguments, name) for name in BATCHES) else {"--batch-size": "32"}
    words = commands.with_defaults(arguments, {"--task": "emotion_prediction", "--log-format": "simple", **batch})
    about = {
        "checkpoint": receipts.sha256(checkpoint),
        "data": fingerprint(data),
        "split": split,
        "arguments": words,
    }
    folders = {"+".join(subset): out / "+".join(subset) for subset in subsets(state["modalities"])}
    out.mkdir(parents=True, exist_ok=True)
    with locked(out) as lock:
        begin = [commands.find("fairseq-validate"), str(data), "--user-dir", str(commands.USER_DIR)]
        begin += ["--path", str(checkpoint), "--valid-subset", split, *words]
        jobs = {
            name: _job(name, folder, split, begin, about)
            for name, folder in folders.items()
            if not _is_done(folder, split, about)
        }
        _, faults = commands.run(jobs, at_once, lock)
        if faults:
            raise MMFairseqError(f"{len(faults)} of {len(folders)} subsets failed: {', '.join(faults)}")
        found = [_read(name, folder, split, asked) for name, folder in folders.items()]
        write_atomic(
            out / "subsets.json", to_json(about | {"subsets": {each.name: _json(each) for each in found}}).encode()
        )
        rows = [(each.name, name, value) for each in found for name, value in each.values.items()]
        write_atomic(out / "subsets.csv", to_csv(("subset", "metric", "value"), rows).encode())
        lines = page(table(f"{checkpoint.name} on {split}", found), found[0].shown)
        write_atomic(out / "subsets.md", ("\n".join(lines) + "\n").encode())
    return found


def table(title: str, found: Sequence[Subset]) -> Table:
    """A row a subset."""
    shown = found[0].shown
    rows = [
        (each.name, *(number(each.values[name]) for name in shown), str(each.utterances), str(each.without))
        for each in found
    ]
    return Table(title, ("modalities", *shown, "utterances", "of them without any"), rows)


def _job(name: str, folder: Path, split: str, begin: Sequence[str], about: Mapping[str, Any]) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    place = ["--modalities", name.replace("+", ","), "--results-path", str(folder)]
    yield Step([*begin, *place], folder / f"{split}.log")
    found = _read(name, folder, split, ())
    receipts.write(folder, {**about, "predictions": receipts.sha256(_predictions(folder, split))})
    return " ".join(f"{metric}={number(found.values[metric])}" for metric in found.shown)


def _is_done(folder: Path, split: str, about: Mapping[str, Any]) -> bool:
    predictions = receipts.sha256(_predictions(folder, split))
    return bool(predictions) and receipts.read(folder) == {**about, "predictions": predictions}


def _predictions(folder: Path, split: str) -> Path:
    return folder / split / "predictions.jsonl"


def _read(name: str, folder: Path, split: str, asked: Sequence[str]) -> Subset:
    groups = scores.load(_predictions(folder, split), split)
    values = {metric: measure.value for metric, measure in scores.measures(groups).items()}
    items = {item.id: item.modalities for group in groups for item in group.items}
    without = sum(not modalities for modalities in items.values())
    return Subset(name, values, scores.chosen(groups, asked), len(items), without)


def _json(subset: Subset) -> dict[str, Any]:
    return {"utterances": subset.utterances, "without": subset.without, "metrics": subset.values}

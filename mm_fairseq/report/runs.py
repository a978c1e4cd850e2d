"""What is known of a run besides its predictions: `results.json` beside them, and the log of the training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import metrics
from ..errors import MMFairseqError
from ..tables import Table
from . import baselines, curves, predictions, stress
from .baselines import Baseline, Subsets
from .curves import Curves
from .summary import Summary, summarise

COMMON_PARTS = {"predictions.jsonl", *predictions.SPLIT_ORDER}


@dataclass(frozen=True)
class Record:
    """What `fairseq-validate` writes into `results.json`; "" and empty where the file does not say.

    Args:
        split: that was scored.
        protocol: how the corpus is split.
        fold: of the protocol.
        seed: of the training.
        arch: architecture.
        modalities: given to the model.
        command: words of the training command.
        versions: package -> version.
        data: sha256 of the data-bin's content.
        checkpoint: file name.
        updates: that the checkpoint had seen.
        utterances: number scored; -1 where the file does not say.
        metrics: as they were logged.
        baselines: by name.
        dropped: labelled utterances that the data-bin is without.
    """

    split: str = ""
    protocol: str = ""
    fold: str = ""
    seed: str = ""
    arch: str = ""
    modalities: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    data: str = ""
    checkpoint: str = ""
    updates: str = ""
    utterances: int = -1
    metrics: dict[str, float | None] = field(default_factory=dict)
    baselines: dict[str, Baseline] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()

    @property
    def data_bin(self) -> str:
        """Name of the data's folder: the first positional word of the command."""
        words = [*self.command[1:], "-"]
        return "" if words[0].startswith("-") else Path(words[0]).name


@dataclass(frozen=True)
class Run:
    """A model's results on every target and split that a path holds, test first."""

    name: str
    summaries: list[Summary]
    records: dict[str, Record]
    curves: Curves
    subsets: Subsets = field(default_factory=Subsets)
    stressed: list[Summary] = field(default_factory=list)

    @property
    def record(self) -> Record:
        """Of the first split that has one."""
        found = [self.records[split] for split in self.splits if split in self.records]
        return found[0] if found else Record()

    @property
    def splits(self) -> list[str]:
        return list(dict.fromkeys(summary.group.split for summary in self.summaries))

    def of_split(self, split: str) -> list[Summary]:
        """Its targets."""
        return [summary for summary in self.summaries if summary.group.split == split]

    def summary(self, key: tuple[str, str]) -> Summary | None:
        """Of a target and split; None where the run has none."""
        return next((summary for summary in self.summaries if summary.group.key == key), None)


def read(path: Path, name: str | None = None) -> Run:
    """Everything about a run.

    Args:
        path: a file of predictions, or a folder with such files below it.
        name: what to call the run; when None, the name of its folder, or of a file that is not `predictions.jsonl`.

    Raises:
        MMFairseqError: predictions are missing or malformed, or `results.json` is.
    """
    summaries, stressed = stress.take_apart([summarise(group) for group in predictions.read(path)])
    records: dict[str, Record] = {}
    for summary in summaries:
        if record := read_record(summary.group.file.with_name("results.json")):
            records.setdefault(summary.group.split, record)
    first = summaries[0].group
    below_split = first.file.resolve().parent.name == first.split
    folder = (
        path if path.is_dir() and any(path.glob("*.log")) else first.file.resolve().parents[1 if below_split else 0]
    )
    subsets = baselines.read_subsets(folder / "subsets" / "subsets.json")
    return Run(name or _name(path), summaries, records, curves.read(folder), subsets, stressed)


def read_record(file: Path) -> Record | None:
    """`results.json`; None where there is no such file.

    Raises:
        MMFairseqError: it is not what fairseq-validate writes.
    """
    if not file.is_file():
        return None
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
        keys = ("split", "protocol", "fold", "seed", "arch", "data", "checkpoint", "updates")
        texts = {key: _text(row.get(key)) for key in keys}
        count = row.get("utterances")
        return Record(
            **texts,
            modalities=tuple(map(str, row.get("modalities") or ())),
            command=tuple(map(str, row.get("command") or ())),
            versions={str(name): str(version) for name, version in (row.get("versions") or {}).items()},
            utterances=-1 if count is None else int(count),
            metrics={
                str(key): None if value is None else float(value) for key, value in (row.get("metrics") or {}).items()
            },
            baselines=baselines.parse(row),
            dropped=tuple(map(str, row.get("dropped") or ())),
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise MMFairseqError(f"{file}: not the results of fairseq-validate: {error}") from error


def lost(run: Run) -> list[str]:
    """Sentences on labelled utterances that are not among those scored, as their files could not be used."""
    return [
        f"{split} is without {len(record.dropped)} labelled utterances, of which nothing could be used: "
        f"{', '.join(record.dropped)}."
        for split, record in run.records.items()
        if record.dropped
    ]


def contradictions(run: Run) -> list[str]:
    """Sentences on what `results.json` and the predictions beside it say differently: files of two runs."""
    found = []
    several = len({summary.group.name for summary in run.summaries}) > 1
    for split, record in run.records.items():
        here = run.of_split(split)
        ids = {item.id for summary in here for item in summary.group.items}
        if record.utterances not in (-1, len(ids)):
            found.append(f"results.json of {split} counts {record.utterances} utterances, the predictions {len(ids)}")
        for summary in here:
            for metric in summary.headline:
                name = metrics.log_name(metric, summary.group.name, several)
                logged, value = record.metrics.get(name), summary.values[metric]
                if logged is not None and abs(logged - value) > 1e-4:
                    found.append(f"results.json of {split} has {name} {logged:.4f}, the predictions {value:.4f}")
        found += baselines.contradictions(record.modalities, here, run.subsets)
    return found + _strange_stress(run)


def _strange_stress(run: Run) -> list[str]:
    """The same of results under stress that are not of the checkpoint, or the utterances, that they stand beside."""
    found = []
    for split, file in {summary.group.split: summary.group.file for summary in run.stressed}.items():
        clean = split.partition("@")[0]
        records = run.records.get(clean), read_record(file.with_name("results.json"))
        for key in ("checkpoint", "updates", "data"):
            here, there = (getattr(record, key) if record else "" for record in records)
            if here and there and here != there:
                found.append(f"results.json of {split} has {key} {there[:40]}, that of {clean} {here[:40]}")
        scored = [summary for summary in run.stressed if summary.group.split == split]
        here, there = (
            {item.id for each in some for item in each.group.items} for some in (run.of_split(clean), scored)
        )
        if here != there:
            found.append(
                f"{split} has {len(there - here)} utterances that {clean} lacks, and lacks {len(here - there)}"
            )
    return found


def provenance(run: Run) -> Sequence[tuple[str, str]]:
    """Terms and what is known of them, of the first split that has a record."""
    record = run.record
    rows = [
        ("protocol", record.protocol),
        ("fold", record.fold),
        ("seed", record.seed),
        ("architecture", record.arch),
        ("modalities", " + ".join(record.modalities)),
        ("checkpoint", record.checkpoint),
        ("updates", record.updates),
        ("data (sha256)", record.data),
        ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
    ]
    return [(term, text) for term, text in rows if text]


def systems(all_runs: Sequence[Run]) -> Table | None:
    """What runs side by side are: architecture, modalities, size, updates; None of one run, or where nothing is known.

    The size is read from the log of the training.
    """
    rows = []
    for run in all_runs:
        record, size = run.record, run.curves.parameters
        counts = [f"{count:,}" for count in size] if size else ["", ""]
        rows.append((run.name, record.arch, " + ".join(record.modalities), *counts, record.updates))
    if len(rows) < 2 or not any(any(row[1:]) for row in rows):
        return None
    columns = ("run", "architecture", "modalities", "parameters", "of them learn", "updates")
    return Table("Systems", columns, [tuple(cell or "-" for cell in row) for row in rows], numeric=False)


def _text(value: Any) -> str:
    if isinstance(value, list | dict):
        raise TypeError(f"expected a text or a number, not {value!r}")
    return "" if value is None else str(value)


def _name(path: Path) -> str:
    """The last part of a path that tells runs apart: `fairseq-validate` writes RUN/SPLIT/predictions.jsonl."""
    parts = [part for part in path.resolve().parts if part not in COMMON_PARTS]
    return parts[-1].removesuffix(".jsonl")

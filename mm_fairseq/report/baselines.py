"""What a run is to be measured by: the same model with fewer modalities, and answers from the labels of train alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import metrics
from ..errors import MMFairseqError
from ..tables import Table, number
from .predictions import MULTILABEL, REGRESSION
from .summary import Summary, exact_match

NAMES = {"transcript_lookup": "transcript look-up", "majority": "majority of train"}
MEDIAN = "median of train"  # of numbers, what is the majority of classes
BRIEF = {MULTILABEL: ("wf1", "subset_acc"), REGRESSION: ("mae", "corr")}
BRIEF_OF_CLASSES = ("wa", "wf1")

Values = Mapping[str, float | None]
"""Metrics by their names in the log."""


@dataclass(frozen=True)
class Baseline:
    """What `results.json` says of one; `known`: share of the utterances whose transcript train has."""

    values: Values
    known: float | None = None


@dataclass(frozen=True)
class Subsets:
    """What `mm-fairseq validate-subsets` found: modalities, joined by "+", to metrics; of one split."""

    split: str = ""
    values: Mapping[str, Values] = field(default_factory=dict)


def parse(row: Mapping[str, Any]) -> dict[str, Baseline]:
    """The baselines of `results.json`.

    Raises:
        ValueError, TypeError, AttributeError: they are none.
    """
    out = {}
    for name, entry in (row.get("baselines") or {}).items():
        known = entry.get("known")
        out[str(name)] = Baseline(_values(entry["metrics"]), None if known is None else float(known))
    return out


def read_subsets(file: Path) -> Subsets:
    """`subsets.json`; empty where there is no such file.

    Raises:
        MMFairseqError: it is not what validate-subsets writes.
    """
    if not file.is_file():
        return Subsets()
    try:
        row = json.loads(file.read_text(encoding="utf-8"))
        values = {str(name): _values(each["metrics"]) for name, each in row["subsets"].items()}
        return Subsets(str(row["split"]), values)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise MMFairseqError(f"{file}: not the results of mm-fairseq validate-subsets: {error!r}") from error


def _values(row: Mapping[str, Any]) -> dict[str, float | None]:
    return {str(name): None if value is None else float(value) for name, value in row.items()}


def own_values(summaries: Sequence[Summary]) -> dict[str, float]:
    """All metrics of the targets of one split by their names in the log."""
    several = len(summaries) > 1
    found = {
        metrics.log_name(metric, summary.group.name, several): summary.values[metric]
        for summary in summaries
        for metric in summary.headline
    }
    match = exact_match(summaries, summaries[0].group.split)
    return found | ({"exact_match": match[0]} if match else {})


def table(
    name: str,
    modalities: Sequence[str],
    summaries: Sequence[Summary],
    baselines: Mapping[str, Baseline],
    subsets: Subsets,
) -> Table | None:
    """A row for the run, each subset of its modalities and each baseline; None where there is nothing but the run.

    Args:
        name: of the run.
        modalities: that it was given.
        summaries: its targets on one split.
        baselines: of this split.
        subsets: of the run; shown where they are of this split.
    """
    split, several = summaries[0].group.split, len(summaries) > 1
    given = "+".join(sorted(modalities))
    fewer = subsets.values if subsets.split == split else {}
    rivals = {_alone(each): values for each, values in fewer.items() if each != given}
    of_numbers = [summary.kind == REGRESSION for summary in summaries]
    usual = MEDIAN if all(of_numbers) else f"{NAMES['majority']} (of numbers the median)" if any(of_numbers) else ""
    named = NAMES | ({"majority": usual} if usual else {})
    rivals |= {named.get(each, each): found.values for each, found in baselines.items()}
    if not rivals:
        return None
    columns = [
        metrics.log_name(metric, summary.group.name, several)
        for summary in summaries
        for metric in (BRIEF.get(summary.kind, BRIEF_OF_CLASSES) if several else _main(summary))
    ]
    own = own_values(summaries)
    columns += ["exact_match"] if "exact_match" in own else []
    told = f"{name} ({' + '.join(sorted(modalities))})" if modalities else name
    rows = [(told, own), *rivals.items()]
    lookup, answer = baselines.get("transcript_lookup"), "median" if all(of_numbers) else "majority"
    known = f" {lookup.known:.0%} of the transcripts stand in train." if lookup and lookup.known is not None else ""
    return Table(
        f"Modalities and baselines on {split}",
        ("answered from", *columns),
        [(each, *(number(values.get(column)) for column in columns)) for each, values in rows],
        note=f"The look-up answers what the same transcript has in train, else the {answer}." + known if lookup else "",
    )


def _alone(modalities: str) -> str:
    names = modalities.split("+")
    return f"{names[0]} alone" if len(names) == 1 else " + ".join(names)


def _main(summary: Summary) -> tuple[str, ...]:
    return tuple(metric for metric in summary.main if metric != "map")


def contradictions(modalities: Sequence[str], summaries: Sequence[Summary], subsets: Subsets) -> list[str]:
    """Where `subsets.json` says another thing of all modalities than the predictions: it is of another checkpoint."""
    same = subsets.values.get("+".join(sorted(modalities)), {})
    split, own = summaries[0].group.split, own_values(summaries)
    if subsets.split != split:
        return []
    for metric, value in own.items():
        logged = same.get(metric)
        if logged is not None and abs(logged - value) > 1e-4:
            return [f"subsets.json of {split} has {metric} {logged:.4f} of all modalities, the predictions {value:.4f}"]
    return []

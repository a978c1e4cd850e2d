"""What a run loses under stress: `fairseq-validate --stress` writes results of `SPLIT@STRESS` beside those of SPLIT."""

from collections.abc import Sequence
from pathlib import Path

from .. import metrics
from ..errors import MMFairseqError
from ..tables import Table, number
from . import predictions
from .baselines import own_values
from .predictions import REGRESSION
from .summary import Summary, summarise
from .tables import signed

Row = tuple[tuple[str, str, str, str], tuple[float, float, float], int]
"""Split, target, stress and metric; value, that without stress and the difference; number of utterances."""


def of_split(summary: Summary) -> tuple[str, str]:
    """The split that was scored, and the stress that it was under; "" for none."""
    split, _, stress = summary.group.split.partition("@")
    return split, stress


def take_apart(summaries: Sequence[Summary]) -> tuple[list[Summary], list[Summary]]:
    """Those without stress, and those under stress, among them what lies in folders beside the others'.

    Results under stress that have nothing to be compared with are taken as a split of their own.
    """
    plain = {of_split(summary)[0] for summary in summaries if not of_split(summary)[1]}
    kept = [summary for summary in summaries if not of_split(summary)[1] or of_split(summary)[0] not in plain]
    stressed = [summary for summary in summaries if all(summary is not other for other in kept)]
    known = {summary.group.file.resolve() for summary in summaries}
    for file in {summary.group.file: None for summary in kept}:
        stressed += [
            summarise(group) for each in _beside(file) if each not in known for group in predictions.read(each)
        ]
    return kept, sorted(stressed, key=_rank)


def _beside(file: Path) -> list[Path]:
    """RUN/SPLIT@STRESS/predictions.jsonl of RUN/SPLIT/predictions.jsonl."""
    folder = file.resolve().parent
    found = (each / file.name for each in sorted(folder.parent.iterdir()) if each.name.startswith(f"{folder.name}@"))
    return [each for each in found if each.is_file()]


def _rank(summary: Summary) -> tuple[str, str, float, str]:
    """Loud noise behind faint noise."""
    split, stress = of_split(summary)
    kind, _, value = stress.partition("=")
    return split, kind, -float(value) if kind == "noise" else 0.0, value


def check(wanted: Sequence[str], stressed: Sequence[Summary]) -> None:
    """Raises MMFairseqError where a stress that is asked for has no results."""
    there = list(dict.fromkeys(of_split(summary)[1] for summary in stressed))
    for name in wanted:
        if name not in there:
            raise MMFairseqError(
                f"--stress {name}: no such results beside the others; fairseq-validate --stress writes them; there is "
                f"{', '.join(there) or 'none'}"
            )


def table(plain: Sequence[Summary], stressed: Sequence[Summary], wanted: Sequence[str] = ()) -> Table | None:
    """Value and change of the main metrics under each stress; None where there is none.

    Args:
        plain: the targets of one split.
        stressed: of the run.
        wanted: which, in this order; all where there are none.
    """
    split, several = plain[0].group.split, len(plain) > 1
    by_name: dict[str, list[Summary]] = {}
    for summary in stressed:
        if of_split(summary)[0] == split:
            by_name.setdefault(of_split(summary)[1], []).append(summary)
    names = [name for name in wanted or by_name if name in by_name]
    if not names:
        return None
    own = own_values(plain)
    shown = [metrics.log_name(metric, each.group.name, several) for each in plain for metric in _main(each, several)]
    shown += ["exact_match"] if "exact_match" in own else []
    rows = [("nothing", *(cell for name in shown for cell in (number(own[name]), "")), f"{len(plain[0].items):,}")]
    for name in names:
        values = own_values(by_name[name])
        pairs = [(values.get(each, float("nan")), own[each]) for each in shown]
        cells = [cell for value, clean in pairs for cell in (number(value), signed(value - clean))]
        rows.append((name, *cells, f"{len(by_name[name][0].items):,}"))
    columns = [column for name in shown for column in (name, "change")]
    return Table(f"Under stress: {split}", ("stress", *columns, "n"), rows, note=NOTE)


NOTE = (
    "The same checkpoint on the same utterances: white noise at a ratio in dB, recognised texts, a modality withheld."
)


def _main(summary: Summary, several: bool) -> tuple[str, ...]:
    """The metrics that are shown: few, as each has two columns."""
    return summary.main[: 1 if several else 2] if summary.kind == REGRESSION or several else summary.main


def rows(plain: Sequence[Summary], stressed: Sequence[Summary]) -> list[Row]:
    """Every metric of every target under every stress, for a csv file."""
    clean = {summary.group.key: summary for summary in plain}
    found: list[Row] = []
    for summary in stressed:
        split, stress = of_split(summary)
        own = clean.get((summary.group.name, split))
        for metric in summary.headline if own else ():
            assert own is not None
            value, before = summary.values[metric], own.values[metric]
            names = (split, summary.group.name, stress, metric)
            found.append((names, (value, before, value - before), len(summary.items)))
    return found

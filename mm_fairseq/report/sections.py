"""What a report shows, in the order of a reader's questions; the templates only lay it out."""

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import metrics
from ..resampling import FEW
from ..tables import Table, number
from . import baselines, figures, mistakes, runs, stress, tables
from .figures import Picture
from .predictions import REGRESSION
from .runs import Run
from .slices import cut
from .summary import Summary, exact_match
from .tables import Change


@dataclass(frozen=True)
class Section:
    """One target on one split.

    Args:
        summary: its numbers.
        intervals: main metric -> low and high end of its 95 % interval.
        headline: this run beside those it is compared with.
        different: names of runs that were scored on other utterances.
        changes: the paired differences to the other runs.
        classes: tables of the classes.
        confusion: the matrix as text; None where there is none.
        picture: of the confusion matrix, or truth against prediction; None where there is neither.
        curves: learning curves of the target's metrics.
        best: sentence on the best epoch; "" where it is not known.
        calibration: reliability diagram; None without scores.
        slices: the metrics of parts of the split.
        same: properties that all utterances share: name and value.
        errors: the gravest ones.
    """

    summary: Summary
    intervals: dict[str, tuple[float, float]]
    headline: Table
    different: list[str]
    changes: list[Change]
    classes: list[Table]
    confusion: Table | None
    picture: Picture | None
    curves: list[Picture]
    best: str
    calibration: Picture | None
    slices: list[Table]
    same: list[tuple[str, str]]
    errors: Table

    @property
    def title(self) -> str:
        return self.headline.title

    @property
    def drawn_over(self) -> str:
        """What the intervals are drawn over, as a sentence; "" where there are none."""
        speakers = {name for name in self.summary.speakers if name}
        if not self.intervals or not self.summary.items:
            return ""
        if not speakers:
            return "Intervals: 95 %, bootstrap over utterances, as the speakers are not known."
        if len(speakers) < 2:
            return "No intervals: a bootstrap over speakers needs two of them."
        few = "; of so few they are too narrow" if len(speakers) < FEW else ""
        return f"Intervals: 95 %, bootstrap over {len(speakers)} speakers{few}."

    @property
    def reach(self) -> float:
        """The largest end of an interval of the differences, in which they are drawn; 1 where there is none."""
        ends = [abs(end) for change in self.changes for end in change.difference[:3]]
        return max((end for end in ends if math.isfinite(end) and end), default=1.0)

    @property
    def pictures(self) -> list[Picture]:
        """All pictures."""
        return [picture for picture in (self.picture, *self.curves, self.calibration) if picture]


@dataclass(frozen=True)
class Report:
    """Everything that a report shows.

    Args:
        run: of the report.
        sections: one a target and split, test first.
        exact: split, and (share, number) of utterances right in every target.
        systems: what the runs side by side are; empty where it is one run, or nothing is known of them.
        baselines: for each split, the run beside its parts and what needs no model.
        stress: for each split, what the run loses under stress.
        legend: metric names and what they mean.
        files: names of the files in the folder.
    """

    run: Run
    sections: list[Section]
    exact: list[tuple[str, tuple[float, int]]]
    systems: list[Table]
    baselines: list[Table]
    stress: list[Table]
    legend: list[tuple[str, str]]
    files: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What was run, in short."""
        return [(term, text) for term, text in runs.provenance(self.run) if term not in ("data (sha256)", "versions")]

    @property
    def provenance(self) -> list[tuple[str, str]]:
        """What another person needs to get the same numbers."""
        command = shlex.join(self.run.record.command)
        rest = [("training command", command)] if command else []
        return [*runs.provenance(self.run), *rest]

    @property
    def lost(self) -> list[str]:
        return runs.lost(self.run)

    @property
    def contradictions(self) -> list[str]:
        return runs.contradictions(self.run)

    @property
    def overview(self) -> Table:
        """The main metrics of every target and split."""
        shown = list(dict.fromkeys(metric for section in self.sections for metric in section.summary.main))
        rows = [
            (
                section.title,
                *(number(section.summary.values.get(metric)) for metric in shown),
                f"{len(section.summary.items):,}",
            )
            for section in self.sections
        ]
        return Table("All targets", ("target and split", *shown, "n"), rows)


def build(all_runs: Sequence[Run], resamples: int, stresses: Sequence[str] = ()) -> Report:
    """Everything about the first run, and the others beside it.

    Args:
        all_runs: the run of the report, then those to compare it with.
        resamples: of each bootstrap; 0 for no intervals and no tests.
        stresses: those to show; all of the first run where there are none.

    Raises:
        MMFairseqError: the run has no results under a stress.
    """
    run, taken = all_runs[0], set[str]()
    stress.check(stresses, run.stressed)
    sections: list[Section] = []
    for summary in run.summaries:
        first_of_target = summary.group.name not in {section.summary.group.name for section in sections}
        sections.append(_section(all_runs, summary, resamples, first_of_target, not sections, taken))
    shown = dict.fromkeys(metric for summary in run.summaries for metric in summary.headline)
    return Report(
        run,
        sections,
        [(split, match) for split in run.splits if (match := exact_match(run.summaries, split))],
        [found] if (found := runs.systems(all_runs)) else [],
        _baselines(run),
        [found for split in run.splits if (found := stress.table(run.of_split(split), run.stressed, stresses))],
        [(metric, metrics.describe(metric)) for metric in shown],
    )


def _baselines(run: Run) -> list[Table]:
    found = []
    for split in run.splits:
        record = run.records.get(split, runs.Record())
        found.append(baselines.table(run.name, record.modalities, run.of_split(split), record.baselines, run.subsets))
    return [table for table in found if table]


def _section(
    all_runs: Sequence[Run], summary: Summary, resamples: int, with_curves: bool, with_loss: bool, taken: set[str]
) -> Section:
    run, key = all_runs[0], summary.group.key
    beside = [(other.name, found) for other in all_runs[1:] if (found := other.summary(key))]
    stem = "_".join((key[0], *([key[1]] if len(run.splits) > 1 else [])))
    side_by_side = [(run.name, summary), *beside]
    slices, same = cut(summary.items)
    curves, best = _curves(run, summary, with_loss, stem, taken) if with_curves else ([], "")
    return Section(
        summary=summary,
        intervals=summary.intervals(resamples) if resamples and summary.items else {},
        headline=tables.headline(side_by_side),
        different=tables.different_items(side_by_side),
        changes=_changes(summary, beside, resamples) if resamples else [],
        classes=tables.classes(summary),
        confusion=tables.confusion(summary) if summary.matrix is not None else None,
        picture=_main_picture(summary, stem, taken),
        curves=curves,
        best=best,
        calibration=_calibration(summary, stem, taken),
        slices=[tables.of_slice(summary, piece) for piece in slices],
        same=same,
        errors=mistakes.gravest(summary),
    )


def _changes(summary: Summary, beside: Sequence[tuple[str, Summary]], resamples: int) -> list[Change]:
    return [
        Change(name, metric, difference, len(summary.common(other)[0]))
        for name, other in beside
        if other.kind == summary.kind and len(summary.common(other)[0])
        for metric, difference in summary.against(other, resamples).items()
    ]


def _main_picture(summary: Summary, stem: str, taken: set[str]) -> Picture | None:
    if summary.matrix is not None:
        return Picture(_file_name(f"confusion_{stem}", taken), "Confusion matrix", figures.confusion(summary))
    if summary.kind == REGRESSION:
        return Picture(_file_name(f"scatter_{stem}", taken), "Prediction against truth", figures.scatter(summary))
    return None


def _calibration(summary: Summary, stem: str, taken: set[str]) -> Picture | None:
    bins = summary.calibration()
    if bins is None:
        return None
    of = "share that is right" if summary.kind == "single" else "share that is yes"
    svg = figures.reliability(bins, summary.values["ece"], of)
    return Picture(_file_name(f"reliability_{stem}", taken), "Reliability diagram", svg)


def _curves(run: Run, summary: Summary, with_loss: bool, stem: str, taken: set[str]) -> tuple[list[Picture], str]:
    """Learning curves of a target, and of the whole where `with_loss`."""
    log = run.curves
    wanted = [name for metric in summary.main for name in (metric, f"{metric}_{summary.group.name}")]
    if with_loss:
        wanted = ["loss", *wanted, "exact_match", log.selects]
    best = log.best()
    pictures = [
        Picture(
            _file_name(f"curve_{stem}_{metric}", taken),
            f"{metric} by epoch",
            figures.curve(metric, log.values[metric], best[0] if best and metric == log.selects else None),
        )
        for metric in dict.fromkeys(wanted)
        if metric in log.values
    ]
    if not (pictures and best):
        return pictures, ""
    return pictures, f"The best {log.selects} on valid, {number(best[1])}, is that of epoch {best[0]}."


def _file_name(text: str, taken: set[str]) -> str:
    """A safe name of an SVG file that is not yet taken; letters of every script are kept."""
    base = stem = re.sub(r"[^\w.-]+", "_", text).strip("._") or "picture"
    number = 1
    while stem in taken:
        number += 1
        stem = f"{base}_{number}"
    taken.add(stem)
    return f"{stem}.svg"

"""A report's numbers as csv files: one line a fact, easy to filter whatever the targets are."""

import csv
import io
from collections.abc import Iterable, Sequence

from . import stress as under_stress
from . import tables
from .runs import Run
from .sections import Section
from .slices import cut
from .summary import Summary

METRICS = ("run", "split", "target", "slice", "part", "class", "metric", "value", "low", "high")
PREDICTIONS = ("id", "split", "target", "kind", "truth", "prediction", "right", "score", "modalities")
ABOUT = ("speaker", "session", "dialogue", "seconds", "transcript_in_train", "text")


def metrics(runs: Sequence[Run], sections: Sequence[Section]) -> str:
    """Every metric of every run: of the whole, of each part of a slice, and of each class.

    `low` and `high` are the ends of the 95 % interval, of the first run's main metrics.
    """
    rows: list[Sequence[object]] = []
    intervals = {section.summary.group.key: section.intervals for section in sections}
    for run in runs:
        for summary in run.summaries:
            place = (run.name, summary.group.split, summary.group.name)
            known = intervals.get(summary.group.key, {}) if run is runs[0] else {}
            rows.append((*place, "", "", "", "n", len(summary.items)))
            for metric in summary.headline:
                numbers = summary.values[metric], *known.get(metric, ())
                rows.append((*place, "", "", "", metric, *map(_value, numbers)))
            for label, values in tables.class_scores(summary).items():
                rows += [(*place, "", "", label, metric, _value(value)) for metric, value in values.items()]
            for piece in cut(summary.items)[0]:
                for part, values, n in piece.rows(summary):
                    rows.append((*place, piece.name, part, "", "n", n))
                    rows += [(*place, piece.name, part, "", metric, _value(value)) for metric, value in values.items()]
    return _csv(METRICS, rows)


def predictions(summaries: Sequence[Summary]) -> str:
    """One line an utterance and target; several labels of one are joined by |."""
    items = [(summary, item) for summary in summaries for item in summary.group.items]
    classes = list(dict.fromkeys(label for _, item in items for label in item.scores))
    attributes = list(dict.fromkeys(name for _, item in items for name in item.attributes))
    rows = []
    for summary, item in items:
        group, scored = summary.group, isinstance(item.prediction, str)
        rows.append(
            (
                *(item.id, group.split, group.name, group.kind, _label(item.target), _label(item.prediction)),
                "" if item.target is None else int(item.right),
                item.scores.get(str(item.prediction), "") if scored else "",
                *("|".join(item.modalities), item.speaker, item.session, item.dialogue, item.seconds),
                *(None if item.seen is None else int(item.seen), item.text),
                *(item.attributes.get(name, "") for name in attributes),
                *(item.scores.get(label, "") for label in classes),
            )
        )
    return _csv((*PREDICTIONS, *ABOUT, *attributes, *(f"p:{label}" for label in classes)), rows)


def confusion(sections: Iterable[Section]) -> str:
    """Each cell of each confusion matrix: count, and share of the true class."""
    rows = [
        (*summary.group.key[::-1], truth, said, summary.matrix[i, j], _value(summary.rates[i, j]))
        for summary in (section.summary for section in sections)
        if summary.matrix is not None
        for i, truth in enumerate(summary.classes)
        for j, said in enumerate(summary.classes)
    ]
    return _csv(("split", "target", "truth", "prediction", "count", "share"), rows) if rows else ""


def differences(sections: Iterable[Section]) -> str:
    """The paired differences between this run and others; no text where there is none."""
    rows = [
        (*section.summary.group.key[::-1], change.run, change.metric, *map(_value, change.difference), change.items)
        for section in sections
        for change in section.changes
    ]
    return _csv(("split", "target", "minus", "metric", "difference", "low", "high", "p", "n"), rows) if rows else ""


def stress(run: Run) -> str:
    """Every metric under every stress, and what it is without; no text where there is none."""
    found = under_stress.rows(run.summaries, run.stressed)
    rows = [(*names, *map(_value, numbers), n) for names, numbers, n in found]
    columns = ("split", "target", "stress", "metric", "value", "without_stress", "difference", "n")
    return _csv(columns, rows) if rows else ""


def curves(run: Run) -> str:
    """Every metric of the training log by epoch; no text without a log."""
    rows = [
        (metric, tag, epoch, _value(value))
        for metric, by_tag in run.curves.values.items()
        for tag, points in by_tag.items()
        for epoch, value in sorted(points.items())
    ]
    return _csv(("metric", "split", "epoch", "value"), rows) if rows else ""


def _value(value: float) -> str:
    return f"{value:.6f}"


def _label(label: object) -> object:
    return "|".join(label) if isinstance(label, tuple) else label


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([*row, *[""] * (len(columns) - len(row))] for row in rows)
    return file.getvalue()

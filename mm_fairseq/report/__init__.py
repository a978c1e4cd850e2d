"""Predictions to tables and pictures: `write` is all that callers need."""

import csv
import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import figures, html, predictions, tables
from .html import Report, Section

__all__ = ["Report", "Section", "write"]


def write(
    path: str | os.PathLike,
    out: str | os.PathLike,
    name: str | None = None,
    compare: Sequence[tuple[str, str | os.PathLike]] = (),
) -> Report:
    """Write `index.html`, `report.md`, `metrics.csv` and one picture a target into a folder.

    Args:
        path: a file of predictions, or a folder with such files below it.
        out: the folder; made where it is missing.
        name: what to call the run; when None, the name of its folder, or of a file that is not `predictions.jsonl`.
        compare: names and predictions of other runs to show beside it.

    Returns:
        What was written.

    Raises:
        MMFairseqError: predictions are missing or malformed.
    """
    path, out = Path(path), Path(out)
    name = name or _run_name(path)
    runs = [
        (run, [tables.summarise(group) for group in predictions.read(file)]) for run, file in ((name, path), *compare)
    ]
    summaries = runs[0][1]
    several = len({summary.group.split for summary in summaries}) > 1
    sections, taken = [], set[str]()
    for summary in summaries:
        key, classes = summary.group.key, summary.matrix is not None
        stem = _file_name(
            "_".join(("confusion" if classes else "scatter", key[0], *([key[1]] if several else []))), taken
        )
        sections.append(
            Section(
                summary,
                tables.headline(runs, key),
                tables.different_items(runs, key),
                tables.confusion_table(summary) if classes else None,
                f"{stem}.png",
                figures.confusion(summary) if classes else figures.scatter(summary),
            )
        )
    splits = dict.fromkeys(summary.group.split for summary in summaries)
    shown = dict.fromkeys(metric for summary in summaries for metric in summary.scores)
    report = Report(
        name,
        sections,
        [(split, match) for split in splits if (match := tables.exact_match(summaries, split))],
        [(metric, tables.NAMES[metric]) for metric in shown],
    )
    out.mkdir(parents=True, exist_ok=True)
    for section in sections:
        (out / section.picture).write_bytes(section.picture_png)
    (out / "report.md").write_text(html.markdown(report), encoding="utf-8")
    (out / "metrics.csv").write_text(_csv(runs), encoding="utf-8")
    (out / "index.html").write_text(html.page(report), encoding="utf-8")
    return report


def _run_name(path: Path) -> str:
    """The last part of a path that tells runs apart: `fairseq-validate` writes RUN/SPLIT/predictions.jsonl."""
    common = {"predictions.jsonl", *predictions.SPLIT_ORDER}
    parts = [part for part in path.resolve().parts if part not in common]
    return parts[-1].removesuffix(".jsonl")


def _csv(runs: Iterable[tuple[str, Sequence[tables.Summary]]]) -> str:
    """One line a metric: easy to filter, whatever the targets are."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("run", "split", "target", "class", "metric", "value"))
    for run, summaries in runs:
        for summary in summaries:
            place = (run, summary.group.split, summary.group.name)
            writer.writerow((*place, "", "n", summary.items))
            writer.writerows((*place, "", metric, f"{value:.6f}") for metric, value in summary.scores.items())
            for label, values in tables.class_scores(summary).items():
                writer.writerows((*place, label, metric, f"{value:.6f}") for metric, value in values.items())
    return file.getvalue()


def _file_name(text: str, taken: set[str]) -> str:
    """A safe file name that is not yet taken; letters of every script are kept."""
    base = stem = re.sub(r"[^\w.-]+", "_", text).strip("._") or "picture"
    number = 1
    while stem in taken:
        number += 1
        stem = f"{base}_{number}"
    taken.add(stem)
    return stem

"""Predictions to tables and pictures: `write` is all that callers need."""

import os
from collections.abc import Sequence
from pathlib import Path

from . import card, export, html, runs, sections
from .sections import Report, Section

__all__ = ["Report", "Section", "write"]


def write(
    path: str | os.PathLike,
    out: str | os.PathLike,
    name: str | None = None,
    compare: Sequence[tuple[str, str | os.PathLike]] = (),
    resamples: int = 1000,
    stresses: Sequence[str] = (),
) -> Report:
    """Write a report into a folder: page, Markdown, model card, csv files, pictures.

    Args:
        path: a file of predictions, or a folder with such files below it.
        out: the folder; made where it is missing.
        name: what to call the run; when None, the name of its folder, or of a file that is not `predictions.jsonl`.
        compare: names and predictions of other runs to show beside it.
        resamples: of the bootstrap for intervals and tests; 0 for neither.
        stresses: of `fairseq-validate --stress`, which to show; where there are none, all that lie beside the others.

    Returns:
        What was written.

    Raises:
        MMFairseqError: predictions are missing or malformed, `results.json` or a file beside them is, or there are no
            results under a stress that is asked for.
    """
    all_runs = [runs.read(Path(file), run) for run, file in ((name, path), *compare)]
    report = sections.build(all_runs, resamples, stresses)
    tables = {
        "metrics.csv": export.metrics(all_runs, report.sections),
        "predictions.csv": export.predictions(report.run.summaries),
        "confusion.csv": export.confusion(report.sections),
        "differences.csv": export.differences(report.sections),
        "stress.csv": export.stress(report.run),
        "curves.csv": export.curves(report.run),
    }
    pictures = {picture.name: picture.svg for section in report.sections for picture in section.pictures}
    contents = {file: text for file, text in (tables | pictures).items() if text}
    report.files.extend(["index.html", "report.md", "model_card.md", *contents])
    contents |= {
        "index.html": html.page(report),
        "report.md": html.markdown(report),
        "model_card.md": card.write(report),
    }
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in contents.items():
        (folder / file).write_text(text, encoding="utf-8")
    return report

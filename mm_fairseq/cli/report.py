"""Turn predictions into tables, a confusion matrix picture, Markdown and a web page.

`fairseq-validate` writes the predictions. The page is one file that needs no network.
"""

import argparse
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ..errors import MMFairseqError
from ..report import Section, write
from ..report.tables import Table, changes

WIDEST = 12  # classes of a confusion matrix that a terminal shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to read, where to write, what to compare with."""
    parser.add_argument("predictions", help="a run's folder, or a file of predictions (.jsonl)")
    parser.add_argument("out", help="folder to write the page, Markdown, model card, csv files and pictures into")
    parser.add_argument("--name", help="what to call the run (default: the name of PREDICTIONS)")
    parser.add_argument(
        "--compare",
        metavar="NAME=PREDICTIONS",
        action="append",
        default=[],
        help="another run to show and test beside it; may be given several times",
    )
    parser.add_argument(
        "--resamples",
        metavar="N",
        type=int,
        default=1000,
        help="of the bootstrap over speakers, for intervals and tests; 0 for neither (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the report; print the headline, differences, confusion matrix, and where the page is."""
    if args.resamples < 0:
        raise MMFairseqError(f"--resamples {args.resamples}: expected 0 or more")
    report = write(args.predictions, args.out, args.name, [_pair(text) for text in args.compare], args.resamples)
    width = None if sys.stdout.isatty() else max(120, shutil.get_terminal_size().columns)
    console = Console(width=width)
    for section in report.sections:
        console.print(_drawn(section.headline))
        if section.confusion and len(section.summary.classes) <= WIDEST:
            console.print(_drawn(section.confusion))
        if section.changes:
            console.print(_drawn(changes(report.name, section.changes)))
        for name in section.different:
            console.print(Text(f"{name} was scored on other utterances than {report.name}: the rows do not compare"))
    for split, (share, items) in report.exact:
        console.print(Text(f"all targets right at once on {split}: {share:.3f} of {items} utterances"))
    page = Path(args.out, "index.html").resolve()
    console.print(Text(f"report: {page}"), soft_wrap=True)
    for section in report.sections:
        sys.stdout.write(_line(section, len(report.sections)) + "\n")
    return 0


def _line(section: Section, sections: int) -> str:
    """One line for scripts: `test wa=0.812 ua=...`; with the target's name where the report has more than one table."""
    summary = section.summary
    name = [summary.group.name] if sections > 1 else []
    values = [f"{metric}={summary.values[metric]:.3f}" for metric in summary.main]
    return " ".join([summary.group.split, *name, *values])


def _pair(text: str) -> tuple[str, str]:
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise MMFairseqError(f"--compare {text!r}: expected NAME=PREDICTIONS, as in audio=runs/audio/predictions.jsonl")
    return name, path


def _drawn(table: Table) -> RichTable:
    drawn = RichTable(title=Text(table.title), title_justify="left")
    for position, column in enumerate(table.columns):
        drawn.add_column(Text(column), justify="right" if table.numeric and position else "left", no_wrap=position > 0)
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn

"""Turn predictions into tables, a confusion matrix picture, Markdown and a web page.

`fairseq-validate` writes the predictions. The page is one file that needs no network.
"""

import argparse
import sys
from pathlib import Path

from ..errors import MMFairseqError
from ..report import Section, write
from ..report.tables import changes
from ._tables import show, words

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
    parser.add_argument(
        "--stress",
        metavar="LIST",
        default="",
        help="which results of fairseq-validate --stress to show (default: all that lie beside the others)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the report; print the headline, differences, confusion matrix, and where the page is."""
    if args.resamples < 0:
        raise MMFairseqError(f"--resamples {args.resamples}: expected 0 or more")
    pairs = [_pair(text) for text in args.compare]
    report = write(args.predictions, args.out, args.name, pairs, args.resamples, words(args.stress))
    for section in report.sections:
        show(section.headline)
        if section.confusion and len(section.summary.classes) <= WIDEST:
            show(section.confusion)
        if section.changes:
            show(changes(report.name, section.changes))
        for name in section.different:
            show(f"{name} was scored on other utterances than {report.name}: the rows do not compare")
    for table in (*report.systems, *report.baselines, *report.stress):
        show(table, *([table.note] if table.note else []))
    for split, (share, items) in report.exact:
        show(f"all targets right at once on {split}: {share:.3f} of {items} utterances")
    show(f"report: {Path(args.out, 'index.html').resolve()}")
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

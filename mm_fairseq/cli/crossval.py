"""Train and test every fold of a protocol, with several seeds, through the real fairseq commands, and add it all up.

`mm-fairseq crossval DATA --seeds 1,2,3 --jobs 2 -- --arch ssl_fusion --lr 0.001 --optimizer adam --max-epoch 20 ...`

Selection reads valid only; test is read once, by fairseq-validate. Killed and started again, it goes on where it was.
"""

import argparse
from pathlib import Path

from ..evaluation import crossval, plan
from ._tables import show, words

FURTHER = "arguments of fairseq-train"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to run and where."""
    parser.add_argument("data", type=Path, metavar="DATA", help="data-bin folder")
    parser.add_argument("--protocol", default="", metavar="P", help="default: the first of the data-bin")
    parser.add_argument("--folds", default="", metavar="LIST", help="comma list (default: all)")
    parser.add_argument("--seeds", default="1", metavar="LIST", help="comma list of numbers (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("crossval"), help="folder to write (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="trainings at a time (default: %(default)s)")
    parser.add_argument("--metric", default="", metavar="LIST", help="metrics to show (default: the main ones)")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="for intervals (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run what is missing, print the table and where the files are."""
    made = plan.make(args.data, args.protocol, words(args.folds), words(args.seeds), args.out, args.further)
    summary = crossval.run(made, args.jobs, words(args.metric), args.resamples)
    show(summary.table(made.title), f"written: {args.out}/summary.json, .csv, .md and {args.out}/pooled")
    return 0

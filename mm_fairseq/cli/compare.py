"""Tell whether two systems differ: paired bootstrap between two files of predictions for the same utterances.

Whole speakers are drawn with replacement, both systems are scored on each draw, and the difference is B - A.
"""

import argparse

from ..evaluation import compare, scores
from ..resampling import FEW
from ._tables import show, words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two systems, what to compare and how to draw."""
    parser.add_argument("first", metavar="A", help="a file of predictions (.jsonl), or a folder with one below it")
    parser.add_argument("second", metavar="B", help="that of the other system")
    parser.add_argument("--metric", default="", metavar="LIST", help="named as in the log (default: the main ones)")
    parser.add_argument("--target", default="", metavar="NAME", help="only this target (default: all)")
    parser.add_argument("--split", default="", metavar="SPLIT", help="only this split (default: test if it is there)")
    parser.add_argument("--by", choices=scores.BY, default="speaker", help="drawn as a whole (default: %(default)s)")
    parser.add_argument("--resamples", type=int, default=1000, metavar="N", help="draws (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the drawing (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print a table, a row a metric."""
    first = scores.load(args.first, args.split, args.target)
    second = scores.load(args.second, args.split or first[0].split, args.target)
    found = compare.compare(first, second, words(args.metric), args.by, args.resamples, args.seed)
    drawn = f"{args.resamples} resamples of {found[0].groups} {args.by}s, seed {args.seed}; p is two-sided"
    if found[0].groups < FEW:
        drawn += "; of so few the interval is too narrow"
    show(compare.table(f"B - A on {first[0].split}", found), f"A: {args.first}", f"B: {args.second}", drawn)
    return 0

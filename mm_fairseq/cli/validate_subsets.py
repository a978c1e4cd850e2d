"""Evaluate one checkpoint on every subset of its modalities, the others withheld, and table the result.

A model that was trained with --modality-dropout is made for it.
"""

import argparse
from pathlib import Path

from ..evaluation import subsets
from ._tables import show, words

FURTHER = "arguments of fairseq-validate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to evaluate and where to write."""
    parser.add_argument("data", type=Path, metavar="DATA", help="data-bin folder")
    parser.add_argument("--path", type=Path, required=True, metavar="CHECKPOINT", help="as fairseq-train writes it")
    parser.add_argument("--valid-subset", default="test", metavar="SPLIT", help="split to score (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder to write (default: subsets, beside the checkpoint)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at a time (default: %(default)s)")
    parser.add_argument("--metric", default="", metavar="LIST", help="metrics to show (default: the main ones)")


def run(args: argparse.Namespace) -> int:
    """Run what is missing, print the table and where the files are."""
    out = args.out or args.path.parent / "subsets"
    found = subsets.run(args.data, args.path, args.valid_subset, out, args.further, args.jobs, words(args.metric))
    show(subsets.table(f"{args.path.name} on {args.valid_subset}", found), f"written: {out}/subsets.json, .csv, .md")
    return 0

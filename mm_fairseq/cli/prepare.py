"""`mm-fairseq prepare`: turn a raw corpus into a manifest with splits and targets."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ..corpora import CORPORA, base

SHOWN = 12  # values of an attribute


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `CORPUS RAW OUT` and the options of each corpus."""
    corpora = parser.add_subparsers(dest="corpus", required=True, metavar="{" + ",".join(CORPORA.names()) + "}")
    for name in CORPORA.names():
        corpus = CORPORA.get(name)
        each = corpora.add_parser(name, help=corpus.help, description=corpus.help)
        each.add_argument("raw", type=Path, metavar="RAW", help=corpus.raw)
        each.add_argument("out", type=Path, metavar="OUT", help="the prepared folder to write")
        each.add_argument("--overwrite", action="store_true", help="replace an OUT that an earlier run wrote")
        corpus.add_arguments(each)


def run(args: argparse.Namespace) -> int:
    """Parse the corpus, compare the counts, write OUT, show the account; 0 on success."""
    base.check_free(args.out, args.overwrite)
    prepared = CORPORA.get(args.corpus)().parse(Path(os.path.abspath(args.raw)), args)
    base.check_counts(prepared, getattr(args, "accept_counts", False))
    account = base.write(args.corpus, prepared, args.out, args.overwrite)
    show(account, Console(width=None if sys.stdout.isatty() else 160))
    return 0


def show(account: dict[str, Any], console: Console) -> None:
    """Print an account: a line of totals, one table a target and protocol, the notes."""
    media = ", ".join(f"{modality} {count}" for modality, count in account["modalities"].items())
    totals = f"{account['utterances']} utterances ({media}), {len(account['speakers'])} speakers"
    console.print(f"{account['corpus']}: {totals}", highlight=False, soft_wrap=True)
    for target in account["targets"]:
        for protocol in account["splits"]:
            console.print(_table(account, target, protocol))
    for target, votes in account["votes"].items():
        said = f"{votes['utterances']} utterances, {votes['mean']:.4g} each in the mean"
        console.print(f"votes of {target}: {said}", highlight=False, markup=False, soft_wrap=True)
    for name, counts in account["attributes"].items():
        told = ", ".join(f"{value or '(none)'} {count}" for value, count in list(counts.items())[:SHOWN])
        rest = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
        console.print(f"{name}: {told}{rest}", highlight=False, markup=False, soft_wrap=True)
    if account["excluded"]:
        left_out = ", ".join(f"{label} {count}" for label, count in account["excluded"].items())
        console.print(f"left out: {left_out}", highlight=False, markup=False, soft_wrap=True)
    for clip, reason in account["known_bad"].items():
        console.print(f"known bad, left out: {clip}: {reason}", highlight=False, markup=False, soft_wrap=True)
    for note in account["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


def _table(account: dict[str, Any], target: str, protocol: str) -> Table:
    columns = list(account["targets"][target])
    table = Table(title=f"{target}, {protocol}", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("fold", no_wrap=True)
    for name in ("rows", "speakers", *({"": "(no label)", "|": "(none of them)"}.get(name, name) for name in columns)):
        table.add_column(name, justify="right", no_wrap=True)
    for fold, splits in account["splits"][protocol].items():
        for split, counts in splits.items():
            labels = [f"{counts['targets'][target].get(name, 0):.6g}" for name in columns]
            table.add_row(f"{fold} {split}", str(counts["utterances"]), str(counts["speakers"]), *labels)
    return table

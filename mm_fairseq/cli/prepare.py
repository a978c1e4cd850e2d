"""`mm-fairseq prepare`: turn a raw corpus into a manifest with splits and targets, and say what is in it.

Splits that share what they must not are an error, of status 1; nothing is written then.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..corpora import CORPORA, ParsedCorpus, base, label_map, writing
from ..preprocessing.audit import Leak, audit
from ..report import account as pages
from ..tables import Table, to_json
from ._tables import show

SHOWN = 12  # values of an attribute, leaks of a message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `CORPUS RAW OUT` and the options of each corpus."""
    corpora = parser.add_subparsers(dest="corpus", required=True, metavar="{" + ",".join(CORPORA.names()) + "}")
    for name in CORPORA.names():
        corpus = CORPORA.get(name)
        each = corpora.add_parser(name, help=corpus.help, description=corpus.help)
        each.add_argument("raw", type=Path, metavar="RAW", help=corpus.raw)
        each.add_argument("out", type=Path, metavar="OUT", help="the prepared folder to write")
        each.add_argument("--overwrite", action="store_true", help="replace an OUT that an earlier run wrote")
        each.add_argument(
            "--label-map",
            type=Path,
            metavar="FILE",
            help='merge, rename or leave out labels, as FILE says: [target], then OLD = "NEW" in every line',
        )
        each.add_argument(
            "--accept-leaks",
            action="store_true",
            help="go on where splits share utterances, files of the same bytes, or what the protocol keeps apart",
        )
        corpus.add_arguments(each)


def run(args: argparse.Namespace) -> int:
    """Parse the corpus, compare the counts, audit it, write OUT, show the account; 0, or 1 where splits leak."""
    writing.check_free(args.out, args.overwrite)
    names = label_map.read(args.label_map) if args.label_map else None
    prepared = CORPORA.get(args.corpus)().parse(Path(os.path.abspath(args.raw)), args)
    base.check_counts(prepared, getattr(args, "accept_counts", False))
    if names:
        prepared = label_map.apply(prepared, names)
    found: dict[str, Any] = {}

    def examine(place: Path, account: dict[str, Any]) -> Mapping[str, str]:
        found.update(_examine(prepared, place, account, args.accept_leaks))
        return {"audit.json": to_json(found), "account.html": pages.page(account, found)}

    try:
        account = writing.write(args.corpus, prepared, args.out, args.overwrite, examine)
    except Leak as error:
        sys.stderr.write(f"mm-fairseq prepare: error: {error}\n")
        return 1
    show(*told(account, found))
    return 0


def _examine(prepared: ParsedCorpus, place: Path, account: dict[str, Any], accept: bool) -> dict[str, Any]:
    """The audit, which is told in the account too.

    Raises:
        Leak: there are leaks and `accept` is False.
    """
    result = audit(prepared, place / prepared.manifest.root)
    if result.leaks and not accept:
        rest = len(result.leaks) - SHOWN
        raise Leak(
            "the splits leak: what is tested or chosen on would be trained on. Mend them, or give --accept-leaks to go "
            "on all the same\n"
            + "\n".join(f"  {leak}" for leak in result.leaks[:SHOWN])
            + (f"\n  and {rest} more" if rest > 0 else "")
        )
    result.accepted = bool(result.leaks)
    account["notes"] = [*account["notes"], *(f"accepted leak: {leak}" for leak in result.leaks)]
    account["durations"] = result.durations
    return result.to_json()


def told(account: dict[str, Any], found: dict[str, Any]) -> list[Table | str]:
    """The short form of account and audit for the terminal: tables and lines."""
    media = ", ".join(f"{modality} {count}" for modality, count in account["modalities"].items())
    parts: list[Table | str] = [
        f"{account['corpus']}: {account['utterances']} utterances ({media}), {len(account['speakers'])} speakers",
        *pages.counts(account),
        *pages.overlaps(found, brief=True),
        *pages.compared(account, found),
        *pages.baselines(found, list(account["targets"]), brief=True),
        f"durations: {pages.length(account)}",
    ]
    if account["published"]:
        same = sum(account["seen"].get(name, 0) == count for name, count in account["published"].items())
        parts.append(f"published counts: {same} of {len(account['published'])} are the same")
    for target, votes in account["votes"].items():
        parts.append(f"votes of {target}: {votes['utterances']} utterances, {votes['mean']:.4g} each in the mean")
    for name, counts in account["attributes"].items():
        values = ", ".join(f"{value or '(none)'} {count}" for value, count in list(counts.items())[:SHOWN])
        rest = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
        parts.append(f"{name}: {values}{rest}")
    if account["excluded"]:
        parts.append("left out: " + ", ".join(f"{label} {count}" for label, count in account["excluded"].items()))
    parts += [f"known bad, left out: {clip}: {reason}" for clip, reason in account["known_bad"].items()]
    parts += [f"note: {note}" for note in account["notes"]]
    return parts

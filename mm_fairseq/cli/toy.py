"""`mm-fairseq toy`: write a small synthetic corpus or small checkpoints, in the real formats."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `iemocap OUT` and `checkpoints OUT`."""
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="{iemocap,checkpoints}")
    corpus = kinds.add_parser("iemocap", help="a corpus on disk as IEMOCAP's release: wav, avi, labels, transcripts")
    corpus.add_argument("--utterances", type=int, default=400, metavar="N", help="how many (default: 400)")
    models = kinds.add_parser("checkpoints", help="wav2vec, RoBERTa and FAb-Net files of small or random networks")
    for kind in (corpus, models):
        kind.add_argument("out", type=Path, metavar="OUT", help="folder to write")
        kind.add_argument("--seed", type=int, default=1, metavar="S", help="of everything drawn (default: 1)")


def run(args: argparse.Namespace) -> int:
    """Write what was asked for; 0 on success."""
    if args.kind == "iemocap":
        from ..toy import iemocap

        iemocap.write(args.out, args.utterances, args.seed)
    else:
        from ..toy import checkpoints

        checkpoints.write(args.out, args.seed)
    return 0

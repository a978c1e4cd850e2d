"""Options of commands whose work several processes and machines may share."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to share the work among."""
    parser.add_argument(
        "--nshard",
        type=int,
        metavar="N",
        help="share the work among N runs, with --rank 0 to N-1 (default: 1; under torchrun its number of processes)",
    )
    parser.add_argument("--rank", type=int, metavar="R", help="which of the N this is (default: 0; torchrun's)")

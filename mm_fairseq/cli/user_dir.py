"""Print the folder of this package: `fairseq-train DATA --user-dir $(mm-fairseq user-dir)`."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(args: argparse.Namespace) -> int:
    """Print the folder."""
    sys.stdout.write(f"{Path(__file__).resolve().parent.parent}\n")
    return 0

"""Options of commands whose work several processes and machines may share."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MMFairseqError
from ..preprocessing.cluster import Engine
from ..preprocessing.on_ray import LOCAL, Ray
from ..preprocessing.share import Share
from ..preprocessing.slurm import KEYS, Slurm


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to share the work among."""
    parser.add_argument(
        "--nshard",
        type=int,
        metavar="N",
        help="share the work among N runs, with --rank 0 to N-1 (default: 1; under torchrun its number of processes); "
        "with --ray the number of tasks",
    )
    parser.add_argument("--rank", type=int, metavar="R", help="which of the N this is (default: 0; torchrun's)")
    parser.add_argument(
        "--slurm",
        metavar="KEY=VALUE,...",
        help="share the work among the jobs of a SLURM array and follow them: array=N (their number), time (minutes, "
        "1440 where not given), cluster=local to run them on this machine, and for SLURM "
        f"{', '.join(key for key in KEYS if key not in ('array', 'time', 'cluster'))}",
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const=LOCAL,
        metavar="ADDRESS",
        help="share the work among tasks of the Ray cluster at this address, HOST:PORT (auto: that of this machine; "
        "without an address one is started on this machine) and follow them",
    )


def share_of(args: argparse.Namespace) -> Share:
    """The share of this process, by options or torchrun.

    Raises:
        MMFairseqError: options that do not go together.
    """
    if args.slurm is None and args.ray is None:
        return Share.of(args.nshard, args.rank, os.environ)
    given = [name for name in ("slurm", "ray", "rank") if getattr(args, name) is not None]
    if len(given) > 1:
        raise MMFairseqError(f"--{given[0]} and --{given[1]}: one or the other")
    if args.slurm is not None and args.nshard is not None:
        raise MMFairseqError("--slurm and --nshard: the number of jobs is --slurm array=N")
    if Share.of(None, None, os.environ).ranks > 1:
        raise MMFairseqError(f"--{given[0]}: not under torchrun, whose processes share the work themselves")
    return Share()


@contextmanager
def engine_of(args: argparse.Namespace, gpus: int | None = 0) -> Iterator[Engine | None]:
    """What runs the jobs, where the work is shared by jobs.

    Args:
        args: with `workers`.
        gpus: that a task of Ray has; None for one where the cluster has any.
    """
    if args.slurm is None and args.ray is None:
        yield None
        return
    if args.workers is not None and args.workers < 1:
        raise MMFairseqError(f"--workers {args.workers}: at least 1")
    engine: Engine
    engine = Ray(args.ray, args.nshard, args.workers, gpus) if args.slurm is None else Slurm(args.slurm, args.workers)
    try:
        yield engine
    finally:
        engine.close()

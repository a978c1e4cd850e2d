"""Check every byte of a data-bin or a checkpoint, and name all that is broken.

Of a data-bin: checksums, bounds of indices, types, counts, numbers that are not finite, tokens, frames, rows of splits,
labels. Of a checkpoint: its checksum, the checksums within, and its weights. The exit status is 1 where something is
broken.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from .. import checkpoints
from ..databin.folder import META
from ..databin.streams import Advance
from ..databin.verify import Verified, verify
from ..errors import MMFairseqError, named
from ..preprocessing.engines import cores
from ..preprocessing.repair import repair

SHOWN = 5  # checkpoints in a message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", metavar="DATA_BIN|CHECKPOINT", help="folder of a data-bin, or file of a checkpoint")
    parser.add_argument(
        "--repair",
        action="store_true",
        help="mend a data-bin: small files from their copies in it, raw shards from the recordings, cached ones by the "
        "pretrained file that they were made with; only what is broken is made anew",
    )
    parser.add_argument("--workers", type=int, default=cores(), metavar="W", help="(default: the cores, %(default)s)")
    parser.add_argument(
        "--allow-unsafe-checkpoints",
        action="store_true",
        help="with --repair: load pretrained files that hold more than plain types: they may run any code",
    )


def run(args: argparse.Namespace) -> int:
    path = Path(args.path)
    if args.workers < 1:
        raise MMFairseqError(f"--workers {args.workers}: at least 1")
    if not path.exists():
        raise MMFairseqError(f"{path}: no such data-bin or checkpoint")
    if path.is_file():
        return _checkpoint(path, args.repair)
    if not (path / META).is_file() and (names := checkpoints.names_in(path)):
        told = f"the folder of a training, not a data-bin; name one of its checkpoints: {named(names, SHOWN)}"
        raise MMFairseqError(f"{path}: {told}")
    faults = _data_bin(path, args.workers).faults
    if faults and args.repair:
        _write(f"  {line}" for line in repair(path, faults, args.workers, args.allow_unsafe_checkpoints))
        faults = _data_bin(path, args.workers).faults
    return int(bool(faults))


def _data_bin(path: Path, workers: int) -> Verified:
    began = time.monotonic()
    with tqdm(desc=f"verify {path}", unit="B", unit_scale=True, disable=None, smoothing=0.05) as bar:

        def begin(size: int) -> Advance:
            bar.reset(size)
            return bar.update

        found = verify(path, workers, begin)
    _write(f"{path / fault.path}: {fault.reason}" for fault in found.faults)
    seconds = time.monotonic() - began
    told = f"{path}: {found.files} files, {found.bytes / 1e9:.3f} GB in {seconds:.1f} s: "
    _write([told + (f"{len(found.faults)} of them broken" if found.faults else "whole")])
    return found


def _checkpoint(path: Path, mend: bool) -> int:
    if mend:
        raise MMFairseqError(
            f"{path}: --repair is for data-bins; a training goes on from the newest checkpoint that is whole"
        )
    faults = checkpoint_faults(path)
    _write([*faults, f"{path}: broken" if faults else f"{path}: whole"])
    return int(bool(faults))


def checkpoint_faults(path: Path) -> list[str]:
    """What is wrong with a checkpoint, and with the file of its checksum, which a training does without."""
    faults, beside = checkpoints.check(path), checkpoints.sum_file(path)
    line = rf"[0-9a-f]{{64}}  {re.escape(path.name)}\n"
    if beside.is_file() and not re.fullmatch(f"(?:{line})+", beside.read_bytes().decode("utf-8", "replace")):
        faults.append(
            f"{beside}: damaged, cut short or of a checkpoint with another name than {path.name}; if the checkpoint is "
            "whole, `sha256sum` writes it anew"
        )
    return faults


def _write(lines: Iterable[str]) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()

"""Where a toy corpus is written, and what it is drawn from."""

from pathlib import Path

from ..errors import MMFairseqError


def check_seed(seed: int) -> None:
    """Raises MMFairseqError where NumPy takes no such seed."""
    if seed < 0:
        raise MMFairseqError(f"--seed {seed}: must be 0 or more")


def check_new(out: Path, seed: int) -> None:
    """As `check_seed`; raises MMFairseqError where `out` holds anything, too."""
    check_seed(seed)
    if out.is_dir() and any(out.iterdir()):
        raise MMFairseqError(f"{out}: holds other files already; name a new folder")

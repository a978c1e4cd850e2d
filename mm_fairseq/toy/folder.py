"""Where a toy corpus is written."""

from pathlib import Path

from ..errors import MMFairseqError


def check_new(out: Path) -> None:
    """Raises MMFairseqError where `out` holds anything."""
    if out.is_dir() and any(out.iterdir()):
        raise MMFairseqError(f"{out}: holds other files already; name a new folder")

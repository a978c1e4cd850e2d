"""What a finished piece of work leaves beside its files, so that it is not done again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..atomic import write_atomic
from ..errors import MMFairseqError
from ..tables import to_json

NAME = "receipt.json"


def read(folder: Path) -> dict[str, Any]:
    """The receipt of a folder; empty where there is none."""
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_bytes()))
    except (ValueError, TypeError) as error:
        raise MMFairseqError(f"{path}: not a receipt ({error}); remove {folder}") from error


def write(folder: Path, receipt: Mapping[str, Any]) -> None:
    """Write the receipt of a folder."""
    write_atomic(folder / NAME, to_json(receipt).encode())


def sha256(path: Path) -> str:
    """Of a file's bytes; "" where there is no such file."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

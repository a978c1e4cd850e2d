"""Labelled utterances that a split of a data-bin is without."""

import json

from ..errors import MMFairseqError
from .folder import DataBin, Place
from .lookup import QUARANTINE

_LOST = b'"quarantined"'


def dropped(data_bin: DataBin, place: Place, split: str) -> list[str]:
    """Ids of the labelled utterances of a split of which `binarize` could keep nothing, as quarantine.jsonl has them.

    Raises:
        MMFairseqError: that file is damaged.
    """
    path, wanted = data_bin.path / QUARANTINE, "/".join((*place, split))
    if not path.is_file():
        return []
    names: dict[str, None] = {}
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if _LOST not in line:
                continue
            try:
                problem = json.loads(line)
                if problem["verdict"] == "quarantined" and wanted in problem.get("labelled_in", ()):
                    names[str(problem["id"])] = None
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise MMFairseqError(
                    f"{path}:{number}: not a line of a quarantine ({error!r}); binarize again"
                ) from error
    return list(names)

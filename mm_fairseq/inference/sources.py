"""Files as a person names them, made into clips: each is given as what is in it."""

import os
from types import TracebackType
from typing import Any

from ..errors import MMFairseqError
from ..manifest import Utterance
from ..media.child import reader
from ..media.extent import has_pictures
from .clips import Clip, medium_of

FEATURES = ".npz"


class Sources:
    """Tells files with pictures from those of sound alone. Use it in a `with` block: it has a process that looks."""

    def __init__(self) -> None:
        self._child = reader({"pictures": has_pictures})

    def __enter__(self) -> "Sources":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close()

    def has_pictures(self, path: str | os.PathLike) -> bool:
        """Whether a file has pictures, other than that of a cover; False for one that cannot be opened."""
        try:
            return self._child("pictures", os.path.abspath(medium_of(path).path))
        except MMFairseqError:  # who reads it will say what is wrong
            return False

    def clip(self, path: str, **further: Any) -> Clip:
        """The clip of one file: of sound, of pictures, or an `.npz` of features.

        Args:
            path: as it was named, which becomes the id.
            further: of the clip.
        """
        if path.endswith(FEATURES):
            return Clip(path, features=path, **further)
        if further.get("audio") is None and path and not self.has_pictures(path):
            return Clip(path, **(further | {"audio": path}))
        return Clip(path, video=path, **further)


def clip_of(row: Utterance, root: str | os.PathLike) -> Clip:
    """The clip of a row of a manifest, whose files lie below `root`."""

    def place(path: str) -> str | None:
        return os.path.join(root, path) if path else None

    audio, video, features = place(row.audio), place(row.video), place(row.features)
    return Clip(row.id, video, audio, row.text or None, row.start, row.end, features=features)

"""What became of every utterance.

ok; repaired: kept without a modality, or with the middle of the picture where no face was found; quarantined: nothing
of it is left.
"""

import hashlib
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np
import soundfile

from ..errors import named
from ..media import raise_passing
from .prepared import Prepared

VERDICTS = ("ok", "repaired", "quarantined")
LARGEST = 1 << 34  # bytes of a file of which a checksum is made; a sparse one can be said to have any number


@dataclass(frozen=True)
class Problem:
    """Why one modality of one utterance is not in the data-bin, or, no_face, not as it was meant to be.

    Args:
        id: the utterance.
        path: its file as the manifest has it, "" for text.
        stage: the modality.
        code: one word, see `media.MediaError`; or empty_audio, empty_video, empty_transcript.
        error: a sentence.
        sha256: of the file; None where there is none, or none that can be read to its end.
        decoder: what would read such a file here, with versions; "" for text.
    """

    id: str
    path: str
    stage: str
    code: str
    error: str
    sha256: str | None = None
    decoder: str = ""

    @classmethod
    def found(cls, id: str, root: Path, path: str, stage: str, code: str, error: str, features: bool) -> "Problem":
        """A problem of a file below `root`, or of no file, with its checksum and decoder.

        Args:
            id: as above, as are `path`, `stage`, `code` and `error`.
            root: the folder that `path` is relative to.
            path: of the file.
            stage: the modality.
            code: one word.
            error: a sentence.
            features: whether the corpus brings features of the modality.

        Raises:
            OSError: the machine, its disk or its network is at fault.
        """
        file = bool(path)
        return cls(
            id,
            path,
            stage,
            code,
            error,
            checksum(root / path) if file else None,
            decoder(stage, features) if file else "",
        )


def checksum(path: Path) -> str | None:
    """The SHA-256 of a regular file of at most `LARGEST` bytes, in hexadecimal; None where it cannot be had.

    Raises:
        OSError: the machine, its disk or its network is at fault.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            return None
        return _digest(path, status.st_size, status.st_mtime_ns, status.st_ino)
    except (OSError, ValueError) as error:  # a path that holds what no path can
        raise_passing(error)
        return None


@lru_cache(maxsize=8)  # neighbours in a manifest are often parts of one file
def _digest(path: Path, *status: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def decoder(stage: str, features: bool = False) -> str:
    """The libraries that read files of a modality, or of features that a corpus brings, with their versions."""
    if features:
        return f"numpy {np.__version__}"
    pyav = f"PyAV {av.__version__} (FFmpeg {av.ffmpeg_version_info})"
    if stage == "audio":
        return f"soundfile {soundfile.__version__} (libsndfile {soundfile.__libsndfile_version__}), {pyav}"
    return f"{pyav}, OpenCV {version('opencv-python-headless')}"


@dataclass
class Account:
    """Verdicts on all rows.

    Args:
        ids: of the rows, in manifest order.
        kept: whether anything is left of the row. Shape (rows), bool.
        problems: in manifest order, at most one a row and stage.
        labelled_in: of rows of which nothing is left, see `labelled_in`.
    """

    ids: Sequence[str]
    kept: np.ndarray
    problems: list[Problem]
    labelled_in: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._verdict = dict.fromkeys(self.ids, "ok")
        for problem in self.problems:
            self._verdict[problem.id] = "repaired"
        for row in np.flatnonzero(~self.kept).tolist():
            self._verdict[self.ids[row]] = "quarantined"

    def verdicts(self) -> dict[str, int]:
        """How many utterances of each verdict; they sum to the number of rows."""
        counts = Counter(self._verdict.values())
        return {verdict: counts[verdict] for verdict in VERDICTS}

    def codes(self) -> dict[str, int]:
        """How many problems of each code, most frequent first."""
        counts = Counter(problem.code for problem in self.problems)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def to_jsonl(self) -> bytes:
        """One line a problem."""
        lines = (
            asdict(problem)
            | {"verdict": self._verdict[problem.id], "labelled_in": list(self.labelled_in.get(problem.id, ()))}
            for problem in self.problems
        )
        order = ("id", "path", "sha256", "stage", "verdict", "code", "error", "decoder", "labelled_in")
        return "".join(
            json.dumps({key: line[key] for key in order}, ensure_ascii=False) + "\n" for line in lines
        ).encode()

    def lines(self, most: int = 20) -> Iterator[str]:
        """For the screen: the verdicts, the codes, and the first `most` problems."""
        yield f"{len(self.ids)} utterances: " + ", ".join(f"{count} {name}" for name, count in self.verdicts().items())
        if self.problems:
            yield "problems: " + ", ".join(f"{count} {code}" for code, count in self.codes().items())
        for problem in self.problems[:most]:
            yield f"  {self._verdict[problem.id]} {problem.id}: {problem.stage}: {problem.code}: {problem.error}"
        if len(self.problems) > most:
            yield f"  and {len(self.problems) - most} more in quarantine.jsonl"
        tests: dict[str, list[str]] = {}
        for name, places in self.labelled_in.items():
            for place in places:
                if place.endswith("/test"):
                    tests.setdefault(place, []).append(name)
        for place, names in list(tests.items())[:most]:
            yield (
                f"warning: {place}: nothing is left of {len(names)} labelled utterances, so that results are without "
                f"them: {named(names, most)}"
            )
        if len(tests) > most:
            yield f"  and so in {len(tests) - most} more folds: see labelled_in in quarantine.jsonl"


def labelled_in(corpus: Prepared, kept: np.ndarray) -> dict[str, list[str]]:
    """Where utterances of which nothing is left would be scored or learnt from.

    Args:
        corpus: what was binarized.
        kept: whether anything is left of a row. Shape (rows), bool.

    Returns:
        For each that has a label: `protocol/fold/split` of those that it belongs to.
    """
    rows, targets = corpus.manifest.utterances, [target.name for target in corpus.targets]
    lost = {row for row in np.flatnonzero(~kept).tolist() if any(rows[row].labels.get(name) for name in targets)}
    found: dict[str, list[str]] = {rows[row].id: [] for row in sorted(lost)}
    for place, members in corpus.splits.items() if lost else ():
        for row in members:
            if row in lost:
                found[rows[row].id].append("/".join(place))
    return found

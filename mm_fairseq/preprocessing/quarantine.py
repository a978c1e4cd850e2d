"""What became of every utterance.

ok; repaired: kept without a modality, or with the middle of the picture where no face was found; quarantined: nothing
of it is left.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

VERDICTS = ("ok", "repaired", "quarantined")


@dataclass(frozen=True)
class Problem:
    """Why one modality of one utterance is not in the data-bin, or, no_face, not as it was meant to be.

    Args:
        id: the utterance.
        path: its file as the manifest has it, "" for text.
        stage: the modality.
        code: one word, see `media.MediaError`; or empty_audio, empty_video, empty_transcript.
        error: a sentence.
    """

    id: str
    path: str
    stage: str
    code: str
    error: str


@dataclass
class Account:
    """Verdicts on all rows.

    Args:
        ids: of the rows, in manifest order.
        kept: whether anything is left of the row. Shape (rows), bool.
        problems: in manifest order, at most one a row and stage.
    """

    ids: Sequence[str]
    kept: np.ndarray
    problems: list[Problem]

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
        lines = (asdict(problem) | {"verdict": self._verdict[problem.id]} for problem in self.problems)
        order = ("id", "path", "stage", "verdict", "code", "error")
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

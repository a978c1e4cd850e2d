"""How much of a corpus may turn out bad before `binarize` stops: a run gone wrong is not to go on for days.

A bad utterance loses something that its manifest promises. A modality that it never had, a film that has no sound and
for which the manifest names no sound of its own, or a face that was not found, is no loss.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property

import numpy as np

from ..errors import MMFairseqError
from ..manifest import Utterance
from ..targets import SEPARATOR, kind_of
from .prepared import Prepared
from .quarantine import Problem

# More than the larger of the two is too much: a number that any corpus may lose, and a share.
ALL = 10, 0.001
GROUP = 5, 0.01  # of the utterances of one class, or of one split
IN_A_ROW = 100  # more than that, in the order of the manifest


def is_bad(problem: Problem, row: Utterance) -> bool:
    """Whether an utterance loses what its row of the manifest promises."""
    if problem.code == "no_audio_track" and not row.audio:  # the sound would have been the film's
        return False
    return problem.code != "no_face" and not problem.code.startswith("empty_")


class Budget:
    """Counts bad utterances, part by part of a corpus and in any order.

    Args:
        corpus: what is binarized.
    """

    def __init__(self, corpus: Prepared) -> None:
        self.corpus, self.rows = corpus, corpus.manifest.utterances
        self.kinds = [kind for kind in map(kind_of, corpus.targets) if kind.classes]
        self.bad = np.zeros(len(self.rows), bool)
        self.lost: Counter[str] = Counter()
        self.problems: list[Problem] = []

    def add(self, rows: range, problems: Iterable[Problem]) -> None:
        """Take in what was found in some rows of the manifest.

        Raises:
            MMFairseqError: it is too much, all rows so far taken together.
        """
        of = {self.rows[row].id: self.rows[row] for row in rows}
        found = [problem for problem in problems if problem.id in of and is_bad(problem, of[problem.id])]
        names = {problem.id for problem in found}
        fresh = np.array([row for row in rows if self.rows[row].id in names and not self.bad[row]], np.int64)
        if not len(fresh):
            return
        self.problems += found
        self.bad[fresh] = True
        for row in fresh.tolist():
            self.lost.update(self._classes(row))
        for name, members in self.splits.items():
            places = np.searchsorted(members, fresh).clip(max=len(members) - 1)
            self.lost[name] += int((members[places] == fresh).sum())
        for told, wrong in self._exceeded(fresh):
            raise MMFairseqError(f"{told}: {self._reasons(wrong)}. {ADVICE}")

    @cached_property
    def classes(self) -> Counter[str]:
        """How many utterances there are of each class of each target."""
        return Counter(name for row in range(len(self.rows)) for name in self._classes(row))

    @cached_property
    def splits(self) -> dict[str, np.ndarray]:
        """Numbers of the rows of each split, ascending."""
        splits = self.corpus.splits.items()
        return {"/".join(place): np.sort(np.array(rows, np.int64)) for place, rows in splits if rows}

    def _classes(self, row: int) -> list[str]:
        labels = self.rows[row].labels
        found = []
        for kind in self.kinds:
            text = labels.get(kind.target.name, "")
            parts: Collection[str] = text.split(SEPARATOR) if kind.sets else [text]
            found += [f"{kind.target.name}={part}" for part in parts if part]
        return found

    def _exceeded(self, fresh: np.ndarray) -> Iterator[tuple[str, list[int]]]:
        """What is too much, in words, and the rows that are meant."""
        bad, whole = int(self.bad.sum()), len(self.rows)
        if bad > _allowed(ALL, whole):
            told = f"{bad} of {whole} utterances cannot be used as the manifest says, more than {_words(ALL, whole)}"
            yield told, np.flatnonzero(self.bad).tolist()
        for name, count in self.lost.items():
            total = len(self.splits[name]) if name in self.splits else self.classes[name]
            if count > _allowed(GROUP, total):
                told = f"{count} of the {total} utterances of {name} cannot be used as the manifest says, more than "
                yield told + _words(GROUP, total), self._bad_of(name)
        first, last = max(0, int(fresh[0]) - IN_A_ROW), int(fresh[-1]) + IN_A_ROW + 1
        edges = np.flatnonzero(np.diff(self.bad[first:last].astype(np.int8), prepend=0, append=0))
        for start, end in edges.reshape(-1, 2).tolist():
            if end - start > IN_A_ROW:
                told = f"{end - start} utterances in a row cannot be used as the manifest says, from "
                told += f"{self.rows[first + start].id!r} on, more than {IN_A_ROW}"
                yield told, [*range(first + start, first + end)]

    def _bad_of(self, name: str) -> list[int]:
        """Bad rows of a class or of a split."""
        bad = np.flatnonzero(self.bad)
        if name in self.splits:
            return bad[np.isin(bad, self.splits[name])].tolist()
        return [row for row in bad.tolist() if name in self._classes(row)]

    def _reasons(self, wrong: Iterable[int]) -> str:
        """Why these rows are bad: how many for each reason, and one of them."""
        ids = {self.rows[row].id for row in wrong}
        problems = [problem for problem in self.problems if problem.id in ids]
        codes = Counter(code for _, code in {(problem.id, problem.code) for problem in problems})
        counts = ", ".join(f"{count} {code}" for code, count in sorted(codes.items(), key=lambda item: -item[1]))
        return f"{counts}, as {problems[0].id}: {problems[0].stage}: {problems[0].error}"


ADVICE = "Mend that and start anew with --overwrite, or go on all the same with --resume --no-budget"


def _allowed(limit: tuple[int, float], of: int) -> float:
    return max(limit[0], limit[1] * of)


def _words(limit: tuple[int, float], of: int) -> str:
    return str(limit[0]) if limit[0] >= limit[1] * of else f"{limit[1]:.1%}"

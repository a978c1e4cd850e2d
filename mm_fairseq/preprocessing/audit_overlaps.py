"""What two splits of a fold have in common.

| what | two utterances have it in common when |
|---|---|
| `utterances` | the corpus says that they are one (`ParsedCorpus.same`), or they are the same material of one file |
| `file_hashes` | they are the same material of files of the same bytes, whatever these are called |
| `recordings` | they come from one file, or files of the same bytes, whatever part of it: cuts of one long video |
| `speakers`, `sessions`, `dialogues` | the manifest's column says the same |
| `transcripts` | their text is the same; case and white space do not count |
| `words` | they say the same words; neither case nor punctuation counts |

The same material are equal parts, and parts that overlap by more than half of the shorter one; turns of a dialogue that
touch, or where one begins while another still speaks, are not.

The first two are always a leak: what is tested was trained on. The others are one where a protocol promises that its
splits have none of them in common (`ParsedCorpus.apart`); elsewhere they are told, because most corpora are made so:
acted ones have the same sentences everywhere, films the same speakers.

Notation: N rows of the manifest, M keys of each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from ..corpora import ParsedCorpus
from ..corpora.base import SPLITS
from ..errors import named
from ..manifest import Medium, Utterance, normalised
from .audit_files import Files
from .audit_spans import Spans, spans

LEAKS = ("utterances", "file_hashes")
COLUMNS = {"speakers": "speaker", "sessions": "session", "dialogues": "dialogue"}
SHOWN = 5


@dataclass(frozen=True)
class Overlap:
    """Something that two splits of one fold have in common.

    Args:
        protocol: its name.
        fold: of the protocol.
        splits: the two, in the order of `SPLITS`.
        what: see the module.
        shared: number of different things in common, and with `all` of those that the later split has.
        all: see `shared`.
        items: utterances of each of the two splits that have such a thing.
        of: utterances of each.
        first: the first values in common; of utterances and files, ids of the later split.
        leak: whether it must not be.
    """

    protocol: str
    fold: str
    splits: tuple[str, str]
    what: str
    shared: int
    all: int
    items: tuple[int, int]
    of: tuple[int, int]
    first: tuple[str, ...]
    leak: bool

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)

    @property
    def share(self) -> float:
        """Of the later split."""
        return self.items[1] / self.of[1]

    def sentence(self) -> str:
        """What is the matter, for messages."""
        early, late = self.splits
        where = f"protocol {self.protocol!r}, fold {self.fold!r}"
        told = f"{self.items[1]} of the {self.of[1]} utterances of {late}"
        if self.what == "utterances":
            return f"{where}: {told} are in {early} too: {named_of(self.first, self.items[1])}"
        if self.what == "file_hashes":
            return f"{where}: {told} have the same bytes as files of {early}: {named_of(self.first, self.items[1])}"
        return (
            f"{where}: {late} shares {self.shared} {self.what} with {early}, which the protocol keeps apart "
            f"({told}): {named_of(self.first, self.shared)}"
        )


def named_of(first: Sequence[str], total: int) -> str:
    """As `errors.named`, where only the first are at hand."""
    shown = list(first[:3])
    return named(shown) + (f" and {total - len(shown)} more" if total > len(shown) else "")


@dataclass(frozen=True)
class _Key:
    """What each of N rows has that another may have too.

    Args:
        codes: numbers of Shape (N, M), -1 for nothing.
        names: the values that they stand for.
        spans: parts of files that make the last codes of each row the same though they differ.
    """

    codes: np.ndarray
    names: Sequence[str]
    spans: Spans | None = None

    def hits(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Which of their codes `rows` have in common with one of `others`. Shape (K, M), bool."""
        codes, other = self.codes[rows], self.codes[others]
        found = np.isin(codes, other) & (codes >= 0)
        if self.spans:
            met = self.spans.of(rows).met(self.spans.of(others))
            found[:, codes.shape[1] - met.shape[1] :] |= met
        return found


def overlaps(prepared: ParsedCorpus, files: Files, lengths: Mapping[str, float] | None = None) -> list[Overlap]:
    """All that splits have in common, by protocol, fold and pair of splits; what they do not share is left out.

    Args:
        prepared: the corpus.
        files: those that its manifest names, compared.
        lengths: path to seconds, as far as they are known: where a part ends that says no end.
    """
    rows = prepared.manifest.utterances
    keys = _keys(prepared, files, lengths or {})
    number = {row.id: n for n, row in enumerate(rows)}
    found = []
    for protocol, folds in prepared.protocols.items():
        for fold, splits in folds.items():
            parts = {split: np.array([number[i] for i in splits.get(split, ())], np.int64) for split in SPLITS}
            for pair in combinations(SPLITS, 2):
                two = (parts[pair[0]], parts[pair[1]])
                apart = {*LEAKS, *prepared.apart.get(protocol, ())}
                found += [
                    each
                    for what, key in keys.items()
                    if (each := _overlap((protocol, fold, pair), what, key, two, what in apart, rows))
                ]
    return found


def _overlap(
    place: tuple[str, str, tuple[str, str]],
    what: str,
    key: _Key,
    two: tuple[np.ndarray, np.ndarray],
    leak: bool,
    rows: Sequence[Utterance],
) -> Overlap | None:
    hits = key.hits(two[1], two[0])
    if not hits.any():
        return None
    late = key.codes[two[1]]
    have, shared = np.unique(late[late >= 0]), np.unique(late[hits])
    rows_hit = [key.hits(two[0], two[1]).any(1), hits.any(1)]
    if what in (*LEAKS, "recordings"):
        first = [rows[n].id for n in two[1][rows_hit[1]][:SHOWN]]
    else:
        first = [key.names[code] for code in shared[:SHOWN]]
    items = (int(rows_hit[0].sum()), int(rows_hit[1].sum()))
    of = (len(two[0]), len(two[1]))
    return Overlap(*place, what, len(shared), len(have), items, of, tuple(first), leak)


def _keys(prepared: ParsedCorpus, files: Files, lengths: Mapping[str, float]) -> dict[str, _Key]:
    """Of what some row has; see the module for the names."""
    rows = prepared.manifest.utterances
    media = [_media(row) for row in rows]
    own = {medium.path: medium.path for each in media for medium in each if medium}
    keys = {
        "utterances": _Key(
            *_codes(
                [prepared.same.get(row.id, ""), *(each and _part(each, each.path) for each in found)]
                for row, found in zip(rows, media, strict=True)
            ),
            spans(media, own, lengths),
        ),
        "file_hashes": _Key(
            *_codes([each and _part(each, files.number[each.path]) for each in found] for found in media),
            spans(media, files.number, lengths),
        ),
        "recordings": _Key(*_codes([each and (files.number[each.path],) for each in found] for found in media)),
        **{what: _Key(*_codes([getattr(row, column)] for row in rows)) for what, column in COLUMNS.items()},
        "transcripts": _Key(*_codes([" ".join(row.text.casefold().split())] for row in rows)),
        "words": _Key(*_codes([normalised(row.text)] for row in rows)),
    }
    return {what: found for what, found in keys.items() if (found.codes >= 0).any()}


def _media(row: Utterance) -> list[Medium | None]:
    """Sound, picture and features."""
    return [row.medium("audio"), row.medium("video"), Medium(row.features) if row.features else None]


def _part(medium: Medium, file: str | int) -> tuple:
    return (file, medium.start or 0.0, medium.end, medium.region)


def _codes(keys: Iterable[Sequence[Any]]) -> tuple[np.ndarray, list[str]]:
    number: dict[Any, int] = {}
    found = [[number.setdefault(key, len(number)) if key else -1 for key in each] for each in keys]
    return np.array(found, np.int64), [str(key) for key in number]


def named_paths(rows: Iterable[Utterance]) -> list[str]:
    """The files of a manifest, each once."""
    return list(dict.fromkeys(medium.path for row in rows for medium in _media(row) if medium))

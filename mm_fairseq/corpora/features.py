"""Extracted features of MOSI, MOSEI, IEMOCAP, CH-SIMS and others, in the forms of MulT and MMSA; see `_feature_files`.

What is predicted follows from the file: one number an utterance is `sentiment`, a regression; four pairs or four zeros
and ones are IEMOCAP's neutral, happy, sad and angry, each of which an utterance may have or not (`multilabel`).

Padding of zeros is taken off: by the lengths that the file tells, else frames of zeros at the end that is padded, in an
aligned file those that are zero in every modality. Infinite numbers and NaN, which COVAREP gives, become 0 in audio and
vision, as every public loader does; in text they are an error.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError, named
from ..manifest import MODALITIES, Manifest, Utterance
from ..targets import SEPARATOR, Target
from ._feature_files import LABELS, NAMES, Part, finite, kept_frames, lengths_of, padded_in_front, read_parts
from .base import CORPORA, FILES, SPLITS, Corpus, ParsedCorpus, one_line
from .frames import missing, numbers, sentence_of, shown

IEMOCAP = ("neutral", "happy", "sad", "angry")
SINGLE = {"T": "sentiment_text", "A": "sentiment_audio", "V": "sentiment_video"}
SIZES = {
    "MOSI": (1284, 229, 686),
    "MOSEI": (16326, 1871, 4659),
    "IEMOCAP": (2717, 798, 938),
}


@CORPORA.register("features")
class Features(Corpus):
    """The parser."""

    help = "extracted features in the forms of MulT and MMSA (MOSI, MOSEI, IEMOCAP, CH-SIMS), pickle or Parquet"
    raw = "the file, .pkl or .parquet, or a folder with train.parquet, valid.parquet and test.parquet"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--modalities",
            default=",".join(MODALITIES),
            metavar="LIST",
            help="whose features to take (default: %(default)s); without text, transcripts are text to be tokenized",
        )
        parser.add_argument(
            "--single-labels",
            action="store_true",
            help="the sentiment that text, audio and video have by themselves as further targets (regression_labels_T)",
        )
        parser.add_argument(
            "--number-ids", action="store_true", help="name utterances by split and number, for files with ids twice"
        )
        parser.add_argument(
            "--accept-counts", action="store_true", help="go on where only some splits have the published size"
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        wanted = modalities_of(args.modalities)
        parts, others = read_parts(raw)
        target, label = _target(parts)
        singles = _singles(parts) if args.single_labels else {}
        targets = [target, *(Target(SINGLE[letter], "regression") for letter in singles)]
        prepared = ParsedCorpus(Manifest(Path(FILES), [each.name for each in targets], []), targets, {})
        if others:
            prepared.notes.append(f"left out, as it is no split train, valid or test: {named(others)}")
        there = [name for name in wanted if any(NAMES[name] in part.fields for part in parts)]
        writers: dict[str, Callable[[Path], Any]] = {}
        seen: dict[str, str] = {}
        for part in parts:
            ids = _ids(part, args.number_ids)
            frames = _Frames(part, [name for name in wanted if NAMES[name] in part.fields], prepared)
            if not frames.modalities:
                raise MMFairseqError(f"{part.place}: none of --modalities {args.modalities} is in it")
            if lacking := [NAMES[name] for name in there if name not in frames.modalities]:
                prepared.notes.append(f"{part.split}: no {', '.join(lacking)}, which other splits have")
            for row, (ident, video) in enumerate(ids):
                place = f"{part.place}: row {row}"
                if ident in seen:
                    raise MMFairseqError(
                        f"{place}: id {ident!r} stands already in {seen[ident]}; --number-ids names utterances anew"
                    )
                seen[ident] = place
                labels = {target.name: label(part, row)}
                labels |= {SINGLE[letter]: _number(part, f"regression_labels_{letter}", row) for letter in singles}
                path = f"features/{part.split}/{row:06d}.npz"
                frames.check(row)
                writers[path] = partial(frames.write, row)
                text = (
                    sentence_of(part.fields["raw_text"][row], f"{place}: 'raw_text'")
                    if "raw_text" in part.fields
                    else ""
                )
                prepared.manifest.utterances.append(
                    Utterance(ident, part.split, dialogue=video, text=text, labels=labels, features=path)
                )
            frames.tell()
        prepared.files = writers
        rows = prepared.manifest.utterances
        prepared.protocols["official"] = {
            "1": {split: [row.id for row in rows if row.split == split] for split in SPLITS}
        }
        _compare_sizes(prepared)
        return prepared


def modalities_of(text: str) -> list[str]:
    """The names in a comma list.

    Raises:
        MMFairseqError: one is none of `MODALITIES`.
    """
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in MODALITIES]:
        raise MMFairseqError(f"--modalities: unknown {unknown[0]!r}; known: {', '.join(MODALITIES)}")
    return names


# Labels


def number_text(value: float) -> str:
    """A number as a manifest has it, to six digits."""
    return f"{round(value, 6) + 0.0:.6f}".rstrip("0").rstrip(".")


def _target(parts: list[Part]) -> tuple[Target, Callable[[Part, int], str]]:
    """What the labels are, and what reads that of an utterance."""
    first = parts[0]
    key = next(name for name in LABELS if name in first.fields)
    try:
        shape = numbers(first.fields[key][0], depth=2).shape
    except ValueError:
        shape = ()  # `_number` names it
    for part in parts:
        if key not in part.fields:
            raise MMFairseqError(f"{part.place}: no {key!r}, which {first.place} has")
    if shape in ((), (1,), (1, 1)):
        return Target("sentiment", "regression"), lambda part, row: _number(part, key, row)
    if shape in ((len(IEMOCAP), 2), (len(IEMOCAP),)):
        return Target("emotion", "multilabel", IEMOCAP), lambda part, row: _emotions(part, key, row)
    raise MMFairseqError(
        f"{first.place}: row 0: {key!r} has the shape {shape}; known are one number (sentiment) and four or four pairs "
        "of 0 and 1 (emotions of IEMOCAP)"
    )


def _number(part: Part, key: str, row: int) -> str:
    value = part.fields[key][row]
    try:
        x = numbers(np.nan if missing(value) else value, depth=2).astype(np.float64).reshape(-1)
    except (TypeError, ValueError):
        x = np.empty(0)
    if x.shape != (1,) or not np.isfinite(x).all():
        raise MMFairseqError(f"{part.place}: row {row}: {key!r}: {shown(value)} is no number")
    return number_text(x[0])


def _emotions(part: Part, key: str, row: int) -> str:
    try:
        x = numbers(part.fields[key][row], depth=2).astype(np.float64)
    except (TypeError, ValueError):
        x = np.empty(0)
    if x.shape not in ((len(IEMOCAP), 2), (len(IEMOCAP),)) or not np.isin(x, (0, 1)).all():
        raise MMFairseqError(f"{part.place}: row {row}: {key!r}: not four pairs of 0 and 1, nor four of them")
    if x.ndim == 2 and (x.sum(1) != 1).any():
        raise MMFairseqError(f"{part.place}: row {row}: {key!r}: of each pair (no, yes) one must be 1")
    there = x[:, 1] if x.ndim == 2 else x
    return SEPARATOR.join(name for name, yes in zip(IEMOCAP, there, strict=True) if yes) or SEPARATOR


def _singles(parts: list[Part]) -> list[str]:
    for part in parts:
        if absent := [letter for letter in SINGLE if f"regression_labels_{letter}" not in part.fields]:
            raise MMFairseqError(f"--single-labels: {part.place}: no 'regression_labels_{absent[0]}'")
    return list(SINGLE)


# Names and texts


def _ids(part: Part, numbered: bool) -> list[tuple[str, str]]:
    """The id of each utterance, and its video."""
    given = part.fields.get("id")
    if given is None or numbered:
        videos = [""] * len(part) if given is None else [_words(part, row)[0] for row in range(len(part))]
        return [(f"{part.split}{row:05d}", video) for row, video in enumerate(videos)]
    words = [_words(part, row) for row in range(len(part))]
    if empty := [row for row, parts in enumerate(words) if not any(parts)]:
        raise MMFairseqError(f"{part.place}: row {empty[0]}: 'id' is empty")
    return [("_".join(filter(None, parts)), parts[0] if len(parts) > 1 else "") for parts in words]


def _words(part: Part, row: int) -> list[str]:
    """The parts of an id: `video$_$clip`, or an array of video, start and end."""
    value = part.fields["id"][row]
    words = value.reshape(-1).tolist() if isinstance(value, np.ndarray) else [value]
    if strange := [word for word in words if not isinstance(word, str | bytes | int | float | np.generic | None)]:
        raise MMFairseqError(f"{part.place}: row {row}: 'id': {shown(strange[0])} is no name")
    texts = [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in words]
    return [one_line(text) for word in texts for text in word.split("$_$")] or [""]


# Arrays


class _Frames:
    """The arrays of a split without padding, and the count of what was mended.

    Args:
        part: the split.
        modalities: which are wanted and there.
        prepared: whose notes tell of it.
    """

    def __init__(self, part: Part, modalities: list[str], prepared: ParsedCorpus) -> None:
        self.part, self.modalities, self.prepared = part, modalities, prepared
        self.keys = [NAMES[name] for name in modalities]
        self.mended: Counter[str] = Counter()
        self.hit: dict[str, list[int]] = {}
        self.widths: dict[str, int] = {}
        frames = [{len(part.array(key, row)) for key in self.keys} for row in range(len(part))]
        aligned = len(self.keys) > 1 and all(len(lengths) == 1 for lengths in frames)
        self.groups = [self.keys] if aligned else [[key] for key in self.keys]
        self.front = {group[0]: padded_in_front(part, _surest(group)) for group in self.groups}

    def write(self, row: int, path: Path) -> None:
        """Write the arrays of an utterance as `.npz`."""
        np.savez(path, **self.arrays(row))  # type: ignore[arg-type]

    def arrays(self, row: int) -> dict[str, np.ndarray]:
        """{modality: features} of an utterance. Shapes (T, D), float32, finite."""
        found = {key: finite(self.part.array(key, row))[0] for key in self.keys}
        for group in self.groups:
            arrays = {key: found[key] for key in group}
            frames = len(found[group[0]])
            told = {lengths_of(self.part, key, row, frames) for key in group} - {None}
            front = self.front[group[0]]
            if len(told) == 1 and (length := told.pop()) is not None:
                kept = slice(frames - length, frames) if front else slice(0, length)
            else:
                kept = kept_frames(arrays, front)
            found |= {key: np.ascontiguousarray(x[kept]) for key, x in arrays.items()}
        return {name: found[NAMES[name]] for name in self.modalities}

    def check(self, row: int) -> None:
        """See that an utterance can be written; counts what is mended.

        Raises:
            MMFairseqError: it cannot; names file, split, row and key.
        """
        for key in self.keys:
            x, place = self.part.array(key, row), f"{self.part.place}: row {row}: {key!r}"
            if self.widths.setdefault(key, x.shape[1]) != x.shape[1]:
                raise MMFairseqError(f"{place}: {x.shape[1]} features a frame, row 0 has {self.widths[key]}")
            wrong = finite(x)[1]
            if wrong and key == "text":
                frame, column = (int(each[0]) for each in np.nonzero(~np.isfinite(x)))
                raise MMFairseqError(f"{place}: {x[frame, column]} in frame {frame}, column {column}")
            if wrong:
                self.mended[key] += wrong
                self.hit.setdefault(key, []).append(row)
            lengths_of(self.part, key, row, len(x))

    def tell(self) -> None:
        for key, count in self.mended.items():
            self.prepared.notes.append(
                f"{self.part.split}: {count} numbers of {key} in {len(self.hit[key])} utterances were not finite "
                f"and became 0: rows {named([str(row) for row in self.hit[key]])}"
            )
            self.prepared.details[f"not_finite_{self.part.split}_{key}"] = count


def _surest(keys: list[str]) -> str:
    """Which of aligned arrays tells padding best: words have no frames of zeros, sounds and faces may."""
    return "text" if "text" in keys else keys[0]


def _compare_sizes(prepared: ParsedCorpus) -> None:
    """Name the corpus whose published sizes the splits have; where two of three agree the third must."""
    counts = Counter(row.split for row in prepared.manifest.utterances)
    for name, sizes in SIZES.items():
        published = dict(zip(SPLITS, sizes, strict=True))
        if sum(counts[split] == size for split, size in published.items()) >= len(SPLITS) - 1:
            prepared.published, prepared.seen = published, dict(counts)
            prepared.notes.append(f"the sizes are those of {name}")

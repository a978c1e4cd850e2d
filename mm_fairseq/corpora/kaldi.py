"""Kaldi's data folders (https://kaldi-asr.org/doc/data_prep.html), with a file of labels beside `wav.scp`.

`wav.scp`: `REC PATH`. Further files, where they are there: `segments` (`UTT REC START END`, seconds; without it every
recording is an utterance), `text` (`UTT WORDS`), `utt2spk` (`UTT SPEAKER`) and the labels, `utt2emo`, `utt2emotion` or
`utt2label` (`UTT LABEL`). RAW is one such folder, or has one in each of `train`, `dev` (or `valid`) and `test`.

A `PATH` that is a command (`sph2pipe ... |`) is refused and never run, as are places inside archives (`all.ark:124`).
"""

import argparse
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import MMFairseqError, named
from ..manifest import Utterance
from .base import CORPORA, Corpus, ParsedCorpus, one_line
from .recordings import archive_hint
from .speech_lists import Entry, add_root, add_target, by_split, collect, complete, named_lines

LABELS = ("utt2emo", "utt2emotion", "utt2label")
TO_THE_END = -1.0  # Kaldi's `end` of a segment that ends with its recording

_IN_ARCHIVE = re.compile(r".*\.ark(:\d+)?$")


@CORPORA.register("kaldi")
class Kaldi(Corpus):
    """The parser; see the module for the files."""

    help = "Kaldi's data folders: wav.scp, segments, text, utt2spk and a file of labels"
    raw = "a folder with wav.scp, or with train, dev and test of that kind"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_root(parser, "RAW")
        add_target(parser)
        parser.add_argument(
            "--labels", metavar="FILE", help=f"name of the file of labels (default: the first of {', '.join(LABELS)})"
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        notes: list[str] = []
        target = args.target.partition(":")[0]
        entries = [
            entry
            for split, folder in _folders(raw).items()
            for entry in _entries(folder, split, target, args.labels, notes)
        ]
        prepared = collect(entries, args.root or raw, args)
        prepared.notes[:0] = notes
        return complete(prepared, entries, args)


def _folders(raw: Path) -> dict[str, Path]:
    """{split: folder with wav.scp}; "" for a folder that is not divided."""
    if (raw / "wav.scp").is_file():
        return {"": raw}
    found = {split: file.parent for split, file in by_split(raw, "NAME/wav.scp").items()}
    if "train" not in found:
        rest = f"none in train, but in {found.popitem()[1].name}" if found else "none in train, dev or test"
        raise MMFairseqError(f"{raw}: no wav.scp here and {rest}; RAW must be {Kaldi.raw}{archive_hint(raw)}")
    return found


def _entries(folder: Path, split: str, target: str, labels: str | None, notes: list[str]) -> Iterator[Entry]:
    names = [labels] if labels else LABELS
    label_file = next((folder / name for name in names if (folder / name).is_file()), None)
    if label_file is None:
        raise MMFairseqError(f"{folder}: no labels, none of {', '.join(names)}; --labels FILE names another file")
    columns = {name: _column(folder / name) for name in ("text", "utt2spk")}
    given = _column(label_file)
    columns[label_file.name] = given
    paths = _paths(folder / "wav.scp")
    ids: list[str] = []
    for file, line, name, recording, start, end in _utterances(folder, paths):
        ids.append(name)
        row = Utterance(
            id=name,
            split=split,
            speaker=columns["utt2spk"].get(name, ""),
            dialogue=recording if recording != name else "",
            start=start,
            end=end,
            text=columns["text"].get(name, ""),
            labels={target: given.get(name, "")},
        )
        yield Entry(row, paths[recording][1], file, line)
    known = set(ids)
    if not known & given.keys():
        raise MMFairseqError(
            f"{label_file}:1: none of its {len(given)} names, as {next(iter(given))}, is an utterance here, as "
            f"{ids[0]}; is {folder / 'segments'} missing, or of another corpus?"
        )
    for name, column in columns.items():
        if strange := [each for each in column if each not in known]:
            notes.append(f"{folder / name}: {len(strange)} lines belong to no utterance: {named(strange)}")
    if wordless := [each for each in ids if columns["text"] and each not in columns["text"]]:
        notes.append(f"{folder / 'text'}: {len(wordless)} utterances have no words: {named(wordless)}")


def _column(file: Path) -> dict[str, str]:
    return {name: one_line(rest) for _, name, rest in named_lines(file)} if file.is_file() else {}


def _paths(file: Path) -> dict[str, tuple[int, str]]:
    """{recording: line and path}.

    Raises:
        MMFairseqError: `file:line`: no path, a command, or a place in an archive.
    """
    paths = {}
    for number, name, rest in named_lines(file):
        where = f"{file}:{number}: recording {name!r}"
        if not rest:
            raise MMFairseqError(f"{where}: expected 'NAME PATH', there is no path")
        if rest.endswith("|") or rest.startswith("|"):
            raise MMFairseqError(
                f"{where}: {rest[:60]!r} is a command; commands are not run: convert the recordings to files "
                "(Kaldi's wav-copy, sox, ffmpeg) and write their paths"
            )
        if _IN_ARCHIVE.match(rest):
            raise MMFairseqError(f"{where}: {rest!r} lies in an archive; write it as a file of its own")
        paths[name] = number, rest
    return paths


def _utterances(
    folder: Path, paths: dict[str, tuple[int, str]]
) -> Iterator[tuple[Path, int, str, str, float | None, float | None]]:
    """File, line, utterance, recording, start and end in seconds."""
    file = folder / "segments"
    if not file.is_file():
        for name, (number, _) in paths.items():
            yield folder / "wav.scp", number, name, name, None, None
        return
    for number, name, rest in named_lines(file):
        where = f"{file}:{number}: utterance {name!r}"
        recording, start, end = _segment(rest.split(), where)
        if recording not in paths:
            raise MMFairseqError(f"{where}: recording {recording!r} is not in {folder / 'wav.scp'}")
        yield file, number, name, recording, start, None if end == TO_THE_END else end


def _segment(parts: Sequence[str], where: str) -> tuple[str, float, float]:
    try:
        recording, start, end = parts[0], *map(float, parts[1:3])
    except (IndexError, ValueError):
        recording, start, end = "", math.nan, math.nan
    if math.isnan(start + end) or len(parts) not in (3, 4):  # the fourth is a channel
        raise MMFairseqError(
            f"{where}: expected 'UTT REC START END' with two times in seconds, found {' '.join(parts)!r}"
        )
    return recording, start, end

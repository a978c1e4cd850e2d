"""The lists of wav2vec and fairseq: `train.tsv`, `valid.tsv` (or `dev.tsv`) and `test.tsv`, with labels beside them.

Line 1 of a list is the folder of the recordings, every further line `PATH<tab>SAMPLES`; a recording whose header tells
another number of samples is not the one that the list was made of. Line n + 1 of the list is line n of the files beside
it: labels in `train.emo` (another ending by `--labels`), as `LABEL` or as `NAME<tab>LABEL`, which emotion2vec writes;
and, where they are there, words in `train.wrd`, or else letters in `train.ltr` (`H I | Y O U |`).
"""

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import soundfile
from tqdm import tqdm

from ..errors import MMFairseqError, named
from ..manifest import Utterance
from .base import CORPORA, Corpus, ParsedCorpus, one_line
from .recordings import archive_hint
from .records import read_utf8
from .speech_lists import Entry, add_root, add_target, by_split, collect, complete


@CORPORA.register("wav2vec_tsv")
class Wav2vecTsv(Corpus):
    """The parser; see the module for the files."""

    help = "wav2vec's lists: train.tsv, valid.tsv and test.tsv with train.emo, train.wrd or train.ltr beside them"
    raw = "the folder with train.tsv"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add_root(parser, "what line 1 of each list says")
        add_target(parser)
        parser.add_argument(
            "--labels", default="emo", metavar="ENDING", help="of the files of labels (default: emo, as train.emo)"
        )
        parser.add_argument(
            "--accept-counts",
            action="store_true",
            help="go on where recordings have more or fewer samples than the lists say",
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        lists = _lists(raw)
        target = args.target.partition(":")[0]
        samples: dict[str, int] = {}
        found = [
            each
            for split, file in lists.items()
            for each in _entries(file, split if len(lists) > 1 else "", target, args, samples)
        ]
        entries = _with_ids(found)
        prepared = collect(entries, _common(entries), args)
        _compare(prepared, entries, samples, args.accept_counts)
        return complete(prepared, entries, args)


def _lists(raw: Path) -> dict[str, Path]:
    found = by_split(raw, "NAME.tsv")
    if "train" not in found:
        raise MMFairseqError(f"{raw}: no train.tsv here; RAW must be {Wav2vecTsv.raw}{archive_hint(raw)}")
    return found


def _entries(file: Path, split: str, target: str, args: argparse.Namespace, samples: dict[str, int]) -> Iterator[Entry]:
    """The utterances of one list, without ids; `samples` receives {path: their number}."""
    head, *lines = _lines(file)
    folder = Path(os.path.abspath(args.root or file.parent / head.strip()))
    if not head.strip() or "\t" in head or not folder.is_dir():
        raise MMFairseqError(f"{file}:1: {head.strip()!r} is no folder here; correct the line, or give --root DIR")
    if not lines:
        raise MMFairseqError(f"{file}: names no recordings")
    labels = _beside(file, args.labels, len(lines))
    if labels is None:
        raise MMFairseqError(f"{file.with_suffix(f'.{args.labels}')}: no such file; --labels ENDING names another one")
    words, letters = _beside(file, "wrd", len(lines)), None
    if words is None:
        letters = _beside(file, "ltr", len(lines))
    for number, line in enumerate(lines, start=2):
        path, _, count = line.partition("\t")
        where = f"{file}:{number}"
        if not path.strip() or not re.fullmatch("[0-9]{1,18}", count.strip()) or not int(count):
            raise MMFairseqError(f"{where}: expected 'PATH<tab>SAMPLES' with a number above 0, found {line[:80]!r}")
        if ":" in path and not (folder / path).is_file():
            raise MMFairseqError(f"{where}: {path!r}: places inside archives (PATH:OFFSET:LENGTH) are not read")
        row = Utterance(
            id=PurePosixPath(path.strip()).stem,
            split=split,
            text=one_line(words[number - 2] if words else _spoken(letters[number - 2]) if letters else ""),
            labels={target: _label(labels[number - 2], path.strip(), f"{labels.file}:{number - 1}")},
        )
        entry = Entry(row, os.path.normpath(folder / path.strip()), file, number)
        samples[entry.path] = int(count)
        yield entry


def _compare(prepared: ParsedCorpus, entries: Sequence[Entry], samples: dict[str, int], accept: bool) -> None:
    """Compare the lists with the headers of the recordings; what only other libraries read is passed over.

    Raises:
        MMFairseqError: they differ in the number of samples, and `accept` is False; names file and line.
    """
    kept = {row.id for row in prepared.manifest.utterances}
    used = [entry for entry in entries if entry.row.id in kept]
    differ = []
    for entry in tqdm(used, desc="headers", unit="file", disable=None if len(used) > 1000 else True, leave=False):
        try:
            frames = soundfile.info(entry.path).frames
        except (soundfile.SoundFileError, OSError, TypeError):
            continue  # the audit and binarize tell of files that nothing reads
        if frames != samples[entry.path]:
            differ.append(f"{entry.where}: {samples[entry.path]} samples in the list, {frames} in the recording")
    if not differ:
        return
    if not accept:
        raise MMFairseqError(
            f"{named(differ)}; the list was made of other files: make it anew, or go on by --accept-counts"
        )
    prepared.notes.append(f"accepted: recordings that differ from the lists: {named(differ)}")


class _Column(list[str]):
    """The lines of a file beside a list."""

    def __init__(self, file: Path, lines: Sequence[str]) -> None:
        super().__init__(lines)
        self.file = file


def _beside(file: Path, ending: str, count: int) -> _Column | None:
    """The file with another ending, one line an utterance; None where there is none.

    Raises:
        MMFairseqError: it has more or fewer lines than the list has recordings.
    """
    other = file.with_suffix(f".{ending}")
    if not other.is_file():
        return None
    lines = _lines(other)
    if len(lines) != count:
        raise MMFairseqError(f"{other}: {len(lines)} lines, but {file.name} names {count} recordings")
    return _Column(other, lines)


def _lines(file: Path) -> list[str]:
    lines = read_utf8(file).replace("\r\n", "\n").removesuffix("\n").split("\n")
    if lines == [""]:
        raise MMFairseqError(f"{file}: is empty")
    return lines


def _label(line: str, path: str, where: str) -> str:
    name, tab, label = line.partition("\t")
    if not tab:
        return one_line(line)
    stem = PurePosixPath(path).stem
    if PurePosixPath(name.strip()).stem != stem and name.strip() != stem:
        raise MMFairseqError(f"{where}: {name.strip()!r} is another utterance than {path!r} of the list")
    return one_line(label)


def _spoken(letters: str) -> str:
    return "".join(letters.split()).replace("|", " ")


def _with_ids(entries: Sequence[Entry]) -> list[Entry]:
    """The stems as ids where they are unique, else the paths below the folder that all lie in."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        other = seen.setdefault(entry.path, entry)
        if other is not entry:
            raise MMFairseqError(
                f"{entry.file}:{entry.line}: {entry.path!r} stands already in {other.file}:{other.line}"
            )
    if len({entry.row.id for entry in entries}) == len(entries):
        return list(entries)
    root = _common(entries)
    ids = [Path(entry.path).relative_to(root).with_suffix("").as_posix() for entry in entries]
    return [replace(entry, row=replace(entry.row, id=name)) for entry, name in zip(entries, ids, strict=True)]


def _common(entries: Sequence[Entry]) -> Path:
    return Path(os.path.commonpath([os.path.dirname(entry.path) for entry in entries]))

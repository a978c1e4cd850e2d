"""The Korean corpus of seven acted emotions in video, audio and text of the cross-modal transformer korbert_vat (2020).

350 sentences, 50 for each emotion, spoken by 100 actors. Two forms are read:

- frames `train`, `dev`, `test` and, where there is one, `test_stt`, each `.pkl` (pandas) or `.parquet`, with the
  columns `person_ix`, `audio` (samples), `Sentence`, `Emotion`. `test_stt` has the rows of `test` with the text that a
  speech recogniser made of them: the manifest's column `text_asr`. Partners are found by person and samples.
- the recordings themselves, `000/0-1.m2ts`: person 0, sentence 1. Sentences 1 to 50 are of one emotion, 51 to 100 of
  the next, and so on; `--blocks` names the emotions in order. What was said stands in a table, `--sentences`.

Published counts of the frames: 8278 / 1014 / 1003, divided by sentence, 280 / 35 / 35: the protocol `by_script`. Of
recordings a tenth of each emotion's sentences is taken for validation and for test, chosen by a hash. `by_person` tests
on persons that training has not seen.
"""

import argparse
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..errors import MMFairseqError, named
from ..manifest import TEXT_ASR, Manifest, Utterance, normalised
from ..targets import Target
from ._vat_frames import EMOTIONS, Row, read_rows, recognised
from .base import CORPORA, FILES, SPLITS, Corpus, ParsedCorpus
from .draw import deal, rotate
from .frames import SUFFIXES, sentence_of
from .recordings import Faults, archive_hint
from .records import read_columns

FRAMES = {"train": "train", "dev": "valid", "test": "test"}
HEARD = "test_stt"
BLOCKS = ("행복", "놀람", "중립", "공포", "혐오", "분노", "슬픔")
BLOCK = 50  # sentences of one emotion
PUBLISHED = {"train": 8278, "valid": 1014, "test": 1003}
PERSON_FOLDS = 5
RATES = (1000, 768_000)  # Hz

_RECORDING = re.compile(r"(\d+)-(\d+)\.m2ts$", re.IGNORECASE)


@CORPORA.register("korean_vat")
class KoreanVat(Corpus):
    """The parser; see the module for the two forms."""

    help = "Korean corpus of seven emotions: frames train, dev, test, test_stt (.pkl or .parquet), or m2ts recordings"
    raw = "the folder with the frames, or with the folders 000 to 099 of recordings"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--accept-counts", action="store_true", help="go on where the counts differ from the published ones"
        )
        parser.add_argument(
            "--rate", type=int, default=48000, metavar="HZ", help="of the samples in frames (default: %(default)s)"
        )
        parser.add_argument(
            "--sentences",
            type=Path,
            metavar="FILE",
            help="csv or tsv with the columns number and sentence: what is said in recording PERSON-NUMBER.m2ts",
        )
        parser.add_argument(
            "--blocks",
            default=",".join(BLOCKS),
            metavar="LIST",
            help=f"the emotions of recordings 1-{BLOCK}, {BLOCK + 1}-{2 * BLOCK} and so on (default: %(default)s)",
        )

    def parse(self, raw: Path, args: argparse.Namespace) -> ParsedCorpus:
        found = {name: file for name in (*FRAMES, HEARD) if (file := frame_file(raw, name))}
        if found:
            if args.sentences:
                raise MMFairseqError("--sentences: the frames have the sentences already; it is for recordings")
            return _frames(raw, found, args.rate)
        if recordings := sorted(raw.glob("[0-9]*/*.[mM]2[tT][sS]")):
            return _recordings(raw, recordings, _blocks(args.blocks), _sentences(args.sentences))
        raise MMFairseqError(
            f"{raw}: neither frames (train.pkl, dev.pkl, test.pkl, or .parquet) nor recordings (000/0-1.m2ts); "
            f"RAW must be {self.raw}{archive_hint(raw)}"
        )


def frame_file(folder: Path, name: str) -> Path | None:
    """The file of one frame.

    Raises:
        MMFairseqError: there are two.
    """
    files = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()]
    if len(files) > 1:
        raise MMFairseqError(f"{folder}: {files[0].name} and {files[1].name}: which of them? leave one there")
    return files[0] if files else None


def _corpus(root: Path, extra: list[str]) -> ParsedCorpus:
    return ParsedCorpus(Manifest(root, extra, []), [Target("emotion", "single", EMOTIONS)], {})


def _frames(raw: Path, files: dict[str, Path], rate: int) -> ParsedCorpus:
    if not RATES[0] <= rate <= RATES[1]:
        raise MMFairseqError(f"--rate {rate}: must be {RATES[0]} to {RATES[1]} Hz")
    if absent := [name for name in FRAMES if name not in files]:
        raise MMFairseqError(f"{raw}: no {absent[0]}{next(iter(files.values())).suffix} beside {named(sorted(files))}")
    frames = {name: read_rows(files[name]) for name in FRAMES}
    heard: dict[str, list[str]] = {}
    if HEARD in files:
        heard["test"] = recognised(frames["test"], read_rows(files[HEARD]), files[HEARD])
    prepared = _corpus(Path(FILES), ["emotion", TEXT_ASR] if heard else ["emotion"])
    writers: dict[str, Callable[[Path], Any]] = {}
    rows = prepared.manifest.utterances
    for name, split in FRAMES.items():
        for number, row in enumerate(frames[name]):
            labels = {"emotion": row.emotion}
            if heard:
                labels[TEXT_ASR] = heard[name][number] if name in heard else ""
            ident = f"{name}{number:05d}_p{row.person:03d}"
            path = f"audio/{name}/{ident}.flac"
            writers[path] = partial(_write_sound, row, rate)
            rows.append(Utterance(ident, split, f"{row.person:03d}", audio=path, text=row.sentence, labels=labels))
    prepared.files = writers
    prepared.published, prepared.seen = PUBLISHED, dict(Counter(row.split for row in rows))
    prepared.protocols["by_script"] = {"1": {split: [row.id for row in rows if row.split == split] for split in SPLITS}}
    _note_sentences(prepared)
    if heard:
        silent = sum(not text for text in heard["test"])
        prepared.details[TEXT_ASR] = len(heard["test"]) - silent
        if silent:
            prepared.notes.append(f"{silent} rows of test have no recognised text")
    _by_person(prepared)
    return prepared


def _write_sound(row: Row, rate: int, path: Path) -> None:
    soundfile.write(path, row.samples, rate, subtype="PCM_16")


def _note_sentences(prepared: ParsedCorpus) -> None:
    """Say how many sentences there are, and whether splits share some."""
    texts = {
        split: {normalised(row.text) for row in prepared.manifest.utterances if row.split == split} - {""}
        for split in SPLITS
    }
    prepared.details |= {f"sentences_{split}": len(found) for split, found in texts.items()}
    for split in ("valid", "test"):
        if shared := sorted(texts["train"] & texts[split]):
            prepared.notes.append(f"{len(shared)} sentences of {split} are in train too: {named(shared)}")
    if silent := [row.id for row in prepared.manifest.utterances if not row.text]:
        prepared.notes.append(f"{len(silent)} utterances have no sentence: {named(silent)}")


def _by_person(prepared: ParsedCorpus) -> None:
    rows = prepared.manifest.utterances
    persons = {row.speaker for row in rows}
    parts = min(PERSON_FOLDS, len(persons))
    if parts < len(SPLITS):
        prepared.notes.append(f"no protocol by_person: {len(persons)} persons are too few for train, valid and test")
        return
    prepared.protocols["by_person"] = rotate(((row.speaker, row.id) for row in rows), persons, parts)
    prepared.apart["by_person"] = ("speakers",)


def _blocks(text: str) -> tuple[str, ...]:
    blocks = tuple(name.strip() for name in text.split(","))
    if sorted(blocks) != sorted(EMOTIONS):
        raise MMFairseqError(f"--blocks {text}: name each of {', '.join(EMOTIONS)} once")
    return blocks


def _sentences(file: Path | None) -> dict[int, str]:
    """{number: sentence} of the table."""
    texts: dict[int, str] = {}
    for record in read_columns(file, ("number", "sentence")) if file else ():
        place, text = f"{file}:{record.line}", record.fields["number"].strip()
        if not text.isdecimal() or not 1 <= int(text) <= BLOCK * len(EMOTIONS):
            raise MMFairseqError(f"{place}: column 'number': {text!r} is none of 1 to {BLOCK * len(EMOTIONS)}")
        if int(text) in texts:
            raise MMFairseqError(f"{place}: column 'number': {text} stands twice")
        texts[int(text)] = sentence_of(record.fields["sentence"], f"{place}: column 'sentence'")
    return texts


def _recordings(raw: Path, files: list[Path], blocks: tuple[str, ...], texts: dict[int, str]) -> ParsedCorpus:
    prepared = _corpus(raw, ["emotion"])
    seen: dict[tuple[int, int], Path] = {}
    for file in files:
        match = _RECORDING.match(file.name)
        person, number = (int(part) for part in match.groups()) if match else (-1, 0)
        folder = int(file.parent.name) if file.parent.name.isdecimal() else None
        if not match or person != folder or not 1 <= number <= BLOCK * len(blocks):
            raise MMFairseqError(
                f"{file}: expected PERSON/PERSON-SENTENCE.m2ts with one number of a person and a sentence of 1 to "
                f"{BLOCK * len(blocks)}, as 000/0-1.m2ts"
            )
        if (person, number) in seen:
            raise MMFairseqError(f"{file}: the same person and sentence as {seen[person, number]}")
        seen[person, number] = file
    faults = Faults()
    for file in seen.values():
        faults.check(file)
    prepared.notes += [f"`binarize` will leave out {told}" for told in faults.told()]
    split_of = by_script({number for _, number in seen}, blocks)
    for (person, number), file in sorted(seen.items()):
        prepared.manifest.utterances.append(
            Utterance(
                f"p{person:03d}_s{number:03d}",
                split_of[number],
                f"{person:03d}",
                video=file.relative_to(raw).as_posix(),
                text=texts.get(number, ""),
                labels={"emotion": blocks[(number - 1) // BLOCK]},
            )
        )
    rows = prepared.manifest.utterances
    prepared.protocols["by_script"] = {"1": {split: [row.id for row in rows if row.split == split] for split in SPLITS}}
    prepared.details["sentences"] = len({number for _, number in seen})
    if lacking := sorted({number for _, number in seen} - texts.keys()):
        prepared.notes.append(
            f"{len(lacking)} sentences have no text: {named(list(map(str, lacking)))}; --sentences FILE names them"
        )
    _by_person(prepared)
    return prepared


def by_script(numbers: set[int], blocks: tuple[str, ...]) -> dict[int, str]:
    """{sentence: split}: of each emotion a tenth of the sentences, at least one where there are three, to validation
    and as many to test, chosen by a hash.
    """
    splits: dict[int, str] = {}
    for place in range(len(blocks)):
        own = [number for number in numbers if (number - 1) // BLOCK == place]
        order = deal(map(str, own), max(1, len(own)))
        share = max(int(len(own) >= len(SPLITS)), int(np.rint(len(own) / 10)))
        for number in own:
            turn = order[str(number)]
            splits[number] = "test" if turn < share else "valid" if turn < 2 * share else "train"
    return splits

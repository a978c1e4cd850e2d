"""A miniature IEMOCAP with the oddities of the real release, written by hand."""

import argparse
from pathlib import Path

import pytest

from mm_fairseq.corpora import CORPORA, ParsedCorpus

LABELS = ("neu", "hap", "exc", "ang", "sad", "xxx", "fru")
NAMES = dict(zip(LABELS, ("Neutral", "Happiness", "Excited", "Anger", "Sadness", "Fear", "Frustration"), strict=True))
RATERS = (
    "C-E2:\t{0};\t()\nC-E3:\t{0};\t(bored; calm)\nC-E4:\tFrustration; {0};\t()\n"
    "C-F1:\tOther;\t(curious)\nA-E3:\tval 3; act 2; dom  2;\t()\n"
)


@pytest.fixture
def iemocap(tmp_path) -> Path:
    """Five sessions, one dialogue each: seven rated turns by F and M in turn, listed by speaker as the release does."""
    root = tmp_path / "IEMOCAP"
    for session in range(1, 6):
        dialogue = f"Ses0{session}{'FM'[session % 2]}_script01_1b"
        base = root / f"Session{session}"
        turns = []
        for order, label in enumerate(LABELS):
            name = f"{dialogue}_{'FM'[order % 2]}{order // 2:03d}"
            turns.append((name, 2.0 * order, 2.0 * order + 1.5, label))
        evaluation = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
        for name, start, end, label in sorted(turns):
            evaluation += f"[{start:.4f} - {end:.4f}]\t{name}\t{label}\t[2.5000, 2.5000, 2.5000]\n"
            evaluation += RATERS.format(NAMES[label]) + "\n"
        spoken = "".join(f"{name} [{start:08.4f}-{end:08.4f}]: Turn {name[-4:]}.\n" for name, start, end, _ in turns)
        spoken += f"M: Yeah.\n{dialogue}_MXX0 [015.0000-016.0000]: [LAUGHTER] Both.\n"
        _write(base / "dialog/EmoEvaluation" / f"{dialogue}.txt", evaluation.encode())
        _write(base / "dialog/EmoEvaluation/Categorical" / f"{dialogue}_e1_cat.txt", b"not a rating")
        _write(base / "dialog/EmoEvaluation" / f"._{dialogue}.txt", b"\x00\x05\x16\x07[")
        _write(base / "dialog/transcriptions" / f"{dialogue}.txt", spoken.encode())
        _write(base / "dialog/avi/DivX" / f"{dialogue}.avi", b"AVI")
        for name, *_ in turns:
            _write(base / "sentences/wav" / dialogue / f"{name}.wav", b"RIFF")
    return root


@pytest.fixture
def parse():
    """`parse("table", path, "--option", ...)`: what the corpus makes of it."""

    def run(name: str, raw: Path, *options: str) -> ParsedCorpus:
        parser = argparse.ArgumentParser()
        corpus = CORPORA.get(name)
        corpus.add_arguments(parser)
        return corpus().parse(raw, parser.parse_args(options))

    return run


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)

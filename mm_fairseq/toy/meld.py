"""A toy corpus in the on-disk form of MELD.Raw (Poria et al. 2019, https://arxiv.org/abs/1810.02508).

`train/train_splits/dia0_utt0.mp4`, `dev_splits_complete/` and `output_repeated_splits_test/` with one clip an
utterance, numbered from 0 in each, and `{train,dev,test}_sent_emo.csv`. As in life: half of what is said is neutral;
numbers have gaps; a clip that no table has, and what a Mac leaves beside files, lie in the test folder; some
apostrophes are those of Windows-1252, and some hours have one digit.

Seven emotions. The words tell six of them apart, voice and face four each; all three together name every one.
"""

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ..errors import MMFairseqError
from . import acted, speech
from .clips import write_clip
from .cues import Cue
from .folder import check_new
from .sentences import sentence

FOLDERS = {"train": "train/train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
SPEAKERS = ("Ann", "Ben", "Cleo", "Dan", "Eve", "Finn")
FPS = 12
SIZE = (256, 144)
SECONDS = (0.7, 1.3)
APOSTROPHES = ("’", "\x92")  # as it should be, and as Windows-1252 that was taken for Latin-1
MINIMUM = 48  # with it dev and test have every emotion

_SENTIMENTS = {"neutral": "neutral", "joy": "positive"}  # surprise is either, the others are negative
_SHOWN = {  # voice, face, words
    "neutral": (Cue(-1, 1), Cue(-1, 1), Cue(1, 0)),
    "joy": (Cue(1, 1), Cue(1, 1), Cue(1, 1)),
    "surprise": (Cue(1, -1), Cue(1, -1), Cue(1, -1)),
    "anger": (Cue(1, 1), Cue(-1, -1), Cue(-1, 1)),
    "sadness": (Cue(-1, -1), Cue(-1, -1), Cue(-1, -1)),
    "fear": (Cue(1, -1), Cue(1, -1), Cue(-1, -1)),
    "disgust": (Cue(-1, 1), Cue(1, -1), Cue(-1, 0)),
}
_OTHERS = tuple(name for name in _SHOWN if name != "neutral")
_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"


class Line(NamedTuple):
    """One row of a table, and the length of its clip in seconds."""

    emotion: str
    speaker: int
    dialogue: int
    turn: int
    seconds: float


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a new or empty folder.
        utterances: how many, a quarter each in dev and test.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few utterances, or the folder is taken.
    """
    if utterances < MINIMUM:
        raise MMFairseqError(f"--utterances {utterances}: seven emotions in three splits need at least {MINIMUM}")
    check_new(out, seed)
    rng = np.random.default_rng(seed)
    people = [acted.actor("FM"[index % 2], rng) for index in range(len(SPEAKERS))]
    quarter = utterances // 4
    sizes = {"train": utterances - 2 * quarter, "dev": quarter, "test": quarter}
    with tqdm(total=utterances, desc="toy meld", unit="utt", disable=None) as bar:
        for split, size in sizes.items():
            folder = out / FOLDERS[split]
            folder.mkdir(parents=True)
            lines = list(_lines(size, rng))
            _write_table(out / f"{split}_sent_emo.csv", lines, rng)
            for line in lines:
                voice, face, _ = _SHOWN[line.emotion]
                sound, frames = acted.perform(people[line.speaker], voice, face, line.seconds, FPS, SIZE, rng)
                write_clip(folder / _clip(line), frames, sound, FPS, speech.SAMPLE_RATE)
                bar.update()
    last = out / FOLDERS["test"] / _clip(lines[-1])
    shutil.copyfile(last, last.with_name(f"final_videos_test{last.name}"))
    last.with_name(f"._{last.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")


def _clip(line: Line) -> str:
    return f"dia{line.dialogue}_utt{line.turn}.mp4"


def _lines(size: int, rng: np.random.Generator) -> Iterator[Line]:
    """Dialogues of 3 to 8 utterances; every second one is neutral, the others have the other emotions by turns."""
    emotions = ["neutral" if index % 2 else _OTHERS[index // 2 % len(_OTHERS)] for index in range(size)]
    order = [emotions[int(place)] for place in rng.permutation(size)]
    dialogue = 0
    while order:
        talking = rng.choice(len(SPEAKERS), size=int(rng.integers(2, 4)), replace=False)
        turn = 0
        for emotion in [order.pop() for _ in range(min(len(order), int(rng.integers(3, 9))))]:
            turn += 1 + int(turn > 0 and rng.random() < 0.05)  # some utterances of the series were left out
            seconds = round(float(rng.uniform(*SECONDS)), 3)
            yield Line(emotion, int(rng.choice(talking)), dialogue, turn - 1, seconds)
        dialogue += 1


def _write_table(file: Path, lines: list[Line], rng: np.random.Generator) -> None:
    """As the release: fields in quotation marks where they need them, lines that end in CR LF."""
    rows: list[tuple] = []
    clock: dict[int, float] = {}
    serial = 0
    for line in lines:
        serial += 1 + int(rng.random() < 0.05)
        season, episode = 1 + line.dialogue % 9, 1 + line.dialogue // 9
        start = clock.setdefault(line.dialogue, 60.0 * (1 + line.dialogue)) + float(rng.uniform(0, 0.5))
        end = clock[line.dialogue] = start + line.seconds + 2 * acted.SILENCE
        words = sentence(_SHOWN[line.emotion][2], rng)
        if line.turn % 4 == 1:
            words = f"Ann{APOSTROPHES[line.turn % 8 == 1]}s right. {words}"
        feeling = _SENTIMENTS.get(line.emotion, "negative")
        if line.emotion == "surprise":
            feeling = ("positive", "negative")[int(rng.integers(2))]
        times = (_time(start, line.dialogue % 5 == 4), _time(end, line.dialogue % 5 == 4))
        said = (serial, words, SPEAKERS[line.speaker], line.emotion, feeling)
        rows.append((*said, line.dialogue, line.turn, season, episode, *times))
    with open(file, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\r\n").writerows([_HEADER.split(","), *rows])


def _time(seconds: float, short: bool) -> str:
    rest, milliseconds = divmod(round(1000 * seconds), 1000)
    hours, rest = divmod(rest, 3600)
    return f"{hours if short else f'{hours:02}'}:{rest // 60:02}:{rest % 60:02},{milliseconds:03}"

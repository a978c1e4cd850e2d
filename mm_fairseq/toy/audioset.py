"""A toy corpus in the on-disk form of AudioSet (Gemmeke et al. 2017, https://research.google.com/audioset).

`train/Output_clip_len_0.25_audio_101/<class>/video_<n>_start_<s>_end_<e>.mp4` and the same below `eval`, as Shirian's
downloader lays clips down: n is the row of the segment csv, from 0, and a clip of two events is copied into both class
folders. Beside them `balanced_train_segments.csv`, `eval_segments.csv` and `ontology.json` in the form of the release.
As in life some rows have no clip.

An event is heard and seen; the two together name it, alone at best 3 of 6:

=======  ==========================================================================
sound    hum: Accelerating, Helicopter    bursts: Dog, Fireworks    sweeps: A capella, Fire engine
picture  disc: Accelerating, A capella    bars: Helicopter, Dog     square: Fireworks, Fire engine
=======  ==========================================================================
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import MMFairseqError
from .clips import write_clip
from .folder import check_new

FOLDER = "Output_clip_len_0.25_audio_101"
SEGMENTS = {"train": "balanced_train_segments.csv", "eval": "eval_segments.csv"}
FPS = 20
SIZE = (160, 120)
RATE = 22_050  # Hz
SECONDS = (1.0, 2.5)  # of a clip
EVAL = 5  # one clip of so many is in eval
SEVERAL = 10  # one of so many has two events
GONE = 25  # one row of so many has no clip
MINIMUM = 60


class Event(NamedTuple):
    """An entry of the ontology, and how it sounds and looks."""

    mid: str
    name: str
    sound: str
    picture: str


EVENTS = (
    Event("/m/0z9c", "A capella", "sweeps", "disc"),
    Event("/m/07q2z82", "Accelerating, revving, vroom", "hum", "disc"),
    Event("/m/0bt9lr", "Dog", "bursts", "bars"),
    Event("/m/012ndj", "Fire engine, fire truck (siren)", "sweeps", "square"),
    Event("/m/0g6b5", "Fireworks", "bursts", "square"),
    Event("/m/09ct_", "Helicopter", "hum", "bars"),
)
_PARENTS = {"Music": ("/m/04rlf", 1), "Animal": ("/m/0jbk", 1), "Sounds of things": ("/t/dd00041", 4)}
_COLOURS = {"disc": (214, 92, 60), "bars": (70, 110, 214), "square": (84, 190, 92)}
_LETTERS = list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a new or empty folder.
        utterances: how many clips, a fifth of them in `eval`, the events balanced.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few utterances, or the folder is taken.
    """
    if utterances < MINIMUM:
        raise MMFairseqError(f"--utterances {utterances}: six events in two splits need at least {MINIMUM}")
    check_new(out, seed)
    rng = np.random.default_rng(seed)
    out.mkdir(parents=True, exist_ok=True)
    (out / "ontology.json").write_text(json.dumps(_ontology(), indent=2) + "\n", encoding="utf-8")
    sizes = {"train": utterances - utterances // EVAL, "eval": utterances // EVAL}
    with tqdm(total=utterances, desc="toy audioset", unit="utt", disable=None) as bar:
        for split, size in sizes.items():
            rows = []
            for number, (events, gone) in enumerate(_drawn(size, rng)):
                start = 10 * int(rng.integers(0, 30))
                rows.append(("".join(rng.choice(_LETTERS, 11)), start, start + 10, events))
                if gone:
                    continue
                files = [
                    out / split / FOLDER / event.name / f"video_{number}_start_{start}_end_{start + 10}.mp4"
                    for event in events
                ]
                for file in files:
                    file.parent.mkdir(parents=True, exist_ok=True)
                sound, frames = clip(events, float(rng.uniform(*SECONDS)), rng)
                write_clip(files[0], frames, sound, FPS, RATE)
                for file in files[1:]:
                    shutil.copyfile(files[0], file)
                bar.update()
            _write_segments(out / SEGMENTS[split], rows)


def _drawn(size: int, rng: np.random.Generator) -> list[tuple[list[Event], bool]]:
    """The events of each row, in any order, and whether its clip is gone; `size` clips are there."""
    rows: list[tuple[list[Event], bool]] = []
    for index in range(size):
        first = index % len(EVENTS)
        events = [EVENTS[first]]
        if index % SEVERAL == SEVERAL - 1:
            events.append(EVENTS[(first + 1 + int(rng.integers(len(EVENTS) - 1))) % len(EVENTS)])
        rows.append((events, False))
    rows += [([EVENTS[index % len(EVENTS)]], True) for index in range(max(1, size // GONE))]
    return [rows[int(place)] for place in rng.permutation(len(rows))]


def clip(events: list[Event], seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sound and picture of events that take turns, each of an equal part of the clip.

    Returns:
        int16 samples at `RATE`, Shape (T,), and RGB uint8 pictures at `FPS`, Shape (H, W, 3).
    """
    count = round(seconds * FPS)
    length = count * RATE // FPS
    sound, frames = 0.02 * rng.standard_normal(length), []
    ends = np.linspace(0, count, len(events) + 1).round().astype(int)
    wall = rng.integers(60, 150) + rng.integers(-15, 15, 3) + rng.normal(0, 8, (SIZE[1], SIZE[0], 1))
    for event, first, last in zip(events, ends[:-1], ends[1:], strict=True):
        begin, end = first * RATE // FPS, last * RATE // FPS
        sound[begin:end] += rng.uniform(0.2, 0.5) * _sound(event.sound, end - begin, rng)
        place, phase = rng.random(2), rng.random()
        for index in range(last - first):
            frames.append(_picture(wall, event.picture, place, phase + index / FPS))
    return np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16), frames


def _sound(kind: str, length: int, rng: np.random.Generator) -> np.ndarray:
    """Shape (T,), about 1 at its loudest."""
    time = np.arange(length) / RATE
    if kind == "hum":
        base = rng.uniform(70, 130) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * time))
        phase = 2 * np.pi * np.cumsum(base) / RATE
        wave = sum(np.cos(k * phase + rng.uniform(0, 6)) / k for k in range(1, 7))
    elif kind == "bursts":
        beat = (rng.uniform(2.5, 4.5) * time + rng.random()) % 1
        wave = np.exp(-9 * beat) * rng.standard_normal(length)
    else:
        rate = rng.uniform(1, 2)
        tone = rng.uniform(1300, 1700) * 2 ** (0.6 * np.sin(2 * np.pi * (rate * time + rng.random())))
        wave = np.cos(2 * np.pi * np.cumsum(tone) / RATE)
    return wave / (np.abs(wave).max() + 1e-9)


def _picture(wall: np.ndarray, kind: str, place: np.ndarray, time: float) -> np.ndarray:
    """A disc that swells, bars that wander to the right, or a square that jumps. Shape (H, W, 3)."""
    picture = np.broadcast_to(wall, (SIZE[1], SIZE[0], 3)).astype(np.float32)
    x, y = int(SIZE[0] * (0.35 + 0.3 * place[0])), int(SIZE[1] * (0.35 + 0.3 * place[1]))
    if kind == "disc":
        cv2.circle(picture, (x, y), round(26 + 10 * np.sin(9 * time)), _COLOURS[kind], -1, cv2.LINE_AA)
    elif kind == "bars":
        for left in range(-40, SIZE[0], 40):
            edge = left + round(60 * (time + place[0])) % 40
            cv2.rectangle(picture, (edge, 0), (edge + 16, SIZE[1]), _COLOURS[kind], -1)
    else:
        jump = round(24 * abs(np.sin(7 * time)))
        cv2.rectangle(picture, (x - 25, y - 18 - jump), (x + 25, y + 32 - jump), _COLOURS[kind], -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _write_segments(file: Path, rows: list[tuple[str, int, int, list[Event]]]) -> None:
    """Times with three digits, a blank behind each comma, the labels in quotation marks."""
    labels = sum(len(events) for *_, events in rows)
    unique = len({event for *_, events in rows for event in events})
    with open(file, "w", encoding="utf-8", newline="") as out:
        out.write("# Segments csv created Sun Mar  5 10:54:31 2017\n")
        out.write(
            f"# num_ytids={len(rows)}, num_segs={len(rows)}, num_unique_labels={unique}, num_positive_labels={labels}\n"
        )
        out.write("# YTID, start_seconds, end_seconds, positive_labels\n")
        for name, start, end, events in rows:
            mids = ",".join(sorted(event.mid for event in events))
            out.write(f'{name}, {start:.3f}, {end:.3f}, "{mids}"\n')


def _ontology() -> list[dict]:
    entries, left = [], sorted(EVENTS, key=lambda event: (event.name != "A capella", event.name != "Dog"))
    for name, (mid, count) in _PARENTS.items():
        children, left = left[:count], left[count:]
        entries.append(_entry(mid, name, [child.mid for child in children], ["abstract"]))
        entries += [_entry(child.mid, child.name, [], []) for child in children]
    return entries


def _entry(mid: str, name: str, children: list[str], restrictions: list[str]) -> dict:
    return {
        "id": mid,
        "name": name,
        "description": f"Toy: {name}.",
        "citation_uri": "",
        "positive_examples": [],
        "child_ids": children,
        "restrictions": restrictions,
    }

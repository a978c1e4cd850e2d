"""What the toys of CMU-MOSI and CMU-MOSEI have in common: monologues, label files, and the forms of MMSA.

A monologue is a row of clips by one person. Words, voice and face each show one sign, which weigh 1.4, 0.8 and 0.6:
their sum is the sentiment, from -2.8 to 2.8, and 0 where the words are against the other two. What else voice and face
show (breath, brows) tells the emotions apart.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..errors import MMFairseqError
from . import acted, features, speech
from .clips import write_clip
from .cues import Cue
from .folder import check_new
from .sentences import sentence

FORMS = ("raw", "mmsa", "features")
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
WEIGHTS = (1.4, 0.8, 0.6)  # words, voice, face
CLIPS = 6  # of a monologue
SHARES = {"train": 0.6, "valid": 0.15, "test": 0.25}
MINIMUM = 3 * CLIPS  # a video a split
FPS = 15
SIZE = (320, 240)
RATE = 44_100  # Hz, in the mp4

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_LABEL_COLUMNS = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")


@dataclass
class Take:
    """One clip: what is said and shown, int16 samples at `speech.SAMPLE_RATE` (T,) and pictures (H, W, 3)."""

    text: str
    signs: tuple[int, int, int]
    emotions: dict[str, float]
    sound: np.ndarray
    frames: list[np.ndarray]

    @property
    def sentiment(self) -> float:
        return round(float(np.dot(WEIGHTS, self.signs)), 6)

    @property
    def seconds(self) -> float:
        return len(self.sound) / speech.SAMPLE_RATE


Video = tuple[str, str, list[Take]]
"""Name, split ("" for none) and clips."""
Plan = Sequence[tuple[str, int]]
"""The split of each video and its number of clips."""


def write(
    out: Path,
    utterances: int,
    seed: int,
    form: str,
    name_of: Callable[[int, str, np.random.Generator], str],
    write_raw: Callable[[Path, Callable[[Plan], Iterator[Video]], Plan], None],
) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a new or empty folder.
        utterances: how many segments with a label and a fold, six a video.
        seed: of everything drawn.
        form: raw, mmsa or features.
        name_of: from number, split and generator to the name of a video.
        write_raw: writes the raw form; gets `out`, what draws the videos of a plan, and the plan.

    Raises:
        MMFairseqError: too few utterances, the folder is taken, or h5py (raw) or pandas (features) is not installed.
    """
    check(out, utterances, seed, form)

    def videos(plan: Plan) -> Iterator[Video]:
        rng = np.random.default_rng(seed)
        for number, (split, clips) in enumerate(tqdm(plan, desc="toy cmu", unit="video", disable=None)):
            yield name_of(number, split, rng), split, monologue(clips, rng)

    if form == "features":
        write_features(out, utterances, seed)
    elif form == "mmsa":
        write_mmsa(out, videos(splits(utterances)))
    else:
        write_raw(out, videos, splits(utterances))


def check(out: Path, utterances: int, seed: int, form: str) -> None:
    """Raises MMFairseqError for a number or form that is not possible, or a folder that is taken."""
    if form not in FORMS:
        raise MMFairseqError(f"--form {form}: must be one of {', '.join(FORMS)}")
    least = features.MINIMUM if form == "features" else MINIMUM
    if utterances < least:
        raise MMFairseqError(f"--utterances {utterances}: at least {least}")
    check_new(out, seed)


def splits(utterances: int) -> Plan:
    """The split of each monologue and its number of clips."""
    sizes = [CLIPS] * (utterances // CLIPS) + [utterances % CLIPS] * bool(utterances % CLIPS)
    counts = {split: max(1, round(share * len(sizes))) for split, share in SHARES.items()}
    counts["train"] = len(sizes) - counts["valid"] - counts["test"]
    return list(zip([split for split, count in counts.items() for _ in range(count)], sizes, strict=True))


def name(first: str, rng: np.random.Generator) -> str:
    """The name of a video, eleven letters as YouTube has them, of which the first is given."""
    return first + "".join(rng.choice(list(_LETTERS), 10))


def monologue(clips: int, rng: np.random.Generator) -> list[Take]:
    """The clips of one person; every combination of the three signs comes by turns."""
    who = acted.actor("FM"[int(rng.integers(2))], rng)
    codes = rng.permutation(8)[np.arange(clips) % 8]
    return [_take(who, int(code), rng) for code in codes]


def _take(who: acted.Actor, code: int, rng: np.random.Generator) -> Take:
    words, voice, face = (1 if code >> bit & 1 else -1 for bit in range(3))
    breath, brows = (int(sign) for sign in rng.choice([-1, 1], 2))
    # A whole number of pictures, so that clips can stand one behind the other.
    seconds = int(rng.integers(13, 20)) / FPS + 2 * acted.SILENCE
    seconds = round(seconds * FPS) / FPS - 2 * acted.SILENCE
    sound, frames = acted.perform(who, Cue(voice, breath), Cue(brows, face), seconds, FPS, SIZE, rng)
    length = round(len(frames) * speech.SAMPLE_RATE / FPS)
    sound = np.pad(sound[:length], (0, max(0, length - len(sound))))
    sentiment = float(np.dot(WEIGHTS, (words, voice, face)))
    third = round(3 * abs(sentiment)) / 3
    emotions = {
        "happy": third if sentiment > 0 else 0.0,
        "sad": third if sentiment < 0 and breath < 0 else 0.0,
        "anger": third if sentiment < 0 and breath > 0 else 0.0,
        "surprise": 1.0 if brows > 0 and voice > 0 else 0.0,
        "disgust": 2 / 3 if brows < 0 and face < 0 else 0.0,
        "fear": 1 / 3 if brows > 0 and voice < 0 else 0.0,
    }
    return Take(sentence(Cue(words, 0), rng), (words, voice, face), emotions, sound, frames)


def write_video(path: Path, takes: Sequence[Take]) -> None:
    """Clips one behind the other as one mp4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames: Iterator[np.ndarray] = (frame for take in takes for frame in take.frames)
    sound = np.concatenate([take.sound for take in takes])
    write_clip(path, frames, acted.at_rate(sound, RATE), FPS, RATE)


def write_csd(
    file: Path, sequence: str, columns: Sequence[str], videos: dict[str, list[tuple[list[float], float, float]]]
) -> None:
    """A computational sequence as the CMU-MultimodalSDK writes it.

    Args:
        file: the `.csd`.
        sequence: its name.
        columns: what the values are.
        videos: {video: values, start and end of each segment}.
    """
    try:
        import h5py
    except ImportError as error:
        raise MMFairseqError(f"{file}: HDF5: pip install 'mm-fairseq[hdf5]' ({error})") from error
    about: dict[str, Any] = {
        "root name": sequence,
        "computational sequence description": "made-up labels",
        "dimension names": list(columns),
        "computational sequence version": "1.0",
        "alignment compatible": "yes",
        "dataset name": "toy",
        "dataset version": "1.0",
        "creator": "mm-fairseq toy",
        "contact": "",
        "featureset bib citation": "",
        "dataset bib citation": "",
    }
    with h5py.File(file, "w") as content:
        root = content.create_group(sequence)
        data = root.create_group("data")
        for video, segments in videos.items():
            group = data.create_group(video)
            group.create_dataset("features", data=np.array([values for values, *_ in segments], np.float32))
            group.create_dataset("intervals", data=np.array([times for _, *times in segments], np.float32))
        metadata = root.create_group("metadata")
        for key, value in about.items():
            metadata.create_dataset(key, (1,), dtype=h5py.string_dtype())[0] = json.dumps(value)


def write_mmsa(out: Path, videos: Iterator[Video]) -> None:
    """`label.csv` and `Raw/<video>/<clip>.mp4` of (video, split, clips)."""
    rows: list[tuple[str, ...]] = [_LABEL_COLUMNS]
    for video, split, takes in videos:
        for number, take in enumerate(takes, start=1):
            write_video(out / "Raw" / video / f"{number}.mp4", [take])
            sign = ("Neutral", "Positive", "Negative")[int(np.sign(take.sentiment))]
            single = (f"{3.0 * each}" for each in take.signs)
            rows.append((video, str(number), take.text, f"{take.sentiment}", *single, sign, split))
    with open(out / "label.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_features(out: Path, utterances: int, seed: int) -> None:
    """`Processed/unaligned_50.pkl` and `aligned_50.pkl`, as `features` makes them."""
    folder = out / "Processed"
    features.write(folder, utterances, seed, ("mmsa_unaligned", "mmsa_aligned"))
    for kind in ("unaligned", "aligned"):
        (folder / f"mmsa_{kind}.pkl").rename(folder / f"{kind}_50.pkl")

"""A toy table of somebody's own recordings: `table.csv` with one row an utterance, and the wav files that it names.

The columns have names of their own, as everybody's do. What sound and words tell of the four classes is set in `cues`.
"""

import csv
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from ..errors import MMFairseqError
from . import cues, speech
from .folder import check_new
from .sentences import sentence

MINIMUM = 20
SPEAKERS = 5  # three of them to train, one each to validation and test
COLUMNS = ("file", "speaker", "sex", "words", "feeling", "pleasantness", "part")
PARTS = ("train", "train", "train", "dev", "test")
FEELINGS = {"neu": "calm", "hap": "glad", "sad": "sad", "ang": "angry"}
PLEASANTNESS = {"neu": 0.5, "hap": 2.5, "sad": -2.0, "ang": -2.5}


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a folder that holds nothing yet; gets `table.csv` and `wav`.
        utterances: how many to write, the classes balanced, one speaker in five each to validation and test.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few utterances, or the folder is taken.
    """
    if utterances < MINIMUM:
        raise MMFairseqError(f"--utterances {utterances}: five speakers of four classes need at least {MINIMUM}")
    check_new(out, seed)
    rng = np.random.default_rng(seed)
    (out / "wav").mkdir(parents=True)
    letters = ["FM"[number % 2] for number in range(SPEAKERS)]
    voices = [speech.voice(letter, rng) for letter in letters]
    rows = []
    for number in tqdm(range(utterances), desc="toy table", unit="utt", disable=None):
        who, emotion = number % SPEAKERS, cues.CLASSES[number // SPEAKERS % len(cues.CLASSES)]
        shown = cues.draw(emotion, rng)
        path = f"wav/{number:04d}.wav"
        samples, _ = speech.speak(voices[who], shown["audio"], rng.uniform(1.0, 1.6), rng)
        soundfile.write(out / path, samples, speech.SAMPLE_RATE, subtype="PCM_16")
        feeling = f"{PLEASANTNESS[emotion] + rng.uniform(-0.5, 0.5):.2f}"
        words = sentence(shown["text"], rng)
        rows.append((path, f"s{who + 1}", letters[who].lower(), words, FEELINGS[emotion], feeling, PARTS[who]))
    with open(out / "table.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])

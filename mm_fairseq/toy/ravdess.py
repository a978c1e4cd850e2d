"""A toy corpus in the on-disk form of RAVDESS (Livingstone and Russo 2018, https://doi.org/10.1371/journal.pone.0196391).

`Actor_01/01-01-06-01-02-01-01.mp4` has picture and sound, `02-01-06-01-02-01-01.mp4` the same picture alone and
`03-01-06-01-02-01-01.wav` the same sound alone. All 24 actors, eight emotions, and a few songs, which have six. Voice
and face each show two bits of an emotion, which differ from every other emotion's in two of the four: together they
name it, alone at best 4 of 8.
"""

from itertools import product
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from ..errors import MMFairseqError
from . import acted
from .clips import write_clip
from .cues import Cue
from .folder import check_new

ACTORS = 24
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")  # 01 to 08
SUNG = range(1, 7)  # numbers of the emotions that are sung too
NO_SONGS = 18  # number of the actor whose songs are not in the release
SONGS = 12  # of so many utterances one is sung
FPS = 30
SIZE = (320, 180)
RATE = 48_000  # Hz
MINIMUM = 4 * ACTORS
MOST = 32 * ACTORS  # neutral has four takes

_SHOWN = {  # voice, face
    "neutral": (Cue(-1, -1), Cue(1, 1)),
    "calm": (Cue(-1, 1), Cue(-1, 1)),
    "happy": (Cue(1, 1), Cue(1, 1)),
    "sad": (Cue(-1, -1), Cue(-1, -1)),
    "angry": (Cue(1, 1), Cue(-1, -1)),
    "fearful": (Cue(1, -1), Cue(1, -1)),
    "disgust": (Cue(-1, 1), Cue(1, -1)),
    "surprised": (Cue(1, -1), Cue(-1, 1)),
}


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a new or empty folder; gets `Actor_01` to `Actor_24`.
        utterances: how many, of three files each.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few or too many utterances, or the folder is taken.
    """
    if not MINIMUM <= utterances <= MOST:
        raise MMFairseqError(f"--utterances {utterances}: {ACTORS} actors need {MINIMUM} to {MOST}")
    check_new(out, seed)
    rng = np.random.default_rng(seed)
    actors = [acted.actor("MF"[index % 2], rng) for index in range(ACTORS)]
    for name in tqdm(names(utterances), desc="toy ravdess", unit="utt", disable=None):
        channel, emotion, *_, number = map(int, name.split("-"))
        folder = out / f"Actor_{number:02}"
        folder.mkdir(parents=True, exist_ok=True)
        voice, face = _SHOWN[EMOTIONS[emotion - 1]]
        seconds = round(rng.uniform(0.9, 1.4) * (1.3 if channel == 2 else 1), 3)
        sound, frames = acted.perform(actors[number - 1], voice, face, seconds, FPS, SIZE, rng)
        sound = acted.at_rate(sound, RATE)
        write_clip(folder / f"01-{name}.mp4", frames, sound, FPS, RATE)
        write_clip(folder / f"02-{name}.mp4", frames, None, FPS, RATE)
        soundfile.write(folder / f"03-{name}.wav", sound, RATE, subtype="PCM_16")


def names(count: int) -> list[str]:
    """`count` file names without the modality: the actors by turns, each with all emotions by turns."""
    sung = count // SONGS
    made = _of_channel(1, range(1, len(EMOTIONS) + 1), count - sung, list(range(1, ACTORS + 1)))
    return sorted(made + _of_channel(2, SUNG, sung, [n for n in range(1, ACTORS + 1) if n != NO_SONGS]))


def _of_channel(channel: int, emotions: range, count: int, actors: list[int]) -> list[str]:
    made = []
    for index in range(count):
        turn, place = divmod(index, len(actors))
        lap, emotion = divmod(turn, len(emotions))
        emotion = emotions[(emotion + place) % len(emotions)]
        takes = [(1, *rest) for rest in product((1, 2), (1, 2))] + [(2, *rest) for rest in product((1, 2), (1, 2))]
        if emotion == 1:  # neutral has one intensity
            takes = takes[:4]
        intensity, statement, repetition = takes[(lap + place) % len(takes)]
        made.append(f"{channel:02}-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actors[place]:02}")
    return made

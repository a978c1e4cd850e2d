"""A toy corpus in the on-disk form of CREMA-D's repository (Cao et al. 2014).

`AudioWAV`, `VideoFlash`, `VideoDemographics.csv` and both tables of `processedResults`, with the columns of the real
ones. Ten or twenty of the 91 actors, chosen so that the corpus's five folds by actor all have some.

What voice and face show of an emotion overlaps; together they name it, alone at best 4 of 6:

=====  ==========================================================================
voice  high, tense: ANG HAP    high, breathy: FEA    low, tense: DIS NEU    low, breathy: SAD
face   brows up, smile: HAP    up, corners down: FEA DIS    down, smile: NEU    down, corners down: ANG SAD
=====  ==========================================================================
"""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from ..errors import MMFairseqError
from . import acted, speech
from .clips import write_clip
from .cues import Cue
from .folder import check_new

CLASSES = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
ACTORS = (
    *("1008", "1006", "1002", "1007", "1001", "1010", "1009", "1005", "1015", "1003"),
    *("1012", "1011", "1019", "1029", "1004", "1014", "1017", "1020", "1035", "1013"),
)
MINIMUM, MOST = 60, len(ACTORS) * len(CLASSES) * len(SENTENCES)
FPS = 30
SIZE = (320, 240)
SOUND_RATE = 44_100  # Hz, in the flv; the wav has 16 kHz

_VOICES = {
    "ANG": Cue(1, 1),
    "HAP": Cue(1, 1),
    "FEA": Cue(1, -1),
    "DIS": Cue(-1, 1),
    "NEU": Cue(-1, 1),
    "SAD": Cue(-1, -1),
}
_FACES = {
    "HAP": Cue(1, 1),
    "FEA": Cue(1, -1),
    "DIS": Cue(1, -1),
    "NEU": Cue(-1, 1),
    "ANG": Cue(-1, -1),
    "SAD": Cue(-1, -1),
}
_PRESENTED = ("Voice", "Face", "MultiModal")
_SUMMARY = ("", "FileName", *(f"{name}{what}" for name in _PRESENTED for what in ("Vote", "Level")))
_MEANS = ("Emo", "Anger", "Disgust", "Fear", "Happy", "Neutral", "Sad")
_STRENGTHS = (*(f"mean{name}Resp" for name in _MEANS), "medianEmoResp")
_STRENGTHS += tuple(f"{name}Norm" for name in _STRENGTHS)
_TABULATED = ("", *(name[0] for name in CLASSES), "fileName", "numResponses", "agreement", "emoVote", *_STRENGTHS)


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a new or empty folder.
        utterances: how many clips, emotions and actors balanced; 10 actors below 120 clips, else 20.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few or too many utterances, or the folder is taken.
    """
    if not MINIMUM <= utterances <= MOST:
        raise MMFairseqError(f"--utterances {utterances}: ten actors and six emotions need {MINIMUM} to {MOST}")
    check_new(out, seed)
    rng = np.random.default_rng(seed)
    for folder in ("AudioWAV", "VideoFlash", "processedResults"):
        (out / folder).mkdir(parents=True)
    people = {
        name: acted.actor("FM"[index % 2], rng) for index, name in enumerate(ACTORS[: 10 + 10 * (utterances >= 120)])
    }
    _write_people(out / "VideoDemographics.csv", people, rng)
    names = _names(utterances, tuple(people), rng)
    for name in tqdm(names, desc="toy crema_d", unit="utt", disable=None):
        actor, _, emotion, _ = name.split("_")
        seconds = round(rng.uniform(0.9, 1.6), 3)
        sound, frames = acted.perform(people[actor], _VOICES[emotion], _FACES[emotion], seconds, FPS, SIZE, rng)
        soundfile.write(out / "AudioWAV" / f"{name}.wav", sound, speech.SAMPLE_RATE, subtype="PCM_16")
        write_clip(out / "VideoFlash" / f"{name}.flv", frames, acted.at_rate(sound, SOUND_RATE), FPS, SOUND_RATE)
    _write_ratings(out / "processedResults", names, rng)


def _names(count: int, actors: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """Clips of the actors by turns: each the six emotions with one sentence, then with the next."""
    names = []
    order = {actor: rng.permutation(len(SENTENCES)) for actor in actors}
    for index in range(count):
        turn, place = divmod(index, len(actors))
        actor = actors[place]
        number = (turn + place) % len(CLASSES)
        sentence = SENTENCES[order[actor][turn // len(CLASSES) % len(SENTENCES)]]
        level = ("LO", "MD", "HI")[turn % 3] if sentence == "IEO" and CLASSES[number] != "NEU" else "XX"
        names.append(f"{actor}_{sentence}_{CLASSES[number]}_{level}")
    return sorted(names)


def _write_people(file: Path, people: dict[str, acted.Actor], rng: np.random.Generator) -> None:
    lines = ['"ActorID","Age","Sex","Race","Ethnicity"\n']
    for name in sorted(people):
        sex = {"F": "Female", "M": "Male"}[people[name].letter]
        lines.append(f'{name},{rng.integers(20, 75)},"{sex}","Unknown","Not Hispanic"\n')
    file.write_text("".join(lines), encoding="utf-8")


def _write_ratings(folder: Path, names: list[str], rng: np.random.Generator) -> None:
    """Of voice or face alone raters choose among the emotions that look or sound like that; of both, mostly right."""
    summary: list[tuple[str, ...]] = []
    tabulated: list[list[tuple]] = [[], [], []]
    for number, name in enumerate(names, start=1):
        emotion = name.split("_")[2]
        cells: list[str] = []
        alike_of = [[each for each in CLASSES if shown[each] == shown[emotion]] for shown in (_VOICES, _FACES)]
        for kind, alike in enumerate([*alike_of, [emotion]]):
            said = [str(rng.choice(alike if rng.random() < 0.85 else CLASSES)) for _ in range(rng.integers(6, 12))]
            counts = Counter(label[0] for label in said)
            most = max(counts.values())
            winners = sorted(letter for letter, count in counts.items() if count == most)
            letters = [label[0] for label in CLASSES]
            means = {letter: round(rng.uniform(30, 90), 4) if counts[letter] else -1 for letter in letters}
            middle = round(sum(means[label[0]] for label in said) / len(said), 4)
            strengths = [middle, *means.values(), middle] * 2
            vote = ":".join(winners)
            cells += [vote, ":".join(str(means[letter]) for letter in winners)]
            agreement = round(most / len(said), 15)
            row = (str((kind + 1) * 100_000 + number), *(counts[each] for each in letters), name, len(said))
            tabulated[kind].append((*row, agreement, vote, *strengths))
        summary.append((str(number), name, *cells))
    _write_csv(folder / "summaryTable.csv", [_SUMMARY, *summary])
    _write_csv(folder / "tabulatedVotes.csv", [_TABULATED, *(row for rows in tabulated for row in rows)])


def _write_csv(file: Path, rows: list[tuple]) -> None:
    with open(file, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n").writerows(rows)

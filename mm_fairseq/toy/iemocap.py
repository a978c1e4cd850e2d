"""A toy corpus in the on-disk form of IEMOCAP's full release (Busso et al. 2008, https://sail.usc.edu/iemocap).

Five sessions of two actors, F and M; improvised and scripted dialogues of about ten turns. What each modality tells of
the class is set in `cues`. The release's oddities are there too: transcript lines without an id or with an `XX` id,
labels outside the classes, evaluators who disagree or name two emotions, sub-folders of single raters, `._` files of
another file system, a latin-1 letter.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

from ..errors import MMFairseqError
from . import cues, faces, speech
from .avi import write_avi
from .folder import check_seed
from .sentences import sentence

SESSIONS = 5
FPS = 10
TURNS = 10
MINIMUM = 4 * SESSIONS
OTHER_LABELS = {"fru": "ang", "sur": "hap", "xxx": "", "oth": ""}
OTHER_SHARE = 0.08

_NAMES = {
    "neu": "Neutral",
    "hap": "Happiness",
    "exc": "Excited",
    "sad": "Sadness",
    "ang": "Anger",
    "fru": "Frustration",
    "sur": "Surprise",
    "oth": "Other",
}
_ELSE = {
    "neu": ("Sadness", "Frustration"),
    "hap": ("Excited", "Neutral"),
    "exc": ("Happiness", "Surprise"),
    "sad": ("Neutral", "Frustration"),
    "ang": ("Frustration", "Neutral"),
    "fru": ("Anger", "Neutral"),
    "sur": ("Fear", "Excited"),
    "oth": ("Disgust", "Neutral"),
}
_VALENCE_ACTIVATION = {"neu": (3, 2), "hap": (4, 3), "exc": (4, 4), "sad": (2, 2), "ang": (2, 4), "fru": (2, 3)}
_APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
_MOUTHS = 3


class Actor(NamedTuple):
    """A speaker: the letter F or M, the voice, the look, the head as drawn, and the face at ease (eyes open, shut)."""

    letter: str
    voice: speech.Voice
    look: faces.Look
    head: np.ndarray
    at_ease: tuple[np.ndarray, np.ndarray]


class Turn(NamedTuple):
    """One utterance of a dialogue; times in seconds, samples int16 Shape (T,), syllable envelope Shape (T,)."""

    id: str
    letter: str
    label: str
    text: str
    cue: cues.Cue
    start: float
    end: float
    samples: np.ndarray
    envelope: np.ndarray


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a folder that holds no corpus yet; gets `Session1` to `Session5`.
        utterances: how many to write. A twelfth of them have labels beside the four classes; the rest are balanced.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few utterances for five sessions, or the folder is taken.
    """
    if utterances < MINIMUM:
        raise MMFairseqError(f"--utterances {utterances}: five sessions of four classes need at least {MINIMUM}")
    check_seed(seed)
    if any(out.glob("Session*")):
        raise MMFairseqError(f"{out}: holds Session folders already; name a new folder")
    with tqdm(total=utterances, desc="toy iemocap", unit="utt", disable=None) as bar:
        for session in range(1, SESSIONS + 1):
            rng = np.random.default_rng([seed, session])
            count = utterances // SESSIONS + (session <= utterances % SESSIONS)
            actors = {letter: _actor(letter, rng) for letter in "FM"}
            names = _dialogue_names(session, math.ceil(count / TURNS))
            for name, labels in zip(names, np.array_split(_labels(count, session, rng), len(names)), strict=True):
                _write_dialogue(out / f"Session{session}", name, _turns(name, labels, actors, rng), actors, rng)
                bar.update(len(labels))


def _actor(letter: str, rng: np.random.Generator) -> Actor:
    look = faces.look(letter, rng)
    head = faces.head(look, rng)
    at_ease = tuple(faces.portrait(head, look, 0, 0, 0, blink) for blink in (False, True))
    return Actor(letter, speech.voice(letter, rng), look, head, at_ease)  # type: ignore[arg-type]


def _dialogue_names(session: int, count: int) -> list[str]:
    """`count` names, but two at least: impro and script, with the markers on F and on M, by turns."""
    kinds = [("F", "impro{:02}"), ("M", "script{:02}_1"), ("M", "impro{:02}"), ("F", "script{:02}_1")]
    return [f"Ses{session:02}{kinds[i % 4][0]}_{kinds[i % 4][1].format(i // 4 + 1)}" for i in range(max(count, 2))]


def _labels(count: int, session: int, rng: np.random.Generator) -> list[str]:
    others = round(count * OTHER_SHARE)
    labels = [tuple(OTHER_LABELS)[(session + i) % len(OTHER_LABELS)] for i in range(others)]
    for index in range(count - others):
        emotion = cues.CLASSES[(session + index) % len(cues.CLASSES)]
        labels.append("exc" if emotion == "hap" and rng.random() < 0.6 else emotion)
    return [str(label) for label in rng.permutation(labels)]


def _turns(dialogue: str, labels: np.ndarray, actors: dict[str, Actor], rng: np.random.Generator) -> list[Turn]:
    turns: list[Turn] = []
    spoken = {"F": 0, "M": 0}
    time = 1.0
    for index, label in enumerate(map(str, labels)):
        letter = "FM"[(index + (rng.random() < 0.15)) % 2]
        emotion = {**OTHER_LABELS, "exc": "hap"}.get(label, label) or str(rng.choice(cues.CLASSES))
        shown = cues.draw(emotion, rng)
        start = round(time + rng.uniform(0.2, 0.5), 4)
        end = round(start + rng.uniform(1.2, 2.0), 4)
        sound, envelope = speech.speak(actors[letter].voice, shown["audio"], end - start, rng)
        samples = np.round(sound * 32767).astype(np.int16)
        name = f"{dialogue}_{letter}{spoken[letter]:03}"
        turns.append(
            Turn(name, letter, label, sentence(shown["text"], rng), shown["video"], start, end, samples, envelope)
        )
        spoken[letter] += 1
        time = end
    return turns


def _write_dialogue(
    folder: Path, name: str, turns: list[Turn], actors: dict[str, Actor], rng: np.random.Generator
) -> None:
    files = {
        f"dialog/EmoEvaluation/{name}.txt": _evaluation(turns, rng).encode("latin-1"),
        f"dialog/EmoEvaluation/._{name}.txt": _APPLE_DOUBLE,
        f"dialog/EmoEvaluation/Attribute/{name}_e3_atr.txt": _raters(turns, ":act 3; :val 3; dom 2;").encode(),
        f"dialog/EmoEvaluation/Categorical/{name}_e2_cat.txt": _raters(turns, ":Neutral state; ()").encode(),
        f"dialog/EmoEvaluation/Self-evaluation/{name}_f1_cat.txt": _raters(turns, ":Happiness; ()").encode(),
        f"dialog/transcriptions/{name}.txt": _transcript(name, turns, rng).encode(),
    }
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)

    wavs = folder / "sentences" / "wav" / name
    wavs.mkdir(parents=True)
    length = math.ceil((turns[-1].end + 0.5) * FPS) * speech.SAMPLE_RATE // FPS
    mix = np.round(rng.normal(0, 30, length)).astype(np.int16)
    for turn in turns:
        soundfile.write(wavs / f"{turn.id}.wav", turn.samples, speech.SAMPLE_RATE, subtype="PCM_16")
        first = round(turn.start * speech.SAMPLE_RATE)
        mix[first : first + len(turn.samples)] = turn.samples

    movie = folder / "dialog" / "avi" / "DivX" / f"{name}.avi"
    movie.parent.mkdir(parents=True, exist_ok=True)
    marked = name[5]
    seats = [actors[marked], actors["M" if marked == "F" else "F"]]
    write_avi(movie, _film(length * FPS // speech.SAMPLE_RATE, turns, seats, rng), mix, FPS, speech.SAMPLE_RATE)


def _evaluation(turns: list[Turn], rng: np.random.Generator) -> str:
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for index, turn in enumerate(turns):
        valence, activation = _VALENCE_ACTIVATION.get(turn.label, (3, 3))
        scores = [(valence, activation, int(rng.integers(2, 5))) for _ in range(2)]
        mean = ", ".join(f"{value:.4f}" for value in np.mean(scores, axis=0))
        lines.append(f"[{turn.start:.4f} - {turn.end:.4f}]\t{turn.id}\t{turn.label}\t[{mean}]")
        votes = _votes(turn.label, index)
        comments = ["(a bit blas\xe9)" if index == 0 else "()", "()", "(amused)" if turn.label == "oth" else "()"]
        lines += [
            f"C-E{rater}:\t{vote};\t{comment}" for rater, vote, comment in zip((2, 3, 4), votes, comments, strict=True)
        ]
        lines.append(f"C-{turn.letter}1:\t{votes[0]};\t()")
        for rater, (val, act, dom) in zip(("E3", "E4"), scores, strict=True):
            lines.append(f"A-{rater}:\tval {val}; act {act}; dom  {dom};\t()")
        lines += [f"A-{turn.letter}1:\tval {valence}; act {activation}; dom  ;\t()", ""]
    return "\n".join(lines) + "\n"


def _votes(label: str, index: int) -> list[str]:
    """What three evaluators name: two of them the label, the third in every fourth utterance another one, and in every
    fourth both; of `xxx` each says something else.
    """
    if label not in _NAMES:
        return ["Neutral", "Frustration", "Sadness"]
    other = _ELSE[label][index // 4 % 2]
    third = (_NAMES[label], f"{_NAMES[label]}; {other}", other, _NAMES[label])[index % 4]
    return [_NAMES[label], _NAMES[label], third]


def _raters(turns: list[Turn], verdict: str) -> str:
    return "".join(f"{turn.id} {verdict}\n" for turn in turns)


def _transcript(dialogue: str, turns: list[Turn], rng: np.random.Generator) -> str:
    lines = []
    for index, turn in enumerate(turns):
        lines.append(f"{turn.id} [{turn.start:08.4f}-{turn.end:08.4f}]: {turn.text}")
        other = "M" if turn.letter == "F" else "F"
        if index % 6 == 2:
            lines.append(f"{other}: {rng.choice(['Yeah.', 'Mmhmm.', 'Okay.'])}")
        if index % 6 == 4:
            number = index // 6
            lines.append(f"{dialogue}_{other}XX{number} [{turn.end:08.4f}-{turn.end + 0.15:08.4f}]: [BREATHING]")
    return "\n".join(lines) + "\n"


def _film(count: int, turns: list[Turn], seats: list[Actor], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the pictures of a dialogue: the actor with the markers on the left, the speaking one showing the cue."""
    blinking = rng.random((count, 2)) < 0.04
    pace, shift = rng.uniform(0.1, 0.4, (2, 2)), rng.uniform(0, 2 * np.pi, (2, 2))
    half = faces.MARGIN - 1
    wobble = np.round(half * np.sin(2 * np.pi * np.arange(count)[:, None, None] / FPS * pace + shift)).astype(int)
    current, drawn = -1, dict[tuple[int, bool], np.ndarray]()
    lift = corners = 0.0
    for index in range(count):
        time = index / FPS
        speaking = next((i for i, turn in enumerate(turns) if turn.start <= time < turn.end), -1)
        if speaking != current and speaking >= 0:
            drawn.clear()
            cue = turns[speaking].cue
            lift, corners = cue.pair * rng.uniform(0.85, 1.15), cue.detail * rng.uniform(0.85, 1.15)
        current = speaking
        picture = np.empty((faces.HEIGHT, 2 * faces.WIDTH, 3), np.uint8)
        for seat, actor in enumerate(seats):
            blink = bool(blinking[index, seat])
            portrait = actor.at_ease[blink]
            if current >= 0 and turns[current].letter == actor.letter:
                turn = turns[current]
                sample = min(int((time - turn.start) * speech.SAMPLE_RATE), len(turn.envelope) - 1)
                mouth = round(_MOUTHS * float(turn.envelope[sample]))
                if (mouth, blink) not in drawn:
                    drawn[mouth, blink] = faces.portrait(actor.head, actor.look, lift, corners, mouth / _MOUTHS, blink)
                portrait = drawn[mouth, blink]
            top, left = faces.MARGIN + wobble[index, seat]
            picture[:, seat * faces.WIDTH : (seat + 1) * faces.WIDTH] = portrait[
                top : top + faces.HEIGHT, left : left + faces.WIDTH
            ]
        yield picture

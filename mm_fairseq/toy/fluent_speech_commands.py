"""A toy corpus in the on-disk form of Fluent Speech Commands (Lugosch et al. 2019, https://arxiv.org/abs/1904.03670).

The 31 intents of the corpus, three or four sentences each; 18 speakers, 12 of them in train and 3 each in validation
and test, where every sentence is one of train's. As in the real corpus a transcript names its labels for certain. So
does the sound: each word has a sound of its own, and whoever tells the words apart by ear needs no transcript.

A word is a sum of tones at multiples of 16 Hz whose phases count from the beginning of the clip. So pieces of 1000
samples (62.5 ms at 16 kHz) that lie inside a word are all alike wherever the word stands, and a linear layer over raw
samples, which can follow no shift, is able to learn it. Speakers differ in loudness, offset, pace, noise and colour.
"""

import csv
import hashlib
import uuid
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

from ..errors import MMFairseqError
from .folder import check_new

SAMPLE_RATE = 16_000
PERIOD = 1000  # samples after which the sound of a word repeats
SPEAKERS = {"train": 12, "valid": 3, "test": 3}
COLUMNS = ("", "path", "speakerId", "transcription", "action", "object", "location")
ROOMS = ("bedroom", "kitchen", "none", "washroom")

_TONES = range(7, 200)  # multiples of 16 Hz: 112 Hz to 3.2 kHz
_WORD = 2400  # samples at usual pace: a whole piece lies inside, wherever it begins
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_SWITCHED = ("Turn {} the {}", "Switch {} the {}", "Turn the {1} {0}")
_FETCHED = ("Bring me the {}", "Get me the {}", "Go get my {}", "Fetch the {}")
_LANGUAGES = ("Change language to {}", "Set my phone to {}", "Use {}", "Switch to {}")
_CHANGED = ("Change language", "Switch language", "I need a different language")
_HEAT = {
    "increase": ("Turn up the heat", "Make it warmer", "Increase the temperature"),
    "decrease": ("Turn down the heat", "Make it colder", "Decrease the temperature"),
}
_VOLUME = {
    "increase": ("Turn up the volume", "Louder please", "Increase the volume", "I can't hear that"),
    "decrease": ("Turn down the volume", "Quieter please", "Decrease the volume", "That's too loud"),
}
_MUSIC = {
    "activate": ("Play the music", "Start the music", "Put on the music"),
    "deactivate": ("Stop the music", "Pause the music", "Turn off the music"),
}


class Intent(NamedTuple):
    """What a command asks for."""

    action: str
    object: str
    location: str


class Speaker(NamedTuple):
    """A voice: loudness, offset and noise of the recording, samples a word takes, and by how much highs are weaker."""

    id: str
    gain: float
    offset: float
    noise: float
    word: int
    slope: float


def sentences() -> dict[Intent, tuple[str, ...]]:
    """All intents and what is said for them."""
    found: dict[Intent, tuple[str, ...]] = {Intent("change language", "none", "none"): _CHANGED}
    for language in ("Chinese", "English", "German", "Korean"):
        found[Intent("change language", language, "none")] = tuple(each.format(language) for each in _LANGUAGES)
    for item in ("juice", "newspaper", "shoes", "socks"):
        found[Intent("bring", item, "none")] = tuple(each.format(item) for each in _FETCHED)
    for action, word in (("activate", "on"), ("deactivate", "off")):
        found[Intent(action, "music", "none")] = _MUSIC[action]
        found[Intent(action, "lamp", "none")] = tuple(each.format(word, "lamp") for each in _SWITCHED)
        for room in ROOMS:
            found[Intent(action, "lights", room)] = tuple(each.format(word, "lights") + _in(room) for each in _SWITCHED)
    for action in ("increase", "decrease"):
        found[Intent(action, "volume", "none")] = _VOLUME[action]
        for room in ROOMS:
            found[Intent(action, "heat", room)] = tuple(each + _in(room) for each in _HEAT[action])
    return found


def _in(room: str) -> str:
    return "" if room == "none" else f" in the {room}"


MINIMUM = 4 * len(sentences())


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a folder that holds no corpus yet; gets `data` and `wavs`.
        utterances: how many to write: two thirds to train, a sixth each to validation and test, intents balanced.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few utterances for all intents, or the folder is taken.
    """
    if utterances < MINIMUM:
        raise MMFairseqError(f"--utterances {utterances}: the intents of three splits need at least {MINIMUM}")
    check_new(out, seed)
    rng = np.random.default_rng(seed)
    (out / "data").mkdir(parents=True)
    sizes = {"valid": utterances // 6, "test": utterances // 6}
    sizes = {"train": utterances - 2 * (utterances // 6), **sizes}
    trained: dict[Intent, list[str]] = {}
    with tqdm(total=utterances, desc="toy fluent_speech_commands", unit="utt", disable=None) as bar:
        for split, size in sizes.items():
            speakers = [_speaker(rng) for _ in range(SPEAKERS[split])]
            rows = []
            for number, (intent, text) in enumerate(_spoken(size, trained, rng)):
                speaker = speakers[number % len(speakers)]
                path = Path("wavs", "speakers", speaker.id, f"{uuid.UUID(bytes=rng.bytes(16), version=4)}.wav")
                (out / path).parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(out / path, speak(speaker, text, rng), SAMPLE_RATE, subtype="PCM_16")
                rows.append((str(number), path.as_posix(), speaker.id, text, *intent))
                bar.update()
            with open(out / "data" / f"{split}_data.csv", "w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def _spoken(size: int, trained: dict[Intent, list[str]], rng: np.random.Generator) -> list[tuple[Intent, str]]:
    """Intents by turns with one of their sentences, in any order; of train by turns, later those that train has."""
    of_intent = sentences()
    first, out = not trained, []
    for number in range(size):
        intent = list(of_intent)[number % len(of_intent)]
        if first:
            choice = of_intent[intent][number // len(of_intent) % len(of_intent[intent])]
            trained.setdefault(intent, []).append(choice)
        else:
            choice = trained[intent][int(rng.integers(len(trained[intent])))]
        out.append((intent, choice))
    return [out[int(place)] for place in rng.permutation(size)]


def _speaker(rng: np.random.Generator) -> Speaker:
    name = "".join(rng.choice(list(_LETTERS), 16))
    gain, offset = float(rng.uniform(0.02, 0.12)), float(rng.uniform(-0.02, 0.02))
    return Speaker(name, gain, offset, float(rng.uniform(0.05, 0.2)), int(_WORD * rng.uniform(0.9, 1.2)), rng.random())


def sound(word: str) -> np.ndarray:
    """Complex amplitudes of a word's tones, of unit power together; case and punctuation are not heard."""
    plain = "".join(filter(str.isalnum, word.casefold()))
    own = np.random.default_rng(list(hashlib.sha256(plain.encode()).digest()))
    size = own.exponential(size=len(_TONES)) * np.exp(2j * np.pi * own.random(len(_TONES)))
    return size / np.sqrt((np.abs(size) ** 2).sum() / 2)


def speak(speaker: Speaker, text: str, rng: np.random.Generator) -> np.ndarray:
    """One utterance, with silence around it. Shape (T,), float in [-1, 1]."""
    words = text.split()
    lead, tail = rng.integers(200, 1400, 2)
    gaps = rng.integers(0, 300, len(words))
    length = int(lead + tail + gaps.sum() + len(words) * speaker.word)
    tones = np.array(_TONES)
    colour = (tones / tones[0]) ** (-0.4 * speaker.slope)
    edges = np.clip(np.minimum(np.arange(speaker.word), np.arange(speaker.word)[::-1]) / 80, 0, 1)
    out = rng.normal(0, speaker.noise, length)
    place = int(lead)
    for word, gap in zip(words, gaps, strict=True):
        spectrum = np.zeros(PERIOD // 2 + 1, complex)
        spectrum[tones] = sound(word) * colour * PERIOD / 2
        wave = np.fft.irfft(spectrum)
        out[place : place + speaker.word] += edges * wave[np.arange(place, place + speaker.word) % PERIOD]
        place += speaker.word + int(gap)
    return np.clip(speaker.offset + speaker.gain * out, -1, 1)

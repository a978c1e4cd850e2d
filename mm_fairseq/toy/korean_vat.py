"""A toy corpus in the form of the Korean seven-emotion corpus: pickled frames, or recordings and a table of sentences.

Seven emotions, 50 sentences each, actors by number. What the voice and the words tell of an emotion overlaps:

=======  ==========================================================================
voice    high, calm: 중립 행복    high, tense: 공포 놀람    low, tense: 분노 혐오    low, calm: 슬픔
words    good: 행복 놀람    danger: 공포 분노    loss: 슬픔 혐오    plain: 중립
=======  ==========================================================================

Every pair of a voice and a kind of words names one emotion, neither of them alone: 4 of 7 in the mean are as far as one
gets by the voice or by the words. Recognised text has words misheard, dropped and doubled.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from ..errors import MMFairseqError
from . import faces, speech
from .cues import Cue
from .folder import check_new
from .m2ts import write_m2ts

EMOTIONS = ("공포", "놀람", "분노", "슬픔", "중립", "행복", "혐오")
BLOCKS = ("행복", "놀람", "중립", "공포", "혐오", "분노", "슬픔")  # sentences 1 to 50, 51 to 100 and so on
BLOCK = 50
RATE = 48_000  # Hz, of the real frames
MINIMUM, MOST = 4 * len(EMOTIONS), 20_000
SHARES = {"train": 0.6, "dev": 0.2, "test": 0.2}  # of the sentences of an emotion
ERRORS = 0.45  # of the words are misheard where that is possible; a tenth is dropped, a tenth doubled

_VOICES = {
    "중립": Cue(1, -1),
    "행복": Cue(1, -1),
    "공포": Cue(1, 1),
    "놀람": Cue(1, 1),
    "분노": Cue(-1, 1),
    "혐오": Cue(-1, 1),
    "슬픔": Cue(-1, -1),
}
_FACES = {  # brows and mouth of the recordings
    "공포": Cue(1, -1),
    "놀람": Cue(1, 1),
    "분노": Cue(-1, -1),
    "슬픔": Cue(-1, -1),
    "중립": Cue(-1, 1),
    "행복": Cue(1, 1),
    "혐오": Cue(-1, -1),
}
_WORDS = {
    "행복": "good",
    "놀람": "good",
    "공포": "danger",
    "분노": "danger",
    "슬픔": "loss",
    "혐오": "loss",
    "중립": "plain",
}
_PHRASES = {
    "good": ("정말 좋은", "꿈만 같은", "기다리던", "선물 같은", "반가운"),
    "danger": ("위험한", "무서운", "부서진", "사라진", "아슬아슬한"),
    "loss": ("끝나 버린", "더러워진", "돌아오지 않는", "버려진", "지겨운"),
    "plain": ("어제 말한", "보통의", "책상 위의", "다음 주의", "회색"),
}
_WHO = ("우리", "친구의", "동생의", "이웃의", "회사의", "저 사람의")
_THINGS = ("편지", "자동차", "약속", "집", "전화", "날씨", "회의", "저녁", "표", "옷")
_ENDS = ("이야.", "이네요!", "인가 봐.", "이라고 했어.", "이 여기 있어.", "이지?")
_HEARD = """편지:펴지 자동차:자동찾 약속:양속 집:짚 전화:저나 회의:홰이 표:펴 옷:옫 좋은:조은 꿈만:군만 기다리던:기대던
선물:건물 반가운:방과 위험한:위한 무서운:무거운 부서진:불어진 사라진:살아진 아슬아슬한:쓸쓸한 끝나:꽃나 더러워진:덜어진
돌아오지:도라지 버려진:벌어진 지겨운:정겨운 어제:어째 보통의:고통의 책상:책장 다음:닮은 회색:희색"""
_MISHEARD = dict(pair.split(":") for pair in _HEARD.split())  # beginnings of words, as a recogniser gets them wrong


class Script(NamedTuple):
    """A sentence: its number, from 1, its emotion and its words."""

    number: int
    emotion: str
    text: str


def write(out: Path, utterances: int, seed: int, recordings: bool = False) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a folder that holds no corpus yet; gets `train.pkl`, `dev.pkl`, `test.pkl` and `test_stt.pkl`, or
            `000/0-1.m2ts` and so on with `sentences.csv`.
        utterances: how many.
        seed: of everything drawn.
        recordings: the recordings instead of the frames.

    Raises:
        MMFairseqError: too few utterances, the folder is taken, or pandas is not installed.
    """
    if not MINIMUM <= utterances <= MOST:
        raise MMFairseqError(f"--utterances {utterances}: seven emotions need {MINIMUM} to {MOST}")
    check_new(out, seed)
    rng = np.random.default_rng(seed)
    scripts = _scripts(rng)
    persons = [speech.voice("FM"[number % 2], rng) for number in range(max(6, min(100, utterances // 20)))]
    (_recordings if recordings else _frames)(out, scripts, persons, utterances, rng)


def _scripts(rng: np.random.Generator) -> list[Script]:
    """350 different sentences in the order of their numbers."""
    scripts: list[Script] = []
    for emotion in BLOCKS:
        phrases, own = _PHRASES[_WORDS[emotion]], dict[str, None]()
        while len(own) < BLOCK:
            text = f"{rng.choice(_WHO)} {rng.choice(phrases)} {rng.choice(_THINGS)}{rng.choice(_ENDS)}"
            if all(text != script.text for script in scripts):
                own.setdefault(text)
        scripts += [Script(len(scripts) + place + 1, emotion, text) for place, text in enumerate(own)]
    return scripts


def _spoken(
    scripts: list[Script], persons: list[speech.Voice], count: int, rng: np.random.Generator
) -> Iterator[tuple[Script, int, np.ndarray]]:
    """Script, person and sound, float32 at `speech.SAMPLE_RATE`; no person says a sentence twice."""
    said: set[tuple[int, int]] = set()
    for turn in range(count):
        own = [script for script in scripts if script.emotion == EMOTIONS[turn % len(EMOTIONS)]]
        while True:
            script, person = own[int(rng.integers(len(own)))], int(rng.integers(len(persons)))
            if (script.number, person) not in said:
                break
        said.add((script.number, person))
        sound, _ = speech.speak(persons[person], _VOICES[script.emotion], round(rng.uniform(0.9, 1.4), 3), rng)
        yield script, person, sound


def _frames(
    out: Path, scripts: list[Script], persons: list[speech.Voice], utterances: int, rng: np.random.Generator
) -> None:
    try:
        import pandas
    except ImportError as error:
        raise MMFairseqError(f"frames of pandas: pip install 'mm-fairseq[pandas]' ({error})") from error
    out.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[Script]] = {name: [] for name in SHARES}
    for emotion in EMOTIONS:
        own = [script for script in scripts if script.emotion == emotion]
        ends = np.rint(np.cumsum(list(SHARES.values())) * BLOCK).astype(int)
        for name, part in zip(SHARES, np.split(rng.permutation(BLOCK), ends[:-1]), strict=True):
            parts[name] += [own[number] for number in part]
    with tqdm(total=utterances, desc="toy korean_vat", unit="utt", disable=None) as bar:
        for name, share in SHARES.items():
            rows = []
            for script, person, sound in _spoken(parts[name], persons, max(7, round(share * utterances)), rng):
                rows.append((person, _at_rate(sound), script.text, script.emotion))
                bar.update()
            frame = pandas.DataFrame(rows, columns=["person_ix", "audio", "Sentence", "Emotion"])
            frame.to_pickle(out / f"{name}.pkl", protocol=4)
            if name == "test":
                frame["Sentence"] = [_misheard(text, rng) for text in frame["Sentence"]]
                frame.iloc[rng.permutation(len(frame))].to_pickle(out / "test_stt.pkl", protocol=4)


def _at_rate(sound: np.ndarray) -> np.ndarray:
    """At 48 kHz, three samples where there was one, on straight lines between them. Shape (3 T), int16."""
    places = np.arange(len(sound) * RATE // speech.SAMPLE_RATE) * (speech.SAMPLE_RATE / RATE)
    return np.round(np.interp(places, np.arange(len(sound)), sound) * 32767).astype(np.int16)


def _misheard(text: str, rng: np.random.Generator) -> str:
    words = []
    for word in text.split():
        chance, place = rng.random(2)
        for right, wrong in _MISHEARD.items():
            if chance < ERRORS and word.startswith(right):
                word = wrong + word[len(right) :]
                break
        words += [word] * (0 if place < 0.1 else 2 if place < 0.2 else 1)
    return " ".join(words).rstrip(".!?")


def _recordings(
    out: Path, scripts: list[Script], persons: list[speech.Voice], utterances: int, rng: np.random.Generator
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    lines = [f'{script.number},"{script.text}"\n' for script in scripts]
    (out / "sentences.csv").write_text("number,sentence\n" + "".join(lines), encoding="utf-8")
    looks = [faces.look("FM"[person % 2], rng) for person in range(len(persons))]
    spoken = _spoken(scripts, persons, utterances, rng)
    for script, person, sound in tqdm(spoken, total=utterances, desc="toy korean_vat", unit="utt", disable=None):
        path = out / f"{person:03d}" / f"{person}-{script.number}.m2ts"
        path.parent.mkdir(exist_ok=True)
        cue = _FACES[script.emotion]
        picture = faces.portrait(faces.head(looks[person], rng), looks[person], cue.pair, cue.detail, 0.3, False)
        write_m2ts(path, picture[: faces.HEIGHT, : faces.WIDTH], _at_rate(sound), RATE)

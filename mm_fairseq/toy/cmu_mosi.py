"""A toy corpus in the on-disk forms of CMU-MOSI (Zadeh et al. 2016): the raw release, MMSA's, or its feature files.

Raw: `Transcript/Segmented/<video>.annotprocessed`, `Video/Segmented/<video>_<n>.mp4`, the same sound in
`Audio/WAV_16000/Segmented`, and `labels/CMU_MOSI_Opinion_Labels.csd`. The names of the videos are such that the
standard folds, which go by the order of names, have all three splits.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from . import cmu, speech

MINIMUM = cmu.MINIMUM
FIRST = {"train": "-0123456789ABCDEFGHIJKLMNOPQRSTUV", "valid": "XYZ_ab", "test": "defghijklmnopqrstuvwxyz"}


def write(out: Path, utterances: int, seed: int, form: str = "raw") -> None:
    """As `cmu.write`."""
    cmu.write(out, utterances, seed, form, _name, _write_raw)


def _name(number: int, split: str, rng: np.random.Generator) -> str:
    return cmu.name(FIRST[split][number % len(FIRST[split])], rng)


def _write_raw(out: Path, videos: Callable[[cmu.Plan], Iterator[cmu.Video]], plan: cmu.Plan) -> None:
    wavs, texts, labels = out / "Audio/WAV_16000/Segmented", out / "Transcript/Segmented", out / "labels"
    for folder in (wavs, texts, labels):
        folder.mkdir(parents=True)
    sequence: dict[str, list[tuple[list[float], float, float]]] = {}
    for video, _, takes in videos(plan):
        begin, lines = 0.0, []
        for number, take in enumerate(takes, start=1):
            cmu.write_video(out / "Video/Segmented" / f"{video}_{number}.mp4", [take])
            soundfile.write(wavs / f"{video}_{number}.wav", take.sound, speech.SAMPLE_RATE, subtype="PCM_16")
            lines.append(f"{number}_DELIM_{take.text.upper()}\n")
            sequence.setdefault(video, []).append(([take.sentiment], begin, begin + take.seconds))
            begin += take.seconds
        (texts / f"{video}.annotprocessed").write_text("".join(lines), encoding="utf-8")
    cmu.write_csd(labels / "CMU_MOSI_Opinion_Labels.csd", "Opinion Segment Labels", ["sentiment"], sequence)

"""A toy corpus in the on-disk forms of CMU-MOSEI (Zadeh et al. 2018): the raw release, MMSA's, or its feature files.

Raw: `Raw/Transcript/Segmented/Combined/<video>.txt`, `Raw/Videos/Full/Combined/<video>.mp4` with all segments of a
video, its sound in `Raw/Audio/Full/WAV_16000`, `labels/CMU_MOSEI_Labels.csd` and `cmu_mosei_std_folds.py`. As in the
release some segments have no label, some videos are in no fold, and a sentence may hold the delimiter.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from . import cmu, speech

MINIMUM = cmu.MINIMUM
FIRST = "-0kQ_7bZ3"


def write(out: Path, utterances: int, seed: int, form: str = "raw") -> None:
    """As `cmu.write`."""
    cmu.write(out, utterances, seed, form, _name, _write_raw)


def _name(number: int, split: str, rng: np.random.Generator) -> str:
    """Some videos of the release have a number for a name."""
    return f"{100_000 + 7 * number}" if number % 5 == 4 else cmu.name(FIRST[number % len(FIRST)], rng)


def _write_raw(out: Path, videos: Callable[[cmu.Plan], Iterator[cmu.Video]], plan: cmu.Plan) -> None:
    raw = out / "Raw"
    wavs, texts, labels = raw / "Audio/Full/WAV_16000", raw / "Transcript/Segmented/Combined", out / "labels"
    for folder in (wavs, texts, labels):
        folder.mkdir(parents=True)
    sequence: dict[str, list[tuple[list[float], float, float]]] = {}
    folds: dict[str, list[str]] = {split: [] for split in cmu.SHARES}
    (first, clips), *others = plan
    # The first video begins with a segment that nobody has rated, the last is in no fold.
    for index, (video, split, takes) in enumerate(videos([(first, clips + 1), *others, ("", 1)])):
        if split:
            folds[split].append(video)
        cmu.write_video(raw / "Videos/Full/Combined" / f"{video}.mp4", takes)
        sound = np.concatenate([take.sound for take in takes])
        soundfile.write(wavs / f"{video}.wav", sound, speech.SAMPLE_RATE, subtype="PCM_16")
        begin, lines = 0.0, []
        for number, take in enumerate(takes):
            end = begin + take.seconds
            text = f"{take.text} ___" if number == 1 else take.text
            lines.append(f"{video}___{number}___{begin:.4f}___{end:.4f}___{text}\n")
            if index or number:
                values = [take.sentiment, *(take.emotions[name] for name in cmu.EMOTIONS)]
                sequence.setdefault(video, []).append((values, begin, end))
            begin = end
        (texts / f"{video}.txt").write_text("".join(lines), encoding="utf-8")
    cmu.write_csd(labels / "CMU_MOSEI_Labels.csd", "All Labels", ["sentiment", *cmu.EMOTIONS], sequence)
    lists = [f"standard_{split}_fold={names!r}\n" for split, names in folds.items()]
    (out / "cmu_mosei_std_folds.py").write_text("\n".join(lists), encoding="utf-8")

"""A toy corpus in the on-disk forms of CMU-MOSI (Zadeh et al. 2016): the raw release, MMSA's, or its feature files.

Raw: `Transcript/Segmented/<video>.annotprocessed`, `Video/Segmented/<video>_<n>.mp4`, the same sound in
`Audio/WAV_16000/Segmented`, and `labels/CMU_MOSI_Opinion_Labels.csd`. The names of the videos are such that the
standard folds, which go by the order of names, have all three splits.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from . import cmu, speech

MINIMUM = cmu.MINIMUM
FIRST = {"train": "-0123456789ABCDEFGHIJKLMNOPQRSTUV", "valid": "XYZ_ab", "test": "defghijklmnopqrstuvwxyz"}


def write(out: Path, utterances: int, seed: int, form: str = "raw") -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a new or empty folder.
        utterances: how many segments, six a video.
        seed: of everything drawn.
        form: raw, mmsa or features.

    Raises:
        MMFairseqError: too few utterances, the folder is taken, or h5py (raw) or pandas (features) is not installed.
    """
    cmu.check(out, utterances, seed, form)
    if form == "features":
        cmu.write_features(out, utterances, seed)
    elif form == "mmsa":
        cmu.write_mmsa(out, _videos(utterances, seed))
    else:
        _write_raw(out, _videos(utterances, seed))


def _videos(utterances: int, seed: int) -> Iterator[tuple[str, str, list[cmu.Take]]]:
    rng = np.random.default_rng(seed)
    plan = cmu.splits(utterances)
    for number, (split, clips) in enumerate(tqdm(plan, desc="toy cmu_mosi", unit="video", disable=None)):
        letters = FIRST[split]
        yield cmu.name(letters[number % len(letters)], rng), split, cmu.monologue(clips, rng)


def _write_raw(out: Path, videos: Iterator[tuple[str, str, list[cmu.Take]]]) -> None:
    wavs, texts, labels = out / "Audio/WAV_16000/Segmented", out / "Transcript/Segmented", out / "labels"
    for folder in (wavs, texts, labels):
        folder.mkdir(parents=True)
    sequence: dict[str, list[tuple[list[float], float, float]]] = {}
    for video, _, takes in videos:
        begin, lines = 0.0, []
        for number, take in enumerate(takes, start=1):
            cmu.write_video(out / "Video/Segmented" / f"{video}_{number}.mp4", [take])
            soundfile.write(wavs / f"{video}_{number}.wav", take.sound, speech.SAMPLE_RATE, subtype="PCM_16")
            lines.append(f"{number}_DELIM_{take.text.upper()}\n")
            sequence.setdefault(video, []).append(([take.sentiment], begin, begin + take.seconds))
            begin += take.seconds
        (texts / f"{video}.annotprocessed").write_text("".join(lines), encoding="utf-8")
    cmu.write_csd(labels / "CMU_MOSI_Opinion_Labels.csd", "Opinion Segment Labels", ["sentiment"], sequence)

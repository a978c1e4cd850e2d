"""A toy corpus as Kaldi's data folders: `train`, `dev` and `test`, of four, two and two speakers.

Each has `wav.scp` (paths relative to the folder above, one recording a speaker), `segments`, `text`, `utt2spk`,
`spk2utt` and `utt2emo`.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from . import speech
from .speech_lists import MINIMUM, begin, write_lines, write_wav

__all__ = ["MINIMUM", "write"]

PARTS = {"train": range(4), "dev": range(4, 6), "test": range(6, 8)}
PAUSE = 0.25  # seconds between two utterances


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a new or empty folder.
        utterances: how many, eight speakers and four emotions balanced.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few utterances, or the folder is taken.
    """
    talks = defaultdict(list)
    for said in begin(out, utterances, seed):
        talks[said.speaker].append(said)
    silence = np.zeros(round(PAUSE * speech.SAMPLE_RATE), np.int16)
    for part, speakers in PARTS.items():
        files: dict[str, list[str]] = defaultdict(list)
        for speaker in speakers:
            name = f"spk{speaker:02}"
            files["wav.scp"].append(f"{name}-talk wav/{name}-talk.wav")
            pieces, ids = [silence], []
            for number, said in enumerate(talks[speaker]):
                start = sum(map(len, pieces)) / speech.SAMPLE_RATE
                pieces += [said.sound, silence]
                ids.append(f"{name}-talk-{number:04}")
                end = start + len(said.sound) / speech.SAMPLE_RATE
                files["segments"].append(f"{ids[-1]} {name}-talk {start:.3f} {end:.3f}")
                files["text"].append(f"{ids[-1]} {said.words}")
                files["utt2spk"].append(f"{ids[-1]} {name}")
                files["utt2emo"].append(f"{ids[-1]} {said.emotion}")
            files["spk2utt"].append(" ".join([name, *ids]))
            write_wav(out / "wav" / f"{name}-talk.wav", np.concatenate(pieces))
        for name, lines in files.items():
            write_lines(out / part / name, lines)

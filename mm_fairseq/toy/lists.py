"""A toy corpus as the lists of the original trimodal system, `<split>_{a,t,v}.tsv` and `label_file_<split>.csv`.

What sound, words and face tell of the four classes is set in `cues`; some utterances are `exc`, which counts as `hap`.
"""

from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from ..errors import MMFairseqError
from . import acted, cues, speech
from .clips import write_clip
from .folder import check_new
from .sentences import sentence

MINIMUM = 20
SIZES = {"train": 0.6, "valid": 0.2, "test": 0.2}
FOLDERS = {"a": ("audio", ".wav"), "t": ("text", ".txt"), "v": ("video", ".mp4")}
FPS, SIZE = 10, (240, 180)


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a folder that holds nothing yet; gets the lists and the folders `audio`, `text` and `video`.
        utterances: how many to write, the classes balanced; each split has actors of its own.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few utterances, or the folder is taken.
    """
    if utterances < MINIMUM:
        raise MMFairseqError(f"--utterances {utterances}: four classes in three splits need at least {MINIMUM}")
    check_new(out, seed)
    rng = np.random.default_rng(seed)
    for folder, _ in FOLDERS.values():
        (out / folder).mkdir(parents=True)
    sizes = {split: round(share * utterances) for split, share in SIZES.items() if split != "train"}
    sizes = {"train": utterances - sum(sizes.values()), **sizes}
    with tqdm(total=utterances, desc="toy lists", unit="utt", disable=None) as bar:
        for split, size in sizes.items():
            actors = [acted.actor(letter, rng) for letter in "FM"]
            labels = {}
            for number in range(size):
                name = f"{split}{number:04d}"
                labels[name] = _utterance(out, name, number, actors[number % 2], rng)
                bar.update()
            for letter, (folder, suffix) in FOLDERS.items():
                lines = [folder, *(f"{name}{suffix}\t0" for name in labels)]
                (out / f"{split}_{letter}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
            rows = ["FileName,Emotion", *(f"{name},{label}" for name, label in sorted(labels.items(), reverse=True))]
            (out / f"label_file_{split}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _utterance(out: Path, name: str, number: int, actor: acted.Actor, rng: np.random.Generator) -> str:
    """Write the three files of an utterance; returns its label."""
    emotion = cues.CLASSES[number // 2 % len(cues.CLASSES)]
    shown = cues.draw(emotion, rng)
    sound, pictures = acted.perform(actor, shown["audio"], shown["video"], rng.uniform(0.8, 1.2), FPS, SIZE, rng)
    soundfile.write(out / "audio" / f"{name}.wav", sound, speech.SAMPLE_RATE, subtype="PCM_16")
    (out / "text" / f"{name}.txt").write_text(sentence(shown["text"], rng) + "\n", encoding="utf-8")
    write_clip(out / "video" / f"{name}.mp4", pictures, sound, FPS, speech.SAMPLE_RATE)
    return "exc" if emotion == "hap" and rng.random() < 0.5 else emotion

"""A small prepared corpus of sound and text, and the checksums of a folder tree."""

import hashlib
from pathlib import Path

import numpy as np
import soundfile

from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.targets import Target, write_targets

WORDS = ("red", "green", "blue", "one", "two", "three", "now", "then")


class Corpus:
    """Rows that a test may change before `write`."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.raw, self.out = folder / "raw", folder / "prepared"
        self.raw.mkdir()
        self.rows: list[Utterance] = []
        self.lists: dict[str, list[str]] = {}
        self.votes = ""
        rng = np.random.default_rng(0)
        for number in range(rows):
            name = f"u{number:02d}"
            samples = rng.integers(-3000, 3000, 4000 + 100 * number).astype(np.int16)
            soundfile.write(self.raw / f"{name}.wav", samples, 16000)
            split = ("train", "train", "valid", "test")[number % 4]
            text = " ".join(rng.choice(WORDS, 4))
            label = {"emotion": "sad" if number % 2 else "glad"}
            self.rows.append(Utterance(name, split, audio=f"{name}.wav", text=text, labels=label))

    def write(self) -> Path:
        self.out.mkdir(exist_ok=True)
        extra = ["emotion", self.votes] if self.votes else ["emotion"]
        Manifest(self.raw, extra, self.rows).write(self.out / "manifest.tsv")
        write_targets(self.out / "targets.json", [Target("emotion", "single", ("sad", "glad"), votes=self.votes)])
        for place, ids in self.lists.items():
            (self.out / "splits" / place).parent.mkdir(parents=True, exist_ok=True)
            (self.out / "splits" / place).write_text("".join(f"{name}\n" for name in ids))
        return self.out


def tree(folder):
    """Checksums of all files, hidden ones too, by their path."""
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

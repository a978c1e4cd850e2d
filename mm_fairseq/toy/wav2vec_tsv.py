"""A toy corpus as wav2vec has lists: `{train,valid,test}.tsv`, beside them `.emo`, `.wrd` and `.ltr`, and `wavs/`."""

from collections import defaultdict
from pathlib import Path

from .speech_lists import MINIMUM, begin, write_lines, write_wav

__all__ = ["MINIMUM", "write"]

PARTS = ("train", "train", "train", "train", "valid", "valid", "test", "test")  # of the speakers


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a new or empty folder.
        utterances: how many, eight speakers and four emotions balanced.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few utterances, or the folder is taken.
    """
    lines: dict[str, list[str]] = defaultdict(list)
    for number, said in enumerate(begin(out, utterances, seed)):
        part, path = PARTS[said.speaker], f"{said.speaker:02}/{said.speaker:02}-{number:04}.wav"
        write_wav(out / "wavs" / path, said.sound)
        words = "".join(letter if letter.isalpha() else " " for letter in said.words).upper().split()
        lines[f"{part}.tsv"].append(f"{path}\t{len(said.sound)}")
        lines[f"{part}.emo"].append(f"{Path(path).stem}\t{said.emotion}")
        lines[f"{part}.wrd"].append(" ".join(words))
        lines[f"{part}.ltr"].append(" ".join("|".join(words)) + " |")
    for name, found in lines.items():
        write_lines(out / name, (["wavs"] if name.endswith(".tsv") else []) + found)

"""A toy corpus in the form of EmoBox (Ma et al. 2024, https://arxiv.org/abs/2406.07162).

`data/toy/fold_K/toy_{train,test}_fold_K.jsonl`, four folds that test on two speakers each and have no list of
validation, `data/toy/label_map.json`, `data/toy/data.seg.wrd.stm` with the speakers, `downloads/toy/*.wav`.
"""

import json
from pathlib import Path

from . import speech
from .speech_lists import MINIMUM, SPEAKERS, begin, write_lines, write_wav

__all__ = ["MINIMUM", "write"]

FOLDS = 4
LABELS = {"neu": "Neutral", "hap": "Happy", "exc": "Happy", "sad": "Sad", "ang": "Angry"}


def write(out: Path, utterances: int, seed: int) -> None:
    """Write the corpus; the same arguments give the same bytes.

    Args:
        out: a new or empty folder.
        utterances: how many, eight speakers and four emotions balanced; every second happy one is `exc`.
        seed: of everything drawn.

    Raises:
        MMFairseqError: too few utterances, or the folder is taken.
    """
    records, speakers, stm = [], [], []
    for number, said in enumerate(begin(out, utterances, seed)):
        key, path = f"toy-{said.speaker:02}-{number:04}", f"downloads/toy/{said.speaker:02}/{number:04}.wav"
        write_wav(out / path, said.sound)
        label = "exc" if said.emotion == "hap" and said.speaker % 2 else said.emotion
        seconds = len(said.sound) / speech.SAMPLE_RATE
        speakers.append(said.speaker)
        records.append(
            {"key": key, "dataset": "toy", "wav": path, "type": "raw", "sample_rate": speech.SAMPLE_RATE}
            | {"num_frame": len(said.sound), "task": "category", "length": seconds, "emo": label, "channel": 1}
        )
        about = f"<id={key},lang=en,spk=toy_{said.speaker:02},emotion={label}>"
        stm.append(f"{key} 1 toy_{said.speaker:02} 0 {seconds} {about} {label}")
    folder = out / "data" / "toy"
    write_lines(folder / "toy.jsonl", [json.dumps(record) for record in records])
    write_lines(folder / "data.seg.wrd.stm", stm)
    write_lines(folder / "label_map.json", json.dumps(LABELS, indent=4).split("\n"))
    for fold in range(1, FOLDS + 1):
        for split in ("train", "test"):
            chosen = [
                json.dumps(record)
                for record, speaker in zip(records, speakers, strict=True)
                if (speaker * FOLDS // SPEAKERS == fold - 1) == (split == "test")
            ]
            write_lines(folder / f"fold_{fold}" / f"toy_{split}_fold_{fold}.jsonl", chosen)

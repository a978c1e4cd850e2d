"""Extraction with the toy checkpoints, for tests of what is cached."""

from mm_fairseq.preprocessing import extract
from mm_fairseq.preprocessing.extract import Settings

FRAMES = {"audio": 25, "text": 6, "video": 2}  # fewer than the longest utterances have
GAPS = {"audio": {1, 4}, "text": {2, 4}, "video": {3, 4}}


def settings(**options):
    return Settings(**{"frames": FRAMES, "device": "cpu", "workers": 1, **options})


def make(data_bin, specs, **options):
    return extract.extract(data_bin, [f"{name}={spec}" for name, spec in specs.items()], settings(**options))

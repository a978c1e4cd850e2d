"""Raw corpora to manifest rows. A corpus is one file and its registered name; nothing behind the manifest knows it."""

from . import (
    audioset,
    cmu_mosei,
    cmu_mosi,
    crema_d,
    emobox,
    features,
    fluent_speech_commands,
    iemocap,
    kaldi,
    korean_vat,
    lists,
    meld,
    ravdess,
    table,
    wav2vec_tsv,
)
from .base import CORPORA, Corpus, ParsedCorpus

__all__ = [
    "CORPORA",
    "Corpus",
    "ParsedCorpus",
    "audioset",
    "cmu_mosei",
    "cmu_mosi",
    "crema_d",
    "emobox",
    "features",
    "fluent_speech_commands",
    "iemocap",
    "kaldi",
    "korean_vat",
    "lists",
    "meld",
    "ravdess",
    "table",
    "wav2vec_tsv",
]

"""Raw corpora to manifest rows. A corpus is one file and its registered name; nothing behind the manifest knows it."""

from . import crema_d, features, fluent_speech_commands, iemocap, korean_vat, lists, table
from .base import CORPORA, Corpus, ParsedCorpus

__all__ = [
    "CORPORA",
    "Corpus",
    "ParsedCorpus",
    "crema_d",
    "features",
    "fluent_speech_commands",
    "iemocap",
    "korean_vat",
    "lists",
    "table",
]

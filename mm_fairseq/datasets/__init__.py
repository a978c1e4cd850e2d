"""From a data-bin to padded batches."""

from .augment import Augmentation, drop_modalities
from .collate import pad
from .dictionary import load_dictionary
from .epochs import EpochIterator
from .parts import Truths, Utterances
from .raw_audio_text_video import RawAudioTextVideoDataset
from .raw_items import EMPTY, Limits, input_lengths, limits_of, read_item
from .stress import Stress, parse_stresses, stressed

__all__ = [
    "EMPTY",
    "Augmentation",
    "EpochIterator",
    "Limits",
    "RawAudioTextVideoDataset",
    "Stress",
    "Truths",
    "Utterances",
    "drop_modalities",
    "input_lengths",
    "limits_of",
    "load_dictionary",
    "pad",
    "parse_stresses",
    "read_item",
    "stressed",
]

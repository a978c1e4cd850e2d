"""From a data-bin to padded batches."""

from .augment import drop_modalities
from .collate import pad
from .dictionary import load_dictionary
from .raw_audio_text_video import RawAudioTextVideoDataset
from .raw_items import EMPTY, Limits, input_lengths, read_item

__all__ = [
    "EMPTY",
    "Limits",
    "RawAudioTextVideoDataset",
    "drop_modalities",
    "input_lengths",
    "load_dictionary",
    "pad",
    "read_item",
]

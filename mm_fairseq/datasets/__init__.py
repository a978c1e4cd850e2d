"""From a data-bin to padded batches."""

from .augment import drop_modalities
from .collate import pad
from .raw_audio_text_video import RawAudioTextVideoDataset
from .raw_items import EMPTY, Limits, input_lengths, read_item

__all__ = ["EMPTY", "Limits", "RawAudioTextVideoDataset", "drop_modalities", "input_lengths", "pad", "read_item"]

"""From a data-bin to padded batches."""

from .augment import drop_modalities
from .raw_audio_text_video import Limits, RawAudioTextVideoDataset

__all__ = ["Limits", "RawAudioTextVideoDataset", "drop_modalities"]

"""What is done to the utterances of a training, and of a test under stress."""

from .modalities import drop_modalities
from .plan import Augmentation, generator

__all__ = ["Augmentation", "drop_modalities", "generator"]

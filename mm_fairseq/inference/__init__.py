"""From a checkpoint and a clip to an answer."""

from .clips import Clip, Inputs, NoModalityError, Note
from .model import Answer, EmotionModel
from .reading import ClipReader

__all__ = ["Answer", "Clip", "ClipReader", "EmotionModel", "Inputs", "NoModalityError", "Note"]

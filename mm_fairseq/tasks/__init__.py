"""The fairseq task."""

from . import emotion_prediction

__all__ = ["emotion_prediction"]

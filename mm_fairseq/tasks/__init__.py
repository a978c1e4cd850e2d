"""The fairseq task."""

from .emotion_prediction import EmotionPredictionTask

__all__ = ["EmotionPredictionTask"]

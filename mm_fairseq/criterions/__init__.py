"""Losses."""

from .emotion_prediction import EmotionPredictionCriterion

__all__ = ["EmotionPredictionCriterion"]

"""Backbones: one encoder of one modality each, behind one contract."""

from . import embedding, fabnet, mfcc, roberta, wav2vec
from .base import BACKBONES, Backbone, BackboneSet, FeatureSeq, resolve

__all__ = [
    "BACKBONES",
    "Backbone",
    "BackboneSet",
    "FeatureSeq",
    "embedding",
    "fabnet",
    "mfcc",
    "resolve",
    "roberta",
    "wav2vec",
]

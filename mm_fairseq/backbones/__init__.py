"""Backbones: one encoder of one modality each, behind one contract."""

from . import egemaps, embedding, fabnet, logmel, mfcc, r3d, roberta, vq_wav2vec, wav2vec
from .backbone_set import BackboneSet
from .base import BACKBONES, SAMPLE_RATE, Backbone, FeatureSeq
from .files import read_checkpoint, unsafe_checkpoints
from .spec import Resolved, Spec, build, resolve

__all__ = [
    "BACKBONES",
    "SAMPLE_RATE",
    "Backbone",
    "BackboneSet",
    "FeatureSeq",
    "Resolved",
    "Spec",
    "build",
    "egemaps",
    "embedding",
    "fabnet",
    "logmel",
    "mfcc",
    "r3d",
    "read_checkpoint",
    "resolve",
    "roberta",
    "unsafe_checkpoints",
    "vq_wav2vec",
    "wav2vec",
]

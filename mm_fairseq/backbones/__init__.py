"""Backbones: one encoder of one modality each, behind one contract."""

from . import (
    data2vec,
    egemaps,
    embedding,
    fabnet,
    features,
    hf_audio,
    hf_text,
    hubert,
    logmel,
    mfcc,
    r3d,
    roberta,
    vq_bert,
    vq_wav2vec,
    wav2vec,
    wav2vec2,
)
from .backbone_set import BackboneSet
from .base import ANY, BACKBONES, SAMPLE_RATE, Backbone, FeatureSeq
from .files import read_checkpoint, unsafe_checkpoints
from .spec import Resolved, Spec, build, check_vocabulary, complete, parameters, resolve

__all__ = [
    "ANY",
    "BACKBONES",
    "SAMPLE_RATE",
    "Backbone",
    "BackboneSet",
    "FeatureSeq",
    "Resolved",
    "Spec",
    "build",
    "check_vocabulary",
    "complete",
    "data2vec",
    "egemaps",
    "embedding",
    "fabnet",
    "features",
    "hf_audio",
    "hf_text",
    "hubert",
    "logmel",
    "mfcc",
    "parameters",
    "r3d",
    "read_checkpoint",
    "resolve",
    "roberta",
    "unsafe_checkpoints",
    "vq_bert",
    "vq_wav2vec",
    "wav2vec",
    "wav2vec2",
]

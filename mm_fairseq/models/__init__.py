"""Architectures: one registered model a file."""

from .av_graph import AVGraph
from .mult import CrossmodalMult
from .perceiver import PerceiverEmo
from .ssl_fusion import SSLFusion
from .wave_text import WaveText

__all__ = ["AVGraph", "CrossmodalMult", "PerceiverEmo", "SSLFusion", "WaveText"]

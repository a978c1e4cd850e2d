"""Architectures: one registered model a file."""

from .mult import CrossmodalMult
from .ssl_fusion import SSLFusion
from .wave_text import WaveText

__all__ = ["CrossmodalMult", "SSLFusion", "WaveText"]

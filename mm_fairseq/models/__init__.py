"""Architectures: one registered model a file."""

from .ssl_fusion import SSLFusion

__all__ = ["SSLFusion"]

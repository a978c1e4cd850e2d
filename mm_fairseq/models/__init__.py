"""Architectures: one registered model a file."""

from . import ssl_fusion

__all__ = ["ssl_fusion"]

"""Manifest and media to a data-bin."""

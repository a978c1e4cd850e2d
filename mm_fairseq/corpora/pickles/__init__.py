"""Pickled data without running any of it: opcodes to a tree of values, the tree to arrays and columns."""

from .values import Frame, read_pickle

__all__ = ["Frame", "read_pickle"]

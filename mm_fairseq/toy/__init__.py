"""Small synthetic corpora and checkpoints in the real on-disk formats, for demos and tests.

This folder knows formats, and nothing of the code that reads them.
"""

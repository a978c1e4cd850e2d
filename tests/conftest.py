"""Tests that need a GPU or real recordings are skipped where there are none."""

import os
from pathlib import Path

import pytest
import torch


def pytest_collection_modifyitems(items):
    real_data = os.environ.get("MM_FAIRSEQ_REAL_DATA", "")
    missing = {}
    if not (real_data and Path(real_data).is_dir()):
        missing["real"] = pytest.mark.skip(reason="MM_FAIRSEQ_REAL_DATA names no folder of real recordings")
    if not torch.cuda.is_available():
        missing["gpu"] = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        for name, skip in missing.items():
            if item.get_closest_marker(name):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data():
    """Folder of real recordings, for tests marked `real`."""
    return Path(os.environ["MM_FAIRSEQ_REAL_DATA"])

"""The makers of clips, as a fixture: test files are imported one by one and see no sibling."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def clips():
    spec = importlib.util.spec_from_file_location("media_clips", Path(__file__).with_name("clips.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

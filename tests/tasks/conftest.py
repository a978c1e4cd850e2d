"""Data-bins of these tests."""

import shutil

import pytest
from databin_factory import write_data_bin


@pytest.fixture
def own_data_bin(data_bin, tmp_path):
    """A copy to write to."""
    return shutil.copytree(data_bin, tmp_path / "data-bin")


@pytest.fixture(scope="session")
def every_kind(tmp_path_factory):
    """A data-bin with a target of every kind. Not to be written to."""
    return write_data_bin(tmp_path_factory.mktemp("every") / "data-bin", frame_size=8, every_kind=True)

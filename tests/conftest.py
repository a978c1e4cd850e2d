"""Fixtures that several folders share; what needs a GPU, real recordings or minutes is skipped where it has none."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from databin_factory import write_data_bin

from mm_fairseq.toy import checkpoints as toy_checkpoints


def pytest_configure():
    # A shell has what it runs in the background ignore interrupts, and children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config, items):
    real_data = os.environ.get("MM_FAIRSEQ_REAL_DATA", "")
    missing = {}
    if not (real_data and Path(real_data).is_dir()):
        missing["real"] = pytest.mark.skip(reason="MM_FAIRSEQ_REAL_DATA names no folder of real recordings")
    if "slow" not in config.option.markexpr:
        missing["slow"] = pytest.mark.skip(reason="takes minutes: pytest -m slow")
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


@pytest.fixture(scope="session")
def data_bin(tmp_path_factory):
    """A data-bin of 24 utterances whose label stands in every modality. Not to be written to."""
    return write_data_bin(tmp_path_factory.mktemp("data") / "data-bin")


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Folder of the toy checkpoints in the real formats. Not to be written to."""
    folder = tmp_path_factory.mktemp("checkpoints")
    toy_checkpoints.write(folder, seed=1)
    return folder


@pytest.fixture(scope="session")
def roberta_data_bin(data_bin, checkpoints, tmp_path_factory):
    """`data_bin` with the dictionary of the toy RoBERTa. Not to be written to."""
    folder = tmp_path_factory.mktemp("data") / "data-bin"
    shutil.copytree(data_bin, folder)
    shutil.copyfile(checkpoints / "roberta" / "dict.txt", folder / "dict.txt")
    return folder


@pytest.fixture(scope="session")
def small_models(tmp_path_factory):
    """A toy corpus of clips and a tiny model of each architecture, made as asked for. Not to be written to."""
    from small_models import SmallModels

    models = SmallModels(tmp_path_factory.mktemp("small"))
    yield models
    models.close()


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Every device that code must run on."""
    return torch.device(request.param)

"""A small prepared corpus of sound and text, a data-bin of several shards, and the sum of a folder tree."""

import shutil

import pytest
from databin_factory import reshard, write_data_bin
from extract_factory import GAPS
from small_corpus import Corpus
from small_corpus import tree as checksums


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path, 12)


@pytest.fixture
def tree():
    return checksums


@pytest.fixture(scope="module")
def raw(tmp_path_factory, checkpoints):
    """24 utterances in 5 shards, with gaps. Not to be written to."""
    folder = write_data_bin(tmp_path_factory.mktemp("raw") / "data-bin", missing=GAPS)
    shutil.copyfile(checkpoints / "roberta" / "dict.txt", folder / "dict.txt")
    return reshard(folder, 5)


@pytest.fixture
def own(raw, tmp_path):
    return shutil.copytree(raw, tmp_path / "data-bin")


@pytest.fixture(scope="module")
def specs(checkpoints):
    return {
        "audio": f"wav2vec:{checkpoints}/wav2vec/wav2vec.pt",
        "text": f"roberta:{checkpoints}/roberta",
        "video": f"fabnet:{checkpoints}/fabnet/fabnet.pt",
    }

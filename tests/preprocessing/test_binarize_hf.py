"""A data-bin with a tokenizer of Hugging Face, and the backbone that reads it."""

import shutil
from dataclasses import replace

import pytest
import torch
import transformers
from hf_folders import text_folder
from public_files import features, load

from mm_fairseq.databin import DataBin, StreamReader
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.media.text import load_tokenizer
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.items import Settings

TEXTS = ("what do you want", "나는 오늘 행복해요", "me ? 나는 nonsense")


@pytest.fixture
def table(corpus, tmp_path):
    """A prepared corpus of text with a model's folder, made into a data-bin."""
    model = text_folder(tmp_path / "folder", "bert")
    corpus.rows = [replace(row, text=TEXTS[number % 3]) for number, row in enumerate(corpus.rows)]
    settings = Settings(modalities=("text",), tokenizer=f"hf:{tmp_path / 'folder'}", shard_size=4)
    binarize(corpus.write(), tmp_path / "bin", settings)
    return tmp_path, model, settings


def test_features_of_a_stored_text_are_the_librarys(table):
    folder, model, _ = table
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "folder")
    backbones = load("text", f"hf_text:{folder / 'folder'}")
    for item, text in zip(StreamReader(folder / "bin" / "text"), TEXTS * 4, strict=True):
        tokens = torch.tensor([[0, *item.tolist(), 2]])
        with torch.no_grad():
            expected = model.eval()(**tokenizer(text, return_tensors="pt")).last_hidden_state
        torch.testing.assert_close(features(backbones, "text", tokens), expected, atol=1e-5, rtol=1e-5)


def test_the_data_bin_needs_no_folder(table):
    folder, _, _ = table
    shutil.rmtree(folder / "folder")
    spec = DataBin(folder / "bin").meta["tokenizer"]
    assert spec["files"] == ["tokenizer.json"]
    assert len(load_tokenizer(spec, folder / "bin").encode(TEXTS[1])) == 5


def test_resuming_with_another_folder_is_refused(table, corpus):
    folder, _, settings = table
    binarize(corpus.out, folder / "bin", settings, resume=True)
    (folder / "folder" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(MMFairseqError, match="begun with other options or libraries: tokenizer was"):
        binarize(corpus.out, folder / "bin", settings, resume=True)

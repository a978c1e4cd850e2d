"""The tokenizer of a Hugging Face folder against that of a data-bin."""

import json
import shutil

import pytest
from hf_folders import text_folder

from mm_fairseq.backbones import check_vocabulary, resolve
from mm_fairseq.backbones.hf_text import same_words
from mm_fairseq.errors import MMFairseqError


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "bert"
    path.mkdir()
    text_folder(path, "bert")
    return path


def test_numbers_must_be_the_same(folder, tmp_path):
    found = resolve({"text": f"hf_text:{folder}"}, set(), {})
    symbols = ["<s>"] * found.entries["text"]["args"]["vocabulary"]
    data_bin = tmp_path / "data-bin"
    data_bin.mkdir()
    with pytest.raises(MMFairseqError, match=r"binarize with --tokenizer hf:"):
        check_vocabulary(found, f"hf_text:{folder}", symbols, data_bin)
    shutil.copyfile(folder / "tokenizer.json", data_bin / "tokenizer.json")
    check_vocabulary(found, f"hf_text:{folder}", symbols, data_bin)
    tokenizer = json.loads((data_bin / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    first, second = sorted(words, key=words.get)[-2:]
    words[first], words[second] = words[second], words[first]
    (data_bin / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert not same_words(folder, data_bin / "tokenizer.json")
    with pytest.raises(MMFairseqError, match=r"another tokenizer: binarize with --tokenizer hf:"):
        check_vocabulary(found, f"hf_text:{folder}", symbols, data_bin)

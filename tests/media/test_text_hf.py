"""Tokenizers of Hugging Face: the numbers of the library, from one file in the data-bin."""

import json
import sys
import unicodedata

import pytest
import tokenizers
import transformers
from hf_folders import WORDS

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.media.dictionary import TokenIds, read_dictionary
from mm_fairseq.media.text import load_tokenizer, tokenizer_contents, tokenizer_spec

TEXTS = [
    "what do you want from me?",
    "  What\tdo YOU want ?\n",
    "나는 오늘 행복해요",
    "나는 오늘 행복했어요!",
    "naïve café — 100 %",
    "中文 and 日本語",
    "[MASK] </s> <s> [SEP]",
    "😀",
    "",
]


def wordpiece(folder, lower):
    """A vocabulary with syllables and, as the library takes Korean apart where it takes accents off, letters."""
    apart = [unicodedata.normalize("NFD", word) for word in WORDS]
    letters = [*dict.fromkeys([*WORDS, *apart, "ᄒ", "##ᅢ", "##ᆻ"])]
    (folder / "vocab.txt").write_text("\n".join(letters) + "\n", encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))


def saved_wordpiece(folder):
    wordpiece(folder, lower=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for name in ("vocab.txt", "config.json", "tokenizer_config.json"):
        (folder / name).unlink()
    tokenizer.save_pretrained(folder)


def byte_level(folder):
    made = tokenizers.ByteLevelBPETokenizer()
    made.train_from_iterator(TEXTS * 3, vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    made.save_model(str(folder))
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta"}))


def unigram(folder):
    from mm_fairseq.media.text import train_sentencepiece

    (folder / "sentencepiece.bpe.model").write_bytes(train_sentencepiece(TEXTS * 3, 60))
    (folder / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))


FOLDERS = {
    "vocab.txt": lambda folder: wordpiece(folder, lower=True),
    "vocab.txt, cased": lambda folder: wordpiece(folder, lower=False),
    "tokenizer.json": saved_wordpiece,
    "vocab.json and merges.txt": byte_level,
    "sentencepiece": unigram,
}


def kept(folder, data_bin):
    """The tokeniser and the dictionary that a data-bin keeps of a folder."""
    data_bin.mkdir()
    spec = tokenizer_spec(f"hf:{folder}")
    (content,) = tokenizer_contents(f"hf:{folder}")
    (data_bin / spec["files"][0]).write_bytes(content)
    tokenizer = load_tokenizer(spec, data_bin)
    (data_bin / "dict.txt").write_text(tokenizer.dictionary())
    return tokenizer, read_dictionary(data_bin / "dict.txt")


@pytest.mark.parametrize("kind", FOLDERS)
def test_numbers_are_the_librarys(kind, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    FOLDERS[kind](folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer, numbers = kept(folder, tmp_path / "bin")
    for text in TEXTS:
        expected = theirs(text, add_special_tokens=False).input_ids
        assert tokenizer.encode(text) == [str(number) for number in expected]
        assert TokenIds(tokenizer, numbers)(text).tolist() == [4 + number for number in expected]
    assert sorted(numbers.values()) == list(range(4, 4 + len(theirs)))
    assert any(number != theirs.unk_token_id for number in theirs(TEXTS[2], add_special_tokens=False).input_ids)


def test_korean_by_wordpiece(tmp_path):
    wordpiece(tmp_path, lower=False)
    tokenizer, _ = kept(tmp_path, tmp_path / "bin")
    words = [WORDS[int(number)] for number in tokenizer.encode("나는 오늘 행복해요")]
    assert words == ["나는", "오늘", "행복", "##해", "##요"]


def test_korean_by_letters(tmp_path):
    wordpiece(tmp_path, lower=True)
    tokenizer, _ = kept(tmp_path, tmp_path / "bin")
    letters = (tmp_path / "vocab.txt").read_text().splitlines()
    words = [letters[int(number)] for number in tokenizer.encode("행복해요")]
    assert words == [unicodedata.normalize("NFD", word) for word in ("행복", "##해", "##요")]


def test_numbers_are_fairseqs(tmp_path):
    from fairseq.data import Dictionary

    wordpiece(tmp_path, lower=False)
    _, numbers = kept(tmp_path, tmp_path / "bin")
    theirs = Dictionary.load(str(tmp_path / "bin" / "dict.txt"))
    assert len(theirs) == 4 + len(numbers)
    assert all(theirs.index(symbol) == number == 4 + int(symbol) for symbol, number in numbers.items())


def test_same_bytes_each_time_and_nothing_is_cut(tmp_path):
    wordpiece(tmp_path, lower=False)
    made = transformers.AutoTokenizer.from_pretrained(tmp_path)
    made.backend_tokenizer.enable_truncation(4)
    made.backend_tokenizer.enable_padding()
    (tmp_path / "folder").mkdir()
    made.save_pretrained(tmp_path / "folder")
    spec = f"hf:{tmp_path / 'folder'}"
    assert tokenizer_contents(spec) == tokenizer_contents(spec)
    tokenizer, _ = kept(tmp_path / "folder", tmp_path / "bin")
    assert len(tokenizer.encode("what " * 50)) == 50


def test_spec_changes_with_the_folder(tmp_path):
    wordpiece(tmp_path, lower=False)
    before = tokenizer_spec(f"hf:{tmp_path}")
    assert (before["name"], before["files"]) == ("hf", ["tokenizer.json"])
    wordpiece(tmp_path, lower=True)
    assert tokenizer_spec(f"hf:{tmp_path}")["sha256"] != before["sha256"]


def test_folders_that_are_none(tmp_path):
    for spec, reason in [("hf:nowhere", "the folder has none of tokenizer.json"), ("hf:", "expected gpt2:DIR, hf:DIR")]:
        with pytest.raises(MMFairseqError, match=reason):
            tokenizer_spec(spec)
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(MMFairseqError, match="no usable tokenizer in the folder"):
        tokenizer_contents(f"hf:{tmp_path}")
    with pytest.raises(MMFairseqError, match=r"tokenizer\.json"):
        load_tokenizer({"name": "hf", "files": ["tokenizer.json"]}, tmp_path)


def test_code_of_a_folder_is_not_run(tmp_path):
    wordpiece(tmp_path, lower=False)
    code = f"from pathlib import Path\nPath({str(tmp_path / 'sprung')!r}).touch()\nclass Own: pass\n"
    (tmp_path / "own.py").write_text(code)
    mapped = {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "Own"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(mapped))
    (tmp_path / "config.json").unlink()
    with pytest.raises(MMFairseqError, match="no usable tokenizer in the folder"):
        tokenizer_contents(f"hf:{tmp_path}")
    assert not (tmp_path / "sprung").exists()


def test_without_the_packages_the_extra_is_named(tmp_path, monkeypatch):
    wordpiece(tmp_path, lower=False)
    kept(tmp_path, tmp_path / "bin")
    for package, call in [
        ("transformers", lambda: tokenizer_contents(f"hf:{tmp_path}")),
        ("tokenizers", lambda: load_tokenizer(tokenizer_spec(f"hf:{tmp_path}"), tmp_path / "bin")),
    ]:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MMFairseqError, match=r"pip install 'mm-fairseq\[hf\]'"):
            call()

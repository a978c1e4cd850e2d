"""Tokenisers and the numbers of their symbols, checked against fairseq's own."""

import json

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.media.text import (
    build_dictionary,
    load_tokenizer,
    read_dictionary,
    token_ids,
    tokenizer_files,
    tokenizer_spec,
    train_sentencepiece,
)

TEXTS = ["the cat sat on the mat", "the dog sat on the cat", "a mat for a dog", "no cats, no dogs"] * 3


@pytest.fixture
def sentencepiece(tmp_path):
    (tmp_path / "text.model").write_bytes(train_sentencepiece(TEXTS, 40))
    return load_tokenizer({"name": "sentencepiece", "files": ["text.model"]}, tmp_path)


@pytest.fixture
def gpt2(tmp_path):
    """A folder as RoBERTa's, with the merges `t h`, `th e` and the word `the`."""
    from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

    symbols = [*bytes_to_unicode().values(), "th", "the", "Ġthe"]
    (tmp_path / "encoder.json").write_text(json.dumps({symbol: number for number, symbol in enumerate(symbols)}))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\nt h\nth e\nĠ the\n", encoding="utf-8")
    (tmp_path / "dict.txt").write_text("".join(f"{number} 1\n" for number in reversed(range(len(symbols)))))
    return tmp_path


def test_trained_model_is_the_same_each_time_and_gives_the_text_back(sentencepiece):
    assert train_sentencepiece(TEXTS, 40) == train_sentencepiece(TEXTS, 40)
    symbols = sentencepiece.encode("the cat")
    assert "".join(symbols).replace("\u2581", " ").strip() == "the cat"


@pytest.mark.parametrize("vocab_size", [8, 1_000_000])
def test_any_vocabulary_size_can_be_trained(vocab_size):
    assert train_sentencepiece(["가나다라마바사", "hello world"], vocab_size)


def test_nothing_to_train_on():
    with pytest.raises(MMFairseqError, match="no text"):
        train_sentencepiece([], 100)


def test_numbers_are_fairseqs(sentencepiece, tmp_path):
    from fairseq.data import Dictionary

    path = tmp_path / "dict.txt"
    path.write_text(build_dictionary(sentencepiece, TEXTS), encoding="utf-8")
    numbers, theirs = read_dictionary(path), Dictionary.load(str(path))
    assert len(theirs) == 4 + len(numbers)
    assert all(theirs.index(symbol) == number for symbol, number in numbers.items())
    counts = [int(line.split()[1]) for line in path.read_text().splitlines()]
    assert counts == sorted(counts, reverse=True)
    assert token_ids(sentencepiece, numbers, "the cat").tolist() == [
        theirs.index(s) for s in sentencepiece.encode("the cat")
    ]
    assert theirs.unk() in token_ids(sentencepiece, numbers, "猫").tolist()


def test_special_symbols_in_a_text_stay_out_of_the_dictionary():
    class Words:
        def encode(self, text):
            return text.split(" ")

    assert build_dictionary(Words(), ["a </s> <unk> a\u2028b", "a b"]) == "a 2\nb 1\n"


def test_gpt2_is_fairseqs(gpt2):
    name, files, dictionary = tokenizer_files(f"gpt2:{gpt2}")
    spec = tokenizer_spec(f"gpt2:{gpt2}")
    assert (name, len(files), dictionary) == ("gpt2", 2, gpt2 / "dict.txt")
    assert (spec["name"], spec["files"], len(spec["sha256"])) == ("gpt2", ["encoder.json", "vocab.bpe"], 3)
    tokenizer = load_tokenizer(spec, gpt2)
    assert tokenizer.encode("the the") == ["257", "258"]
    assert token_ids(tokenizer, read_dictionary(dictionary), "the the").tolist() == [4 + 1, 4 + 0]


def test_fastbpe(tmp_path):
    (tmp_path / "codes").write_text("t h 10\nth e</w> 9\n")
    spec = tokenizer_spec(f"fastbpe:{tmp_path / 'codes'}")
    assert spec["files"] == ["text.codes"]
    (tmp_path / "text.codes").write_bytes((tmp_path / "codes").read_bytes())
    assert load_tokenizer(spec, tmp_path).encode(" the  hat\n") == ["the", "h@@", "a@@", "t"]


def test_words_are_folded_and_punctuation_stands_alone(tmp_path):
    spec = tokenizer_spec("words")
    assert spec == {"name": "words", "files": [], "sha256": []}
    tokenizer = load_tokenizer(spec, tmp_path)
    text = "Don\u2019t turn the LIGHTS on, please!  Straße 3\u00a0불"
    assert tokenizer.encode(text) == ["don't", "turn", "the", "lights", "on", ",", "please", "!", "strasse", "3", "불"]
    assert tokenizer.encode("हिन्दी cafe\u0301") == ["हिन्दी", "café"]  # marks belong to the letter before them
    assert tokenizer.encode(" \t") == []


def test_words_of_train_by_frequency_then_alphabet_others_unknown(tmp_path):
    tokenizer = load_tokenizer(tokenizer_spec("words"), tmp_path)
    (tmp_path / "dict.txt").write_text(build_dictionary(tokenizer, ["Turn it on", "turn off", "Switch it off"]))
    numbers = read_dictionary(tmp_path / "dict.txt")
    assert list(numbers) == ["it", "off", "turn", "on", "switch"]
    assert token_ids(tokenizer, numbers, "TURN it loud").tolist() == [6, 4, 3]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("bert", "unknown tokenizer 'bert'; known: fastbpe, gpt2, hf, sentencepiece, words"),
        ("gpt2", "expected gpt2:DIR"),
        ("gpt2:nowhere", r"no file nowhere/encoder\.json"),
        ("sentencepiece:nowhere.model", r"no file nowhere\.model"),
        ("fastbpe:a,b,c", "at most 2"),
        ("words:file", "words takes no file"),
    ],
)
def test_specs_that_are_none(spec, reason):
    with pytest.raises(MMFairseqError, match=reason):
        tokenizer_files(spec)


def test_damaged_model(tmp_path):
    (tmp_path / "text.model").write_bytes(b"nonsense")
    with pytest.raises(MMFairseqError, match=r"text\.model"):
        load_tokenizer({"name": "sentencepiece", "files": ["text.model"]}, tmp_path)


@pytest.mark.parametrize("line", ["a", "a x", "b 1"])
def test_damaged_dictionary(tmp_path, line):
    (tmp_path / "dict.txt").write_text(f"b 2\n{line}\n")
    with pytest.raises(MMFairseqError, match=r"dict\.txt:2"):
        read_dictionary(tmp_path / "dict.txt")

"""Tokenisers and the numbers of their symbols, checked against fairseq's own."""

import json
from collections import Counter

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.media.dictionary import TokenIds, build_dictionary, read_dictionary
from mm_fairseq.media.text import (
    load_tokenizer,
    tokenizer_files,
    tokenizer_spec,
    train_sentencepiece,
    train_tokenizer,
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
    assert TokenIds(sentencepiece, numbers)("the cat").tolist() == [
        theirs.index(s) for s in sentencepiece.encode("the cat")
    ]
    assert theirs.unk() in TokenIds(sentencepiece, numbers)("猫").tolist()


def test_special_symbols_in_a_text_stay_out_of_the_dictionary():
    class Words:
        def encode(self, text):
            return text.split(" ")

    assert build_dictionary(Words(), ["a </s> <unk> a\u2028b", "a b"]) == "a 2\nb 1\n"


def test_gpt2_does_not_remember_all_that_it_is_given(gpt2, monkeypatch):
    tokenizer = load_tokenizer(tokenizer_spec(f"gpt2:{gpt2}"), gpt2)
    monkeypatch.setattr("mm_fairseq.media.text._MOST_WORDS", 3)
    found = tokenizer.encode("the cat sat on the mat" + "s" * 99)
    assert len(tokenizer._bpe.cache) == 3
    assert tokenizer.encode("the cat sat on the mat" + "s" * 99) == found
    tokenizer._bpe.cache.clear()
    tokenizer.encode("s" * 99)
    assert not tokenizer._bpe.cache


def test_gpt2_is_fairseqs(gpt2):
    name, files, dictionary = tokenizer_files(f"gpt2:{gpt2}")
    spec = tokenizer_spec(f"gpt2:{gpt2}")
    assert (name, len(files), dictionary) == ("gpt2", 2, gpt2 / "dict.txt")
    assert (spec["name"], spec["files"], len(spec["sha256"])) == ("gpt2", ["encoder.json", "vocab.bpe"], 3)
    tokenizer = load_tokenizer(spec, gpt2)
    assert tokenizer.encode("the the") == ["257", "258"]
    assert TokenIds(tokenizer, read_dictionary(dictionary))("the the").tolist() == [4 + 1, 4 + 0]


def test_fastbpe(tmp_path):
    (tmp_path / "codes").write_text("t h 10\nth e</w> 9\n")
    spec = tokenizer_spec(f"fastbpe:{tmp_path / 'codes'}")
    assert spec["files"] == ["text.codes"]
    (tmp_path / "text.codes").write_bytes((tmp_path / "codes").read_bytes())
    assert load_tokenizer(spec, tmp_path).encode(" the  hat\n") == ["the", "h@@", "a@@", "t"]


def test_fastbpe_learned_here_is_applied_by_fastbpe(tmp_path):
    """What is learned splits the words of the texts as they were when learning ended."""
    texts = [*TEXTS, "lower lowest newer newest wider", "the newest mat"] * 2
    for name, size in (("a", 30), ("b", 500)):
        (tmp_path / name).mkdir()
        codes = train_tokenizer("fastbpe", iter(texts), size)
        assert codes == train_tokenizer("fastbpe", reversed(texts), size)
        (tmp_path / name / "text.codes").write_bytes(codes)
        tokenizer = load_tokenizer(tokenizer_spec("fastbpe") | {"files": ["text.codes"]}, tmp_path / name)
        expected, merges = by_the_book(texts, size)
        assert [tuple(line.split()[:2]) for line in codes.decode().splitlines()] == merges
        for word, symbols in expected.items():
            assert tokenizer.encode(word) == symbols
    assert tokenizer.encode("the lowest") == ["the", "lowest"]
    assert tokenizer.encode("mate") == ["m@@", "at@@", "e"]


def by_the_book(texts, size):
    """Every word's symbols as fastBPE prints them, and the merges: all pairs counted anew each time."""
    counted = Counter(word for text in texts for word in text.split())
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in counted}
    letters, merges = {letter for word in words.values() for letter in word}, []
    while len(letters) + len(merges) < size:
        pairs = Counter()
        for word, symbols in words.items():
            for pair in zip(symbols, symbols[1:], strict=False):
                pairs[pair] += counted[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < 2:
            break
        merges.append(best)
        for word, symbols in words.items():
            place = 0
            while place < len(symbols) - 1:
                if tuple(symbols[place : place + 2]) == best:
                    symbols[place : place + 2] = ["".join(best)]
                place += 1
            words[word] = symbols
    shown = {word: [*(symbol + "@@" for symbol in symbols[:-1]), symbols[-1][:-4]] for word, symbols in words.items()}
    return shown, merges


def test_fastbpe_of_letters_alone(tmp_path):
    (tmp_path / "text.codes").write_bytes(train_tokenizer("fastbpe", ["abc"], 8))
    assert load_tokenizer(tokenizer_spec("fastbpe"), tmp_path).encode("cab") == ["c@@", "a@@", "b"]
    for name in ("fastbpe", "sentencepiece"):
        with pytest.raises(MMFairseqError, match=f"no text to train a {name} model"):
            train_tokenizer(name, [" ", ""], 8)


def test_characters(tmp_path):
    spec = tokenizer_spec("chars")
    assert spec == {"name": "chars", "files": [], "sha256": []}
    tokenizer = load_tokenizer(spec, tmp_path)
    assert tokenizer.encode(" Ab\tc\u3000d \n") == ["A", "b", "|", "c", "|", "d"]
    assert tokenizer.encode("cafe\u0301 猫") == ["c", "a", "f", "é", "|", "猫"]
    assert tokenizer.encode(" ") == []


def test_dictionaries_of_all_that_are_made_here_are_fairseqs(tmp_path):
    from fairseq.data import Dictionary

    texts = ["The cat, the #1 cat!", "猫 | \u2581 <unk> café", "a\u00a0b \u200bc"] * 3
    for name in ("sentencepiece", "fastbpe", "words", "chars"):
        spec, folder = tokenizer_spec(name), tmp_path / name
        folder.mkdir()
        for file in spec["files"]:
            (folder / file).write_bytes(train_tokenizer(name, texts, 60))
        tokenizer = load_tokenizer(spec, folder)
        path = folder / "dict.txt"
        path.write_text(build_dictionary(tokenizer, texts), encoding="utf-8")
        numbers, theirs = read_dictionary(path), Dictionary.load(str(path))
        assert {symbol: theirs.index(symbol) for symbol in numbers} == numbers
        theirs.save(str(folder / "again.txt"))
        assert (folder / "again.txt").read_bytes() == path.read_bytes()
        for text in texts:
            symbols = tokenizer.encode(text)
            assert TokenIds(tokenizer, numbers)(text).tolist() == [theirs.index(symbol) for symbol in symbols]


def test_a_long_transcript_is_trained_on():
    assert train_sentencepiece(["a" * 3000 + " " + "猫" * 3000], 100)


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
    assert TokenIds(tokenizer, numbers)("TURN it loud").tolist() == [6, 4, 3]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("bert", "unknown tokenizer 'bert'; known: chars, fastbpe, gpt2, hf, sentencepiece, words"),
        ("gpt2", "expected gpt2:DIR"),
        ("gpt2:nowhere", r"no file nowhere/encoder\.json"),
        ("sentencepiece:nowhere.model", r"no file nowhere\.model"),
        ("fastbpe:a,b,c", "at most 2"),
        ("words:file", "words takes no file"),
        ("chars:file", "chars takes no file"),
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
